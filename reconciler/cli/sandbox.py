"""reconcile sandbox"""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reconciler.cli import context, options, trust
from reconciler.errors import UsageError

if TYPE_CHECKING:
    from reconciler.manifest import Document
    from reconciler.sandbox import World

_STATE = "/run/sandbox/state"
"""The sandbox's own, where it keeps what awaits confirmation."""


def add(commands: Any) -> None:
    """Declares the command."""
    parser = commands.add_parser(
        "sandbox",
        help="try the file in namespaces of its own: no root, no risk",
        description="Opens namespaces of its own (user, mount, network, process), puts a small outside world around the host in there, a "
        "client and a gateway on a LAN, applies the file, and gives a shell, or runs one command. "
        "When that ends, everything is gone.",
        epilog="examples:\n"
        "  reconcile sandbox -f examples/web.yaml\n"
        "  reconcile sandbox -f examples/web.yaml --exec 'reconcile show'\n"
        "  reconcile sandbox -f examples/web.yaml --bare --exec 'reconcile --dry-run'",
    )
    options.file(parser)
    parser.add_argument("--exec", metavar="COMMAND", help="run COMMAND by sh in there, and end with its exit code")
    parser.add_argument("--bare", action="store_true", help="do not apply the file: leave that to the shell or COMMAND")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Opens the sandbox and works in it. Returns the exit code of the command, or that of the apply if it failed."""
    from reconciler import scratch

    document = context.document(arguments)
    sources = _sources(arguments)
    scratch.enter()
    child = scratch.in_own_process_tree()
    if child == 0:
        os._exit(_inside(arguments, document, sources))
    _, status = os.waitpid(child, 0)
    return _as_shells_have_it(os.waitstatus_to_exitcode(status))


def _as_shells_have_it(code: int) -> int:
    """The exit code of a process, for one that died of signal N 128 + N."""
    return code if code >= 0 else 128 - code


def _sources(arguments: argparse.Namespace) -> str:
    names = context.files(arguments)
    if "-" in names:
        raise UsageError("the sandbox needs a file, not standard input: its commands read it again")
    return os.pathsep.join(str(Path(name).resolve()) for name in names)


def _inside(arguments: argparse.Namespace, document: Document, sources: str) -> int:
    """What the first process of the sandbox does. Catches all, since nobody is above it but the kernel."""
    from reconciler.cli import main
    from reconciler.runtimes.sockets import VARIABLES

    for variable in VARIABLES.values():
        os.environ.pop(variable, None)  # engines are outside, and so are their containers
    environment = _environment(sources)
    try:
        around = _build_world(document)
        os.environ[context.FILE_VARIABLE] = sources
        os.environ[trust.SANDBOX_VARIABLE] = "1"
        os.environ[context.STATE_VARIABLE] = _STATE
        if not arguments.bare:
            sys.stdout.flush()
            code = _quietly(main, []) if arguments.exec is not None else main([])
            if code:
                return code
        if arguments.exec is not None:
            return _as_shells_have_it(subprocess.run(["sh", "-c", arguments.exec], env=environment).returncode)
        print(_welcome(document, around), file=sys.stderr)
        return _as_shells_have_it(subprocess.run(_shell(), env=environment).returncode)
    except Exception as error:
        print(f"reconcile: sandbox: {error}", file=sys.stderr)
        return getattr(error, "exit_code", 1)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()


def _quietly(main: Any, argv: list[str]) -> int:
    """Applies without printing the plan: standard output belongs to the command."""
    kept = os.dup(1)
    null = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(null, 1)
        code: int = main(argv)
        sys.stdout.flush()
        return code
    finally:
        os.dup2(kept, 1)
        os.close(kept)
        os.close(null)


def _build_world(document: Document) -> World:
    from reconciler import sandbox
    from reconciler.kernel.live import LiveKernel

    around = sandbox.world(document)
    with LiveKernel() as kernel:
        sandbox.build(kernel, sandbox.requests(document, around))
    return around


def _environment(sources: str) -> dict[str, str]:
    python = str(Path(sys.executable).parent)
    path = os.pathsep.join([_command_directory(), python, os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])
    return os.environ | {
        "PATH": path,
        context.FILE_VARIABLE: sources,
        trust.SANDBOX_VARIABLE: "1",
        context.STATE_VARIABLE: _STATE,
        "PS1": "(sandbox) \\w# ",
    }


def _command_directory() -> str:
    """A directory with the command `reconcile` in it: this very one, however it was started. /run is the sandbox's own."""
    package = str(Path(__file__).resolve().parents[2])
    start = f"import sys; sys.path.insert(0, {package!r}); from reconciler.cli import main; sys.exit(main())"
    command = Path("/run/sandbox/reconcile")
    command.parent.mkdir(exist_ok=True)
    command.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -c {shlex.quote(start)} "$@"\n')
    command.chmod(0o755)
    return str(command.parent)


def _shell() -> list[str]:
    bash = shutil.which("bash")
    return [bash, "--norc", "-i"] if bash else [os.environ.get("SHELL", "/bin/sh"), "-i"]


def _welcome(document: Document, around: World) -> str:
    host = ", ".join(str(address.ip) for address in around.host)
    lines = [
        "",
        "This shell is in the sandbox, and plays the host. Nothing you do here reaches the machine; `exit` ends it all.",
        f"  host ({around.uplink}): {host}    client: ip netns exec sandbox-client …    gateway: ip netns exec sandbox-gateway …",
        "  try: reconcile show · reconcile ports · reconcile status · nft flush ruleset, then reconcile --dry-run · reconcile down",
    ]
    target = _first_port(document)
    if target:
        container, published = target
        lines.append(
            f"  serve: ip netns exec {container} python3 -m http.server {published[1]} &"
            f"   ask: ip netns exec sandbox-client curl http://{around.host[0].ip}:{published[0]}/"
        )
    return "\n".join(lines)


def _first_port(document: Document) -> tuple[str, tuple[int, int]] | None:
    for bridge in document.bridges:
        for container in bridge.containers:
            for port in container.ports:
                if port.protocol == "tcp" and port.host_ip is None:
                    return container.name, (port.published[0], port.target[0])
    return None
