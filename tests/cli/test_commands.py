"""The other commands: validate, status, ports, show, down, schema, completion."""

from __future__ import annotations

import json
import re

import jsonschema
import pytest

from tests.cli.host import ROOT, WEB, WITHOUT_WEB, Host
from tests.support.tun import needs_tun

EXAMPLES = sorted((ROOT / "examples").glob("*.yaml"))
SECOND = """\
version: 1
name: second
bridges:
  br-two:
    addresses: [10.99.0.1/24]
    containers:
      two: {addresses: [10.99.0.10], ports: ["8082:80"]}
"""


# --- validate, schema, completion, help ------------------------------------------------------------------------------


def test_validate_says_what_it_read(host: Host) -> None:
    host.write(WEB)
    answer = host.reconcile("validate")
    assert (answer.code, answer.out, answer.err) == (
        0,
        "valid: reconcile.yaml: 1 bridge, 2 containers, 1 published port\n",
        "",
    )


def test_validate_tells_the_notes_of_the_file(host: Host) -> None:
    host.write(WEB.replace("        addresses: [10.88.0.11]\n", "        mtu: 1400\n"))
    answer = host.reconcile("validate")
    assert answer.code == 0
    assert re.match(r"reconcile.yaml:9:7: note: db gets 10.88.0.2", answer.out)


def test_the_schema_is_one_and_accepts_every_example(host: Host) -> None:
    import yaml

    schema = json.loads(host.reconcile("schema").out)
    jsonschema.Draft202012Validator.check_schema(schema)
    for path in EXAMPLES:
        jsonschema.validate(yaml.safe_load(path.read_text()), schema, cls=jsonschema.Draft202012Validator)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"version": 1, "bridges": {"br0": {"mdoe": "nat"}}}, schema)


@pytest.mark.parametrize("shell", ["bash", "zsh", "tcsh"])
def test_completion_scripts_know_the_commands(host: Host, shell: str) -> None:
    pytest.importorskip("shtab")
    answer = host.reconcile("completion", shell)
    assert (answer.code, answer.err) == (0, "")
    for word in ("validate", "sandbox", "dry-run"):
        assert word in answer.out


def test_the_bash_completion_is_valid_bash(host: Host) -> None:
    pytest.importorskip("shtab")
    host.write(host.reconcile("completion", "bash").out, "completion")
    host.run("bash -n completion")


def test_help_names_every_command_and_exit_code(host: Host) -> None:
    answer = host.reconcile("--help")
    assert answer.code == 0
    for word in ("plan", "validate", "status", "ports", "show", "down", "sandbox", "schema", "completion"):
        assert re.search(rf"^    {word} ", answer.out, re.MULTILINE), word
    for code in (0, 1, 2, 3, 4, 6, 7, 64):
        assert re.search(rf"^  {code} ", answer.out, re.MULTILINE), code


def test_no_line_of_any_help_is_wider_than_the_terminal(host: Host) -> None:
    for command in (
        [],
        ["plan"],
        ["validate"],
        ["status"],
        ["ports"],
        ["show"],
        ["down"],
        ["sandbox"],
        ["schema"],
        ["completion"],
    ):
        said = host.child(*command, "--help").out
        assert [line for line in said.splitlines() if len(line) > 100] == [], command


def test_the_version_is_told(host: Host) -> None:
    assert re.fullmatch(r"reconcile \d+\.\d+\S*\n", host.reconcile("--version").out)


# --- status ----------------------------------------------------------------------------------------------------------


def test_status_tells_whether_the_host_is_as_the_file_says(host: Host) -> None:
    host.write(WEB)
    assert (
        "not" in host.reconcile("status").out.splitlines()[0]
        or "differ" in host.reconcile("status").out.splitlines()[0]
    )
    host.reconcile()
    in_sync = host.reconcile("status")
    assert (in_sync.code, in_sync.out.splitlines()[0]) == (0, "default: in sync with the file")
    host.run("ip -n web address del 10.88.0.10/24 dev eth0")
    drifted = host.reconcile("status").out
    assert "10.88.0.10/24" in drifted


def test_status_as_json(host: Host) -> None:
    host.write(WEB)
    assert json.loads(host.reconcile("status", "--format", "json").out)["in_sync"] is False
    host.reconcile()
    assert json.loads(host.reconcile("status", "--format", "json").out)["in_sync"] is True


# --- ports -----------------------------------------------------------------------------------------------------------


def test_ports_answers_as_docker_port_does(host: Host) -> None:
    host.write(WEB.replace('["8080:80"]', '["8080:80", "127.0.0.1:8443:443", "53:53/udp"]'))
    host.reconcile()
    everything = host.reconcile("ports").out
    assert everything.splitlines()[0].split() == ["CONTAINER", "BRIDGE", "TARGET", "HOST", "ADDRESS"]
    assert "web        br-web  10.88.0.10:80/tcp   0.0.0.0:8080" in everything
    assert (
        host.reconcile("ports", "web").out
        == "53/udp -> 0.0.0.0:53\n80/tcp -> 0.0.0.0:8080\n443/tcp -> 127.0.0.1:8443\n"
    )
    assert host.reconcile("ports", "web", "80").out == "0.0.0.0:8080\n"
    assert host.reconcile("ports", "web", "53/udp").out == "0.0.0.0:53\n"
    assert host.reconcile("ports", "db").out == ""


def test_ports_of_what_is_not_there_names_what_is(host: Host) -> None:
    host.write(WEB)
    host.reconcile()
    unknown = host.reconcile("ports", "wbe")
    assert (unknown.code, unknown.out) == (64, "")
    assert "no container 'wbe' (did you mean web?)" in unknown.err
    unpublished = host.reconcile("ports", "web", "81")
    assert (unpublished.code, unpublished.out) == (64, "")
    assert "port 81/tcp of web is not published (published are: 80/tcp)" in unpublished.err


def test_ports_tells_what_is_in_the_kernel_and_needs_no_file(host: Host) -> None:
    host.write(SECOND, "second.yaml")
    assert host.reconcile("ports").out == "Nothing is published.\n"
    host.reconcile("-f", "second.yaml")
    assert "0.0.0.0:8082" in host.reconcile("ports", "--name", "second").out
    assert host.reconcile("ports").out == "Nothing is published.\n"


# --- show ------------------------------------------------------------------------------------------------------------


def test_show_draws_the_tree_with_foreign_and_missing_things_marked(host: Host) -> None:
    host.write(WEB)
    host.reconcile()
    host.run(
        "ip link add docker0 type bridge; ip address add 10.77.0.1/24 dev br-web; ip -n db link set eth0 name eth9 || true"
    )
    host.run("ip netns delete db")
    shown = host.reconcile("show")
    assert shown.code == 0
    assert re.search(r"^br-web  nat  .*10.88.0.1/24", shown.out, re.MULTILINE)
    assert re.search(r"web +eth0 \(veth web-\w+\) +10.88.0.10/24", shown.out)
    assert "8080/tcp → 80" in shown.out
    assert re.search(r"docker0.*foreign", shown.out)
    assert re.search(r"10.77.0.1/24.*foreign", shown.out)
    assert re.search(r"db.*missing", shown.out)


def test_show_works_without_a_file(host: Host) -> None:
    host.write(WEB, "elsewhere.yaml")
    assert host.reconcile("show").code == 0
    host.reconcile("-f", "elsewhere.yaml")
    assert "8080/tcp → 80" in host.reconcile("show").out
    other = host.reconcile("show", "--name", "other").out
    assert "br-web" in other
    assert "foreign" in other or "default" in other


# --- down ------------------------------------------------------------------------------------------------------------


def test_down_removes_all_that_is_ours_and_nothing_else(host: Host) -> None:
    host.run(
        "ip link add docker0 type bridge; ip netns add theirs; nft add table inet theirs; sysctl -q net.ipv4.ip_forward=1"
    )
    before = host.state()
    host.write(WEB)
    host.reconcile()
    shown = host.reconcile("down", "--dry-run")
    assert shown.code == 0
    assert "- bridge br-web" in shown.out
    assert host.namespaces() == {"web", "db", "theirs"}
    done = host.reconcile("down")
    assert (done.code, done.err) == (0, "")
    assert host.state() == before


def test_down_needs_no_file_and_does_nothing_twice(host: Host) -> None:
    path = host.write(WEB)
    host.reconcile()
    path.unlink()
    assert host.reconcile("down").code == 0
    assert host.links() == {"lo"}
    again = host.reconcile("down")
    assert (again.code, again.err) == (0, "")
    assert "as the file says" not in again.out
    assert "Nothing to do" in again.out


def test_down_and_ports_only_ask_the_file_whose_things_they_are_about(host: Host) -> None:
    host.write(WEB.replace("version: 1", "version: 1\nname: mine"))
    assert host.reconcile().code == 0
    host.write("version: 1\nname: mine\nbridges: {br-web: {addreses: [10.88.0.1/99], containers: 7}}\nnonsense: 1\n")
    assert host.reconcile("--dry-run").code == 3
    assert "8080" in host.reconcile("ports").out
    assert host.reconcile("down").code == 0
    assert host.links() == {"lo"}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("version: 1\nname: not/a/name\n", "reconcile.yaml:2:7: error: 'not/a/name' cannot be a name here"),
        ("version: 1\nname: mine\nname: theirs\n", "reconcile.yaml:3:1: error: the key 'name' is given twice"),
        ("version: 1\nbridges: [\n", "reconcile.yaml:3:1: error: not YAML"),
        ("name: web\nservices: {}\n", "reconcile.yaml:1:1: error: the version is missing"),
        ("- version: 1\n", "reconcile.yaml:1:1: error: the file must be a mapping"),
    ],
)
def test_down_obeys_no_file_that_does_not_say_whose_it_is(host: Host, text: str, told: str) -> None:
    host.write(WEB)
    assert host.reconcile().code == 0
    before = host.state()
    host.write(text)
    answer = host.reconcile("down")
    assert (answer.code, answer.out) == (3, "")
    assert told in answer.err
    assert host.state() == before


def test_down_does_not_say_that_the_file_wants_it_so(host: Host) -> None:
    host.write(WEB)
    host.reconcile()
    assert "not in the file" not in host.reconcile("down", "--dry-run").out


# --- ownership -------------------------------------------------------------------------------------------------------


def test_two_owners_live_side_by_side(host: Host) -> None:
    host.write(WEB)
    host.write(SECOND, "second.yaml")
    host.reconcile()
    first = host.state()
    assert host.reconcile("-f", "second.yaml").code == 0
    assert host.reconcile("--dry-run", "--detailed-exitcode").code == 0
    assert host.reconcile("-f", "second.yaml", "--dry-run", "--detailed-exitcode").code == 0
    assert host.reconcile("down", "-f", "second.yaml").code == 0
    assert host.state() == first


def test_a_container_that_leaves_the_file_takes_just_its_things_along(host: Host) -> None:
    path = host.write(WITHOUT_WEB)
    host.reconcile()
    before = host.state()
    path.write_text(WEB)
    host.reconcile()
    assert host.state() != before
    path.write_text(WITHOUT_WEB)
    assert host.reconcile().code == 0
    assert host.state() == before


def test_a_namespace_made_by_others_is_used_and_stays(host: Host) -> None:
    host.run("ip netns add web")
    before = host.state()
    host.write(WEB)
    host.reconcile()
    assert "10.88.0.10/24" in host.run("ip -n web address show eth0")
    host.run("sysctl -q net.ipv4.ip_forward=0")
    assert host.reconcile("down").code == 0
    assert host.state() == before


BRIDGED = "version: 1\nbridges:\n  br0:\n    mode: bridged\n    uplinks: [eth1]\n    containers:\n      vm: {attach: {tap: vnet0}}\n"


@needs_tun
def test_an_uplink_is_taken_and_given_back(host: Host) -> None:
    host.run(
        "ip link add eth1 up type veth peer name cable; ip link set cable up; ip link set eth1 alias 'their words'"
    )
    before = host.run("ip -o link show eth1")
    host.write(BRIDGED)
    assert host.reconcile().code == 0
    assert "master br0" in host.run("ip link show eth1")
    host.write(BRIDGED.replace("    uplinks: [eth1]\n", ""))
    assert host.reconcile().code == 0
    assert "master" not in host.run("ip link show eth1")
    host.write(BRIDGED)
    host.reconcile()
    assert host.reconcile("down").code == 0
    assert host.run("ip -o link show eth1") == before
    assert host.links() == {"lo", "eth1", "cable"}
