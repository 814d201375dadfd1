"""By which connection the caller reaches this host."""

from __future__ import annotations

import os
import subprocess
import sys
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.kernel.session import Connection, of_caller, parse

OURS = Connection(ip_address("192.0.2.9"), ip_address("192.0.2.2"), 22)
ADDRESSES = st.ip_addresses().filter(lambda item: getattr(item, "ipv4_mapped", None) is None)


@given(ADDRESSES, ADDRESSES, st.integers(0, 65535), st.integers(0, 65535))
def test_what_sshd_tells_is_understood(client: object, server: object, source: int, port: int) -> None:
    assert parse(f"{client} {source} {server} {port}") == Connection(client, server, port)  # type: ignore[arg-type]


def test_an_ipv4_address_is_one_however_it_is_written() -> None:
    assert parse("::ffff:192.0.2.9 50112 ::ffff:192.0.2.2 22") == OURS


def test_a_link_local_address_keeps_its_zone() -> None:
    found = parse("fe80::1%eth0 50112 fe80::2%eth0 22")
    assert found is not None
    assert str(found.client) == "fe80::1%eth0"


@given(st.text())
def test_anything_else_is_no_connection(text: str) -> None:
    assert parse(text) is None


@pytest.mark.parametrize(
    "text", ["UNKNOWN 65535 UNKNOWN 65535", "", "192.0.2.9 1 192.0.2.2", "192.0.2.9 1 192.0.2.2 x"]
)
def test_what_sshd_says_where_there_is_none_is_none(text: str) -> None:
    assert parse(text) is None


def test_the_variable_comes_first() -> None:
    assert of_caller({"SSH_CONNECTION": "192.0.2.9 50112 192.0.2.2 22"}, os.getpid()) == OURS


ASK = "import os; from reconciler.kernel.session import of_caller; print(of_caller(os.environ, os.getppid()))"
"""What a child says whose environment was cleaned, as sudo does it."""


@pytest.mark.parametrize("shells", [1, 3])
def test_behind_sudo_it_is_found_in_the_processes_above(shells: int) -> None:
    inner = f'env -u SSH_CONNECTION "{sys.executable}" -c "$ASK"; true'
    for _ in range(shells):
        inner = f"env -u SSH_CONNECTION sh -c {quoted(inner)}; true"
    said = run(["sh", "-c", inner], SSH_CONNECTION="192.0.2.9 50112 192.0.2.2 22")
    assert said == f"{OURS}\n"


def test_where_nobody_above_has_it_there_is_none() -> None:
    above = of_caller({}, os.getppid())
    said = run([sys.executable, "-c", ASK])
    assert said == f"{above}\n"


def run(command: list[str], **variables: str) -> str:
    environment = {name: value for name, value in os.environ.items() if name != "SSH_CONNECTION"}
    path = os.pathsep.join([os.getcwd(), os.environ.get("PYTHONPATH", "")])
    environment |= {"ASK": ASK, "PYTHONPATH": path} | variables
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=60).stdout


def quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"
