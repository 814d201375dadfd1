"""The work to be done, as a file of ours, and as commands by hand."""

from __future__ import annotations

from pathlib import Path

FIRST_PORT = 10000


def address(number: int) -> str:
    """Of the container of that number."""
    return f"10.100.{1 + number // 250}.{number % 250 + 1}"


def desired(containers: int, ports: int = 1) -> str:
    """A file with one bridge, and so many containers with so many published ports each."""
    lines = ["version: 1", "bridges:", "  br-bench:", "    addresses: [10.100.0.1/16]", "    containers:"]
    for number in range(containers):
        first = FIRST_PORT + number * ports
        published = ", ".join(f'"{first + port}:80"' for port in range(ports))
        lines.append(f"      c{number}: {{addresses: [{address(number)}], ports: [{published}]}}")
    return "\n".join(lines) + "\n"


def uneven(containers: int, ports: int, more: int) -> str:
    """The same with `more` ports at the first container."""
    first, rest = desired(containers, ports), FIRST_PORT + containers * ports
    added = "".join(f', "{rest + port}:80"' for port in range(more))
    head, bracket, tail = first.partition('"]')
    return head + '"' + added + bracket[1:] + tail


def write(folder: str, name: str, text: str) -> str:
    """Writes a file, and returns its path."""
    path = Path(folder, name)
    path.write_text(text)
    return str(path)


def by_hand(count: int) -> tuple[str, str]:
    """What `desired` asks for, without check and guards: (a shell script of ip -batch and nft -f, the file for nft)."""
    ip = ["link add br-bench up type bridge", "addr add 10.100.0.1/16 dev br-bench"]
    ip += [f"netns add c{number}" for number in range(count)]
    ip += [f"link add v{number} up master br-bench type veth peer name eth0 netns c{number}" for number in range(count)]
    inside = [
        f"printf 'link set lo up\\nlink set eth0 up\\naddr add {address(number)}/16 dev eth0\\n"
        f"route add default via 10.100.0.1\\n' | ip -n c{number} -batch -"
        for number in range(count)
    ]
    ports = ", ".join(f"tcp . {FIRST_PORT + number} : {address(number)} . 80" for number in range(count))
    nft = f"""\
table inet bench {{
  map ports {{
    type inet_proto . inet_service : ipv4_addr . inet_service
    elements = {{ {ports} }}
  }}
  chain prerouting {{
    type nat hook prerouting priority -100
    fib daddr type local dnat ip to meta l4proto . th dport map @ports
  }}
  chain postrouting {{
    type nat hook postrouting priority 100
    ip saddr 10.100.0.0/16 masquerade
  }}
}}
"""
    script = ["sysctl -qw net.ipv4.ip_forward=1", "ip -batch - <<END", *ip, "END", *inside, 'nft -f "$1"']
    return "\n".join(script) + "\n", nft
