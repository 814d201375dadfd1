"""Plans as people read them. A case is a folder under cases/:

    desired.yaml   the file
    before.yaml    the file that was applied before, if there was one
    found          what else is on the host, in the words of reconciler.kernel.model.text; nothing if missing
    since          what somebody did since: `- LINE` takes away lines of the host's state that begin so, `+ LINE` puts one there
    options        of the command line: --adopt, --prune=foreign
    plan.txt       what `reconcile --dry-run` prints, exactly

UPDATE_EXPECTED=1 writes plan.txt anew: read it before you commit it.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from reconciler import reconcile
from reconciler.core.planner import Policy
from reconciler.core.resource import State
from reconciler.kernel.model import ModelKernel
from reconciler.lower import lower
from reconciler.manifest import Document, load
from reconciler.render.text import plan_text

CASES = Path(__file__).parent / "cases"
HOST_ID = "the host of the golden cases"


def text_of(case: Path, name: str) -> str:
    """What the file `name` of the case holds, nothing if it is not there."""
    path = case / name
    return path.read_text() if path.exists() else ""


def document(case: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> Document:
    """That file of the case, read as if we stood in its folder."""
    monkeypatch.chdir(case)
    return load([name])


def desired(file: Document) -> State:
    """What the file asks for, on this host."""
    return lower(file, HOST_ID)


def changed_since(state: str, since: str) -> str:
    """`state` with the lines of `since` taken away or added."""
    lines = state.splitlines()
    place = len(lines)
    for change in filter(None, since.splitlines()):
        sign, _, line = change.partition(" ")
        if sign == "+":
            lines.insert(place, line)
            place += 1
        elif sign == "-":
            gone = [number for number, one in enumerate(lines) if one.startswith(line)]
            assert gone, f"nothing begins with: {line}"
            place = gone[0]
            lines = [one for number, one in enumerate(lines) if number not in gone]
        else:
            assert sign.startswith("#"), f"neither + nor -: {change}"
    return "\n".join(lines)


def host(case: Path, monkeypatch: pytest.MonkeyPatch) -> ModelKernel:
    """The host of the case, as the plan finds it."""
    kernel = ModelKernel.parse(text_of(case, "found"))
    if (case / "before.yaml").exists():
        file = document(case, "before.yaml", monkeypatch)
        plan, view = reconcile.plan(kernel, desired(file), file.name)
        reconcile.apply(kernel, desired(file), plan, view.found)
    return ModelKernel.parse(changed_since(str(kernel), text_of(case, "since")))


def plan_of(case: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """What a dry run prints."""
    kernel, file, options = (
        host(case, monkeypatch),
        document(case, "desired.yaml", monkeypatch),
        text_of(case, "options").split(),
    )
    assert set(options) <= {"--adopt", "--prune=foreign"}
    policy = Policy(adopt="--adopt" in options, prune_foreign="--prune=foreign" in options)
    plan, view = reconcile.plan(kernel, desired(file), file.name, policy)
    return plan_text(plan, color=False, states=(view.desired, view.found))


@pytest.mark.parametrize("case", sorted(CASES.iterdir()), ids=lambda case: case.name)
def test_the_plan_reads_as_expected(case: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = plan_of(case, monkeypatch)
    if os.environ.get("UPDATE_EXPECTED"):
        (case / "plan.txt").write_text(plan)
    assert text_of(case, "plan.txt") == plan


@pytest.mark.parametrize("case", sorted(CASES.iterdir()), ids=lambda case: case.name)
def test_the_plan_leads_to_rest_or_is_refused(case: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kernel, file, options = (
        host(case, monkeypatch),
        document(case, "desired.yaml", monkeypatch),
        text_of(case, "options").split(),
    )
    policy = Policy(adopt="--adopt" in options, prune_foreign="--prune=foreign" in options)
    plan, view = reconcile.plan(kernel, desired(file), file.name, policy)
    before = str(kernel)
    if plan.conflicts:
        assert "In the way" in text_of(case, "plan.txt")
        assert str(kernel) == before
        return
    reconcile.apply(kernel, desired(file), plan, view.found, policy)
    assert reconcile.plan(kernel, desired(file), file.name, policy)[0].steps == ()
