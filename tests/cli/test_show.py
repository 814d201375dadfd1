"""reconcile show: the tree and the pictures, live and of the file alone."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree

import pytest

from tests.cli.host import WEB, Host

FORMATS = {"svg": "<svg ", "mermaid": "flowchart LR", "dot": "digraph network {"}

BRIDGED = """\
version: 1
bridges:
  br0:
    mode: bridged
    uplinks: [eth1]
    containers:
      web: {addresses: [192.0.2.10/24]}
"""


@pytest.mark.parametrize("form", FORMATS)
def test_the_live_host_is_drawn_in_each_format(host: Host, form: str) -> None:
    host.write(WEB)
    host.reconcile()
    answer = host.reconcile("show", "--format", form)
    assert (answer.code, answer.err) == (0, "")
    assert answer.out.startswith(FORMATS[form])
    for part in ("br-web", "web", "10.88.0.11/24", "8080/tcp", "masquerade"):
        assert part in answer.out
    assert "missing" not in answer.out.replace("is-missing", "").replace("--missing", "").replace("var(--missing", "")


def test_drift_is_marked_in_the_picture(host: Host) -> None:
    host.write(WEB)
    host.reconcile()
    host.run("ip netns exec web ip address del 10.88.0.10/24 dev eth0")
    root = ElementTree.fromstring(host.reconcile("show", "--format", "svg").out)
    marked = [element.text for element in root.iter() if "is-missing" in element.get("class", "") and element.text]
    assert marked[:2] == ["10.88.0.10/24", "missing"]
    assert "(missing)" in host.reconcile("show").out


@pytest.mark.parametrize("form", ["text", *FORMATS])
def test_the_file_alone_is_drawn_without_a_host(host: Host, form: str) -> None:
    host.write(WEB)
    before = host.state()
    answer = host.reconcile("show", "--desired", "--format", form)
    assert (answer.code, answer.err) == (0, "")
    for part in ("br-web", "db", "10.88.0.10/24", "8080/tcp"):
        assert part in answer.out
    assert host.state() == before
    assert answer.out.index("web") < answer.out.rindex("db")
    assert "masquerade" in answer.out or form == "text"


def test_the_file_alone_needs_no_privilege(host: Host) -> None:
    host.write(BRIDGED)
    before = ("setpriv", "--no-new-privs", "--bounding-set=-all", "--inh-caps=-all")
    if host.child("--version", before=before).code != 0:
        pytest.skip("setpriv cannot take capabilities away here")
    answer = host.child("show", "--desired", before=before)
    assert (answer.code, answer.err) == (0, "")
    assert "eth1  uplink" in answer.out
    assert host.child("show", before=before).code == 1


def test_the_owner_of_a_wish_is_the_file_s(host: Host) -> None:
    host.write(WEB)
    answer = host.reconcile("show", "--desired", "--name", "other")
    assert (answer.code, answer.out) == (64, "")
    assert "the file is of 'default'" in answer.err


def test_text_that_is_not_asked_for_loads_no_picture(host: Host) -> None:
    host.write(WEB)
    answer = host.child("show", "--desired", python=("-X", "importtime"))
    assert answer.code == 0
    assert "reconciler.render.tree" in answer.err
    assert "reconciler.render.drawing" not in answer.err
