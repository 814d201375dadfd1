"""Peers on the same work: so many containers on one bridge, each with an address, a default route and one published port.

Each is a class with `lacking()`, why it cannot run here ("" if it can), `version()`, and `seconds(count)`: the time that it takes at an
empty host. What has to be there before (namespaces, a daemon, an image) is made outside of that time and told in `note`.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks import work
from benchmarks.stage import environment, isolated, timed

_PATH = environment()["PATH"]


def program(name: str, *places: str) -> str:
    """Where a program is: as the variable NAME says, in PATH, or at `places`; "" if nowhere."""
    told = os.environ.get(re.sub(r"\W", "_", name).upper(), "")
    found = [told, shutil.which(name, path=_PATH) or "", *(f"{place}/{name}" for place in places)]
    return next((path for path in found if path and os.access(path, os.X_OK)), "")


def _said(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, env=environment())
    return (done.stdout + done.stderr).strip()


def _number(text: str) -> str:
    found = re.search(r"\d+(\.\d+)+", text)
    return found[0] if found else "?"


def _make_namespaces(count: int) -> None:
    batch = "".join(f"netns add c{number}\n" for number in range(count))
    subprocess.run(["ip", "-batch", "-"], input=batch, text=True, check=True, env=environment())


class ByHand:
    """iproute2 and nft, as a person would write a script for them."""

    name = "ip -batch and nft -f, by hand"
    note = "nothing compared, nothing checked"

    def lacking(self) -> str:
        return "" if program("nft") and program("ip") else "iproute2 and nftables"

    def version(self) -> str:
        return (
            f"iproute2 {_number(_said('ip', '-V').partition('iproute2-')[2])}, nft {_number(_said('nft', '--version'))}"
        )

    def seconds(self, count: int) -> float:
        script, rules = work.by_hand(count)
        with tempfile.NamedTemporaryFile("w", suffix=".nft") as nft:
            nft.write(rules)
            nft.flush()
            return float(isolated(lambda: timed("sh", "-e", "/dev/stdin", nft.name, stdin=script).seconds))


class Cni:
    """The plugins that a container runtime calls, one after the other, for each container."""

    name = "CNI bridge, host-local and portmap"
    note = "namespaces made before"
    _PLACES = (*os.environ.get("CNI_PATH", "").split(":"), "/usr/lib/cni", "/opt/cni/bin")

    def _plugin(self, name: str) -> str:
        """Not in PATH, where `bridge` is iproute2's."""
        return next((path for place in self._PLACES if os.access(path := f"{place}/{name}", os.X_OK)), "")

    def lacking(self) -> str:
        missing = [name for name in ("bridge", "host-local", "portmap") if not self._plugin(name)]
        missing += [] if program("iptables") else ["iptables"]
        return f"{', '.join(missing)} (Debian: containernetworking-plugins, iptables)" if missing else ""

    def version(self) -> str:
        said = _said("dpkg-query", "-W", "-f", "${Version}", "containernetworking-plugins")
        return f"plugins {_number(said)}"

    def seconds(self, count: int) -> float:
        def run() -> float:
            _make_namespaces(count)
            with tempfile.TemporaryDirectory() as folder:
                began = time.perf_counter()
                for number in range(count):
                    self._add(number, folder)
                return time.perf_counter() - began

        return float(isolated(run))

    def _add(self, number: int, folder: str) -> None:
        ports = [{"hostPort": work.FIRST_PORT + number, "containerPort": 80, "protocol": "tcp"}]
        common = {"cniVersion": "0.4.0", "name": "bench"}
        ipam = {
            "type": "host-local",
            "dataDir": folder,
            "ranges": [[{"subnet": "10.100.0.0/16"}]],
            "routes": [{"dst": "0.0.0.0/0"}],
        }
        bridge = {"type": "bridge", "bridge": "br-bench", "isGateway": True, "ipMasq": True, "hairpinMode": True}
        made = self._call("bridge", number, common | bridge | {"ipam": ipam})
        portmap = {"type": "portmap", "runtimeConfig": {"portMappings": ports}, "prevResult": json.loads(made)}
        self._call("portmap", number, common | portmap)

    def _call(self, plugin: str, number: int, config: dict[str, object]) -> str:
        found = self._plugin(plugin)
        variables = {
            "CNI_COMMAND": "ADD",
            "CNI_CONTAINERID": f"c{number}",
            "CNI_NETNS": f"/run/netns/c{number}",
            "CNI_IFNAME": "eth0",
            "CNI_PATH": os.path.dirname(found),
        }
        done = subprocess.run(
            [found], input=json.dumps(config), capture_output=True, text=True, env=environment(**variables)
        )
        if done.returncode:
            raise RuntimeError(f"{plugin}: {done.stdout}{done.stderr}")
        return done.stdout


class Netavark:
    """Podman's network program, once for each container."""

    name = "netavark"
    note = "namespaces made before"
    _PLACES = ("/usr/lib/podman", "/usr/libexec/podman")

    def lacking(self) -> str:
        return "" if program("netavark", *self._PLACES) else "netavark (Debian: netavark)"

    def version(self) -> str:
        return _number(_said(program("netavark", *self._PLACES), "--version"))

    def seconds(self, count: int) -> float:
        def run() -> float:
            _make_namespaces(count)
            with tempfile.TemporaryDirectory() as folder:
                began = time.perf_counter()
                for number in range(count):
                    self._setup(number, folder)
                return time.perf_counter() - began

        return float(isolated(run))

    def _setup(self, number: int, folder: str) -> None:
        port = {
            "container_port": 80,
            "host_ip": "",
            "host_port": work.FIRST_PORT + number,
            "protocol": "tcp",
            "range": 1,
        }
        network = {
            "dns_enabled": False,
            "driver": "bridge",
            "id": "b" * 64,
            "internal": False,
            "ipv6_enabled": False,
            "name": "bench",
            "network_interface": "br-bench",
            "subnets": [{"subnet": "10.100.0.0/16", "gateway": "10.100.0.1"}],
            "ipam_options": {"driver": "host-local"},
        }
        options = {
            "container_id": f"{number:064x}",
            "container_name": f"c{number}",
            "port_mappings": [port],
            "networks": {"bench": {"interface_name": "eth0", "static_ips": [work.address(number)]}},
            "network_info": {"bench": network},
        }
        command = [program("netavark", *self._PLACES), "--config", folder, "setup", f"/run/netns/c{number}"]
        done = subprocess.run(
            command, input=json.dumps(options), capture_output=True, text=True, env=environment(NETAVARK_FW="iptables")
        )
        if done.returncode:
            raise RuntimeError(f"netavark: {done.stdout}{done.stderr}")


class Ifstate:
    """A declarative tool for links, in Python."""

    name = "ifstate"
    note = "no published ports: it has none"

    def lacking(self) -> str:
        return "" if program("ifstatecli") else "ifstatecli (pip install ifstate)"

    def version(self) -> str:
        return _number(_said(program("ifstatecli"), "--version"))

    def seconds(self, count: int) -> float:
        with tempfile.TemporaryDirectory() as folder:
            file = work.write(folder, "ifstate.yaml", json.dumps(self._desired(count)))
            return float(isolated(lambda: timed(program("ifstatecli"), "-q", "-c", file, "apply").seconds))

    def _desired(self, count: int) -> dict[str, object]:
        bridge = {"addresses": ["10.100.0.1/16"], "link": {"state": "up", "kind": "bridge"}}
        interfaces: dict[str, object] = {"br-bench": bridge}
        spaces = {}
        for number in range(count):
            peer = {"peer": "eth0", "peer_netns": f"c{number}"}
            interfaces[f"v{number}"] = {"link": {"kind": "veth", "master": "br-bench", "state": "up", **peer}}
            inside = {"addresses": [f"{work.address(number)}/16"], "link": {"kind": "veth", "state": "up"}}
            route = {"to": "0.0.0.0/0", "via": "10.100.0.1"}
            spaces[f"c{number}"] = {"interfaces": {"eth0": inside}, "routing": {"routes": [route]}}
        return {"interfaces": interfaces, "namespaces": spaces}


class Docker:
    """`docker run` of each container, less the same without a network: what is left is what the network takes."""

    name = "Docker"
    note = "docker run -p, less docker run --network none"

    def lacking(self) -> str:
        from tests.support.docker import refusal

        return refusal()

    def version(self) -> str:
        return _number(_said("docker", "--version"))

    def seconds(self, count: int) -> float:
        def run() -> float:
            from tests.support.docker import IMAGE
            from tests.support.docker import Docker as Engine

            with tempfile.TemporaryDirectory(dir="/tmp", prefix="d") as folder, Engine(Path(folder)) as docker:
                spans = []
                for network in (("--network", "none"), ("-p",)):
                    began = time.perf_counter()
                    for number in range(count):
                        given = network if len(network) > 1 else ("-p", f"{work.FIRST_PORT + number}:80")
                        docker("run", "--detach", *given, IMAGE, "sleep", "600")
                    spans.append(time.perf_counter() - began)
                return spans[1] - spans[0]

        return float(isolated(run))


PEERS = (ByHand(), Cni(), Netavark(), Ifstate(), Docker())


def main() -> None:
    """Tries all of them, for who wants to know what is missing: peers.py [COUNT]"""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 10
    for peer in PEERS:
        why = peer.lacking()
        print(
            peer.name, "·", f"not here: {why}" if why else f"{peer.version()} · {peer.seconds(count):.2f} s", flush=True
        )


if __name__ == "__main__":
    main()
