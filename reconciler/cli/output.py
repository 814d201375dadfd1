"""Where plans go, and what is wrong with a file: to standard output as --format says, and to the files of --write."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from reconciler.errors import PlatformError, UsageError
from reconciler.render import formats

if TYPE_CHECKING:
    import argparse

    from reconciler.errors import Problem
    from reconciler.render.report import Report

WORKSPACE_VARIABLE = "GITHUB_WORKSPACE"
"""Where GitHub Actions puts the repository, below which it looks for the files that annotations name."""


def check(arguments: argparse.Namespace) -> None:
    """Raises UsageError if --write names a file twice, PlatformError if one cannot be written."""
    names = [os.path.realpath(path) for _, path in arguments.write]
    for number, (_, path) in enumerate(arguments.write):
        if names[number] in names[:number]:
            raise UsageError(f"--write names {path} twice")
        _try(path)


def show(report: Report, arguments: argparse.Namespace, *, said: str | None = None) -> None:
    """Prints and writes `report`; on standard output, if that is text, `said` in its place. Raises PlatformError."""
    from reconciler.cli import context

    def made(format: str, *, color: bool = False) -> str:
        return formats.render(format, report, color=color, verbose=arguments.verbose, base=_base())

    _write_all(arguments.write, made)
    if arguments.format == "text":
        sys.stdout.write(made("text", color=context.colored()) if said is None else said)
    else:
        sys.stdout.write(made(arguments.format))


def show_problems(problems: Iterable[Problem], arguments: argparse.Namespace, *, said: str = "") -> None:
    """Prints and writes what is wrong with the file. Standard output, if that is text, gets `said` only: standard error names them.

    Raises PlatformError.
    """
    given = tuple(problems)

    def made(format: str) -> str:
        if format == "text" and not given:
            return said
        return formats.render_problems(format, given, base=_base())

    _write_all(arguments.write, made)
    sys.stdout.write(said if arguments.format == "text" else made(arguments.format))


def _base() -> formats.Base:
    here = os.getcwd()
    workspace = os.environ.get(WORKSPACE_VARIABLE, "")
    inside = workspace and os.path.commonpath([os.path.realpath(workspace), here]) == os.path.realpath(workspace)
    return formats.Base(here, os.path.realpath(workspace) if inside else here)


# --- files -----------------------------------------------------------------------------------------------------------


def _write_all(targets: Sequence[tuple[str, str]], made: Callable[[str], str]) -> None:
    for format, path in targets:
        text = made(format)
        try:
            _replace(Path(os.path.realpath(path)), text)
        except OSError as error:
            raise _unwritable(path, error) from error


def _replace(target: Path, text: str) -> None:
    """Writes `target` whole or not at all; what is no file (a pipe, a device) is written into."""
    if target.exists() and not target.is_file():
        target.write_text(text, encoding="utf-8")
        return
    part = _part(target)
    try:
        with open(part, "x", encoding="utf-8") as file:
            file.write(text)
        os.replace(part, target)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def _try(path: str) -> None:
    """Raises PlatformError if `path` cannot be written, before there is anything to write."""
    target = Path(os.path.realpath(path))
    try:
        if target.is_dir():
            raise IsADirectoryError(0, "it is a directory")
        if not target.exists() or target.is_file():
            part = _part(target)
            with open(part, "x"):
                part.unlink()
        elif not os.access(target, os.W_OK):
            raise PermissionError(0, "Permission denied")
    except OSError as error:
        raise _unwritable(path, error) from error


def _part(target: Path) -> Path:
    return target.with_name(f".reconcile-{os.getpid()}.part")


def _unwritable(path: str, error: OSError) -> PlatformError:
    return PlatformError(f"{path} cannot be written: {error.strerror}")
