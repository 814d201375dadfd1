"""What a dry run prints, as a person sees it."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_interface
from textwrap import dedent

from reconciler.core.messages import HOST
from reconciler.core.planner import plan
from reconciler.core.resource import Key, State
from reconciler.kinds.address import Address
from reconciler.kinds.bridge import Bridge
from reconciler.kinds.bridge_port import BridgePort
from reconciler.kinds.links import link_key
from reconciler.kinds.netns import Netns
from reconciler.kinds.nftables import Chain, Element, Set
from reconciler.kinds.peer import Peer
from reconciler.kinds.veth import Veth
from reconciler.lower import lower
from reconciler.manifest import loads
from reconciler.render.text import plan_text
from tests.render import hosts
from tests.render.hosts import OWNER


def text(desired: State, found: State, *, verbose: bool = False, timing: str | None = None) -> str:
    made = plan(desired, found, OWNER)
    return plan_text(made, color=False, verbose=verbose, timing=timing, states=(desired, found))


def expected(lines: str) -> str:
    """`lines` as they stand in a test: indented, with a backslash less."""
    return dedent(lines).lstrip("\n")


def test_what_a_killed_run_left_on_no_bridge_stands_together() -> None:
    left = State.of([Netns(owner=OWNER, name=name, loopback=True) for name in ("one", "two")])
    assert text(State(), left) == expected(
        """
        - container one  (namespace)  not in the file
        - container two  (namespace)  not in the file

        Plan (basis: live): 0 to create, 0 to update, 2 to delete.
        """
    )


def element(state: State, set: str) -> Element:
    return next(item for item in state.resources.values() if isinstance(item, Element) and item.set == set)


def test_a_first_run_reads_as_the_file_does() -> None:
    wanted = replace(hosts.example(), notes=(hosts.note("net.ipv4.ip_forward will be turned on"),))
    assert text(wanted, hosts.host(), timing="planned in 12 ms") == expected(
        """
        + bridge br-web: nat                                                    net.yaml:4
        +   addresses  10.88.0.1/24, fd00:88::1/64
        +   container web                                                       net.yaml:9
        +     namespace  web
        +     interface  eth0, mac 02:00:00:00:00:0a, veth web-0a1b2c
        +     addresses  10.88.0.10/24, fd00:88::10/64
        +     routes     default via 10.88.0.1, default via fd00:88::1
        +     port       8080/tcp → 10.88.0.10:80, [fd00:88::10]:80             net.yaml:11
        +     port       127.0.0.1:8443/tcp → 10.88.0.10:443                    net.yaml:12
        +   container db                                                        net.yaml:13
        +     namespace  db
        +     interface  eth0, mac 02:00:00:00:00:0a, mtu 1400, veth db-0a1b2c
        +     address    10.88.0.11/24
        +     route      default via 10.88.0.1
        +     port       9000-9010/udp → 10.88.0.11:9000-9010                   net.yaml:15

        + bridge br0            net.yaml:16
        +   uplink     eth1     net.yaml:17
        +   container vm1       net.yaml:18
        +     tap        vnet0

          host
        ~   sysctl     net.ipv4.ip_forward 0 → 1                             net.yaml:4
        +   firewall   table reconciler-edge-7: 2 chains, 7 sets, 1 element

        net.yaml:3: warning: net.ipv4.ip_forward will be turned on

        Plan (basis: live): 36 to create, 1 to update, 0 to delete.  (planned in 12 ms)
        """
    )


def test_nothing_to_do_is_said_in_one_line() -> None:
    wanted = hosts.example()
    assert text(wanted, hosts.found(wanted)) == "Nothing to do: this host is as the file says.\n"


def test_another_basis_than_the_live_host_is_named() -> None:
    wanted = hosts.example()
    made = plan(wanted, hosts.found(wanted), OWNER, basis="git:origin/main")
    assert plan_text(made, color=False) == "Nothing to do: git:origin/main is as the file says.\n"


def test_updates_show_fields_and_deletions_their_reason() -> None:
    wanted = hosts.example()
    peer = replace(hosts.as_found(wanted.resources[link_key("db", "eth0")]), mtu=1500)  # type: ignore[call-arg]
    veth = replace(hosts.as_found(wanted.resources[link_key(HOST, "db-0a1b2c")]), mtu=1500)  # type: ignore[call-arg]
    moved = replace(element(wanted, "by_any4"), data=("10.88.0.99", "80"))
    old = [
        *hosts.container("br-web", "old", 1, "10.88.0.12/24"),
        hosts.port("br-web", "old", 1, "81/tcp", "10.88.0.12"),
    ]
    found = hosts.found(wanted, peer, veth, moved, *(item for item, _ in old))
    assert text(wanted, found) == expected(
        """
          bridge br-web
            container web
        ~     port       8080/tcp → 10.88.0.10:80 (was 10.88.0.99:80)  (interrupts traffic)  net.yaml:11
            container db
        ~     interface  eth0: mtu 1500 → 1400  (interrupts traffic)                         net.yaml:13
        -   container old  (namespace, interface, 1 address, 1 route)                        not in the file
        -     port       81/tcp → 10.88.0.12:80                                              not in the file

        Plan (basis: live): 0 to create, 3 to update, 7 to delete; 2 changes that interrupt traffic.
        """
    )


def test_a_container_can_be_placed_by_what_is_found_alone() -> None:
    old = hosts.state([*hosts.bridge("br-old", 1, "10.9.0.1/24"), *hosts.container("br-old", "x", 1, "10.9.0.2/24")])
    found = State({key: hosts.as_found(item) for key, item in old.resources.items() if key.space != "nft element"})
    assert text(State(), found) == expected(
        """
        - bridge br-old  (with 1 address)                            not in the file
        -   container x  (namespace, interface, 1 address, 1 route)  not in the file

        Plan (basis: live): 0 to create, 0 to update, 8 to delete.
        """
    )


def test_an_uplink_of_a_bridge_that_goes_is_given_back() -> None:
    wanted = hosts.state(hosts.guests())
    found = hosts.found(wanted)
    assert "-   uplink     eth1  (given back)" in text(State(), found)


def test_a_deletion_and_a_creation_of_one_thing_are_one_replacement() -> None:
    wanted = hosts.example()
    old = wanted.resources[link_key(HOST, "db-0a1b2c")]
    assert isinstance(old, Veth)
    found = hosts.found(wanted, replace(old, peer=("db", "eth9"), mtu=1400), without=[link_key("db", "eth0")])
    shown = text(wanted, found)
    assert "±     interface  eth0: peer db, eth9 → db, eth0  (peer cannot be changed in place;" in shown
    assert "of them to be made anew)" in shown


def test_a_firewall_made_anew_takes_one_line() -> None:
    wanted = hosts.example()
    kind = next(item for item in wanted.resources.values() if isinstance(item, Set))
    assert text(wanted, hosts.found(wanted, replace(kind, type=("mark",)))).startswith(
        "  host\n±   firewall   table reconciler-edge-7: 2 chains, "
    )


def test_a_change_of_mode_is_a_change_of_the_bridge() -> None:
    wanted = hosts.example()
    routed = replace(element(wanted, "arrive"), data=("goto only_open",))
    assert text(wanted, hosts.found(wanted, routed)).startswith("~ bridge br-web: mode routed → nat")


def test_changed_rules_are_told_by_their_reasons() -> None:
    wanted = hosts.example()
    chain = next(item for item in wanted.resources.values() if isinstance(item, Chain))
    other = replace(chain, rules=("what was translated was published [ffffffffff]", "mine"))
    shown = text(wanted, hosts.found(wanted, other))
    assert 'chain publish: rule "mine" removed, rule "what was translated was published" written anew' in shown


def test_what_waits_says_for_what() -> None:
    parts = [
        *hosts.bridge("br-web", 4, "10.88.0.1/24", mode=""),
        *hosts.container("br-web", "api", 7, "10.88.0.14/24", namespace="docker:api", made=False),
        *hosts.guests(),
    ]
    found = State({key: item for key, item in hosts.host().resources.items() if key != link_key(HOST, "eth1")})
    wanted = hosts.state(parts)
    assert expected(
        """
        Waiting, for what is not ours to make:
        ? container api on br-web waits for Docker container api  (interface, 1 address, 1 route)  net.yaml:7
        ? bridge port eth1 of br0 waits for link eth1                                              net.yaml:17
        """
    ) in text(wanted, found)
    assert text(wanted, found).endswith("; 2 wait.\n")


def test_what_is_in_the_way_comes_with_the_way_out() -> None:
    wanted = hosts.state(hosts.bridge("br-web", 4, "10.88.0.1/24", mode=""))
    shown = text(wanted, hosts.host(Bridge(name="br-web", mtu=1500)))
    assert "In the way (--adopt takes these over, or choose other names in the file):\n" in shown
    assert "? bridge br-web is there already and was not made by reconcile  net.yaml:4\n" in shown
    assert shown.endswith("; 1 in the way, and nothing is done before that is settled.\n")


def test_foreign_things_on_ours_are_named_and_left_alone() -> None:
    wanted = hosts.example()
    strange = Address(namespace=HOST, link="br-web", address=ip_interface("10.77.0.1/24"))
    found = hosts.found(wanted, strange, Veth(name="veth99", peer=None), BridgePort(link="veth99", bridge="br-web"))
    shown = text(wanted, found)
    assert "? address 10.77.0.1/24 on br-web\n? bridge port veth99 of br-web\n" in shown
    assert shown.endswith("Nothing to do: this host is as the file says.\n")


def test_verbose_hides_nothing() -> None:
    wanted = hosts.example()
    made = plan(wanted, hosts.host(), OWNER)
    shown = plan_text(made, color=False, verbose=True)
    for number, step in enumerate(made.steps, 1):
        assert f"+ {number}. {step.subject.label}" in shown or f"~ {number}. {step.subject.label}" in shown
    assert "      RTM_NEWADDR create excl family=2 prefixlen=24 scope=0 index=<index of br-web>" in shown
    assert "      [web] RTM_" in shown
    assert "      sysctl -w net.ipv4.ip_forward=1" in shown
    assert "conntrack -D -f ipv4 -p tcp --dport 8080 (flows not translated)" in shown


def test_names_cannot_write_to_the_terminal() -> None:
    evil = "x\x1b[2J\n\u202e\x9b"
    wanted = hosts.state(hosts.bridge(evil, 4, "10.88.0.1/24", mode=""))
    shown = text(wanted, State(), verbose=True)
    assert r"+ bridge x\x1b[2J\n\u202e\x9b" in shown
    assert all(character.isprintable() or character == "\n" for character in shown)


def test_colour_only_adds_to_the_text() -> None:
    import re

    wanted = hosts.example()
    made = plan(wanted, hosts.host(), OWNER)
    colored = plan_text(made, color=True)
    assert "\x1b[32m" in colored
    assert re.sub(r"\x1b\[\d+m", "", colored) == plan_text(made, color=False)


def test_a_cut_comment_still_finds_its_container() -> None:
    name = "long" * 30
    wanted = hosts.state(hosts.container("br-web", name, 3, "10.88.0.10/24"))
    gone, _ = hosts.port("br-web", name, 3, "80/tcp", "10.88.0.10")
    assert isinstance(gone, Element)
    found = hosts.found(wanted, replace(gone, comment=gone.comment[:100]))
    assert f"    container {name}\n" in text(wanted, found)


def test_the_key_of_a_thing_without_a_place_does_not_matter() -> None:
    alone = Peer(owner=OWNER, namespace="web", name="eth0", host=None)
    shown = text(State(), State({Key("link", "web", "eth0"): alone}))
    assert shown.startswith("- container web  (interface)  not in the file\n")


RANGES = f"""\
version: 1
name: {OWNER}
bridges:
  br0:
    addresses: [10.0.0.1/24, "fd00::1/64"]
    containers:
      web:
        addresses: [10.0.0.2, "fd00::2"]
        ports: ["81:80", "82:80", "83:80", "8000-8003:9000-9003", "127.0.0.1:91-92:191-192", "85:80/udp", "86:80/udp",
                "87:81/udp", "5000-5002:5000-5002"]
"""


def test_ports_in_a_row_that_one_line_asks_for_are_one_line() -> None:
    wanted = lower(loads(RANGES, "net.yaml"))
    gone = lower(loads(RANGES.partition("        ports:")[0], "net.yaml"))

    def ports(*states: State) -> list[str]:
        return [line.split("port ")[1].strip() for line in text(*states).splitlines() if " port " in line]

    assert ports(wanted, gone) == [
        "81-83/tcp, each → 10.0.0.2:80, [fd00::2]:80              net.yaml:9",
        "85/udp → 10.0.0.2:80, [fd00::2]:80                       net.yaml:9",
        "86/udp → 10.0.0.2:80, [fd00::2]:80                       net.yaml:9",
        "87/udp → 10.0.0.2:81, [fd00::2]:81                       net.yaml:10",
        "127.0.0.1:91/tcp → 10.0.0.2:191                          net.yaml:9",
        "127.0.0.1:92/tcp → 10.0.0.2:192                          net.yaml:9",
        "8000-8003/tcp → 10.0.0.2:9000-9003, [fd00::2]:9000-9003  net.yaml:9",
        "5000-5002/tcp → 10.0.0.2:5000-5002, [fd00::2]:5000-5002  net.yaml:10",
    ]
    assert len(ports(gone, wanted)) == 8
    # One that moves has more to tell than its neighbours.
    moved = lower(loads(RANGES.replace("8000-8003:9000-9003", "8000-8003:9100-9103"), "net.yaml"))
    assert ports(moved, wanted)[0].startswith("8000/tcp → 10.0.0.2:9100, [fd00::2]:9100 (was 10.0.0.2:9000)")
    assert len(ports(moved, wanted)) == 4
