"""What a laboratory is made of: the internet, switches, home routers, hosts, and the links between them.

The internet is one switch over 203.0.96.0/20, a range that libp2p takes for public. What stands on it reaches all else on it; nothing leads out.
"""

from __future__ import annotations

import ipaddress
import socket
import subprocess
from typing import TYPE_CHECKING

from . import build
from .box import Box, Process, nft

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .actor import Actor

INTERNET = ipaddress.ip_network("203.0.96.0/20")

_SO_RCVBUFFORCE = 33  # Linux

NAT = ("full_cone", "restricted_cone", "port_restricted_cone", "symmetric", "udp_blocked")
"""Types of routers. The cones keep one outside port for an inside one whoever is spoken to (here: the same number) and differ in whom they let in
by it: everybody; the addresses that were spoken to; the addresses and ports that were. symmetric takes another port, at random, for
every destination. udp_blocked is a port-restricted cone that lets no UDP through."""


class Lab:
    """A little internet. Leave it with ``with`` or ``close``; whatever runs in it ends then."""

    def __init__(self) -> None:
        self._box = Box()
        self._hosts: dict[str, Host | Router] = {}
        self._processes: list[Process] = []
        self._ports = 0
        self._homes = 0
        self._public = iter(_spread(INTERNET))
        self.internet = Switch(self, "internet", INTERNET)

    def host(self, name: str, **link: float) -> Host:
        """A host on the internet. ``link``: its faults, as for Link.set."""
        return Host(self, name, self.internet, str(next(self._public)), None, link)

    def router(self, name: str, nat: str = "port_restricted_cone", **link: float) -> Router:
        """A home with a router of type ``nat`` on the internet; link: the faults of its line."""
        self._homes += 1
        return Router(self, name, nat, str(next(self._public)), ipaddress.ip_network(f"192.168.{self._homes}.0/24"), link)

    def switch(self, name: str) -> Switch:
        """A local network with no way out."""
        self._homes += 1
        return Switch(self, name, ipaddress.ip_network(f"192.168.{self._homes}.0/24"))

    def __getitem__(self, name: str) -> Host | Router:
        return self._hosts[name]

    @property
    def hosts(self) -> list[Host]:
        return [host for host in self._hosts.values() if isinstance(host, Host)]

    @property
    def names(self) -> list[str]:
        return list(self._hosts)

    def partition(self, *groups: Iterable[Host | Router]) -> None:
        """Let each group reach itself only, until ``heal``. Who is behind a router is cut with its router."""
        listed = [list(group) for group in groups]
        for group in listed:
            others = [host.address for other in listed if other is not group for host in other]
            for host in group:
                host.link.cut(others)

    def heal(self) -> None:
        """End ``partition``."""
        for host in self._hosts.values():
            host.link.cut([])

    # For the parts of it.

    def script(self, *lines: str) -> str:
        return self._box.script(*lines)

    def spawn(self, network: str | None, words: list[str], **options) -> Process:
        process = self._box.spawn(network, words, **options)
        self._processes.append(process)
        return process

    def socket(self, network: str, kind: int) -> socket.socket:
        return self._box.socket(network, kind)

    def command(self, network: str | None, words: list[str]) -> list[str]:
        return self._box.command(network, words)

    def add(self, host: Host | Router) -> None:
        if host.name in self._hosts or host.name == "internet":
            raise ValueError(f"there is a {host.name} already")
        self._hosts[host.name] = host

    def new_port(self) -> str:
        self._ports += 1
        return f"port{self._ports}"

    def close(self) -> None:
        for host in self._hosts.values():
            if isinstance(host, Host):
                host.close()
        self._box.close()
        for process in self._processes:
            process.wait()
            for pipe in (process.stdin, process.stdout, process.stderr):
                if pipe:
                    pipe.close()

    def __enter__(self) -> Lab:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Switch:
    """A network that hosts are plugged into: a bridge in a namespace, its own or its router's."""

    def __init__(self, lab: Lab, name: str, addresses: ipaddress.IPv4Network, namespace: str | None = None) -> None:
        self.lab = lab
        self.name = name
        self.addresses = addresses
        self.namespace = namespace or name
        self._free = iter(range(10, 250))
        self._forwarder: Process | None = None
        begin = [] if namespace else _namespace(self.namespace)
        lab.script(*begin, f"ip -n {self.namespace} link add lan type bridge", f"ip -n {self.namespace} link set lan up")

    def host(self, name: str, **link: float) -> Host:
        """A host on this network."""
        return Host(self.lab, name, self, str(self.addresses[next(self._free)]), None, link)

    def forward(self, inside: str, outside: str, delay_ms: float, jitter_ms: float, duplicate: float, reorder: float) -> None:
        """Carry what arrives on one device to the other, late; a second call changes how."""
        if self._forwarder is None:
            self._forwarder = self.lab.spawn(
                self.namespace, [str(build.forwarder())], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
            )
        self._forwarder.stdin.write(f"{inside} {outside} {delay_ms} {jitter_ms} {duplicate} {reorder}\n")
        self._forwarder.stdin.flush()
        if (answer := self._forwarder.stdout.readline().strip()) != "ok":
            raise RuntimeError(f"delaying {inside}: {answer}")


class Link:
    """The cable between a host, or a router's outside, and a switch. Faults hold in both directions, once each way."""

    def __init__(self, switch: Switch, namespace: str, device: str, address: str, gateway: str | None) -> None:
        self._switch = switch
        self._script = switch.lab.script
        self._near, self._far = namespace, switch.namespace
        self._device = device
        self._cable = switch.lab.new_port()
        self._port = self._cable
        """What stands in the bridge: the cable's end, or that of the forwarder between."""
        self._addresses: list[str] = []
        self._faults = {"loss": 0.0, "delay_ms": 0.0, "jitter_ms": 0.0, "duplicate": 0.0, "reorder": 0.0, "rate_kbit": 0.0}
        self._gateway = gateway
        self._script(
            f"ip -n {self._far} link add {self._cable} type veth peer name {device} netns {namespace}",
            f"ip -n {namespace} addr add {address}/{switch.addresses.prefixlen} dev {device}",
            f"ip -n {self._far} link set {self._cable} master lan up",
            f"ip -n {namespace} link set {device} up",
            *self._routes(),
            _plain(self._far, self._cable),
            _plain(namespace, device),
        )

    def _routes(self) -> list[str]:
        return [f"ip -n {self._near} route add default via {self._gateway}"] if self._gateway else []

    def set(self, **faults: float) -> None:
        """Change faults; those not named stay. All are zero at first, and apply to each direction by itself.

        loss, duplicate, reorder: percent of packets; delay_ms; jitter_ms: up to so much more, in order; rate_kbit: 0 for no limit.
        A path of two links of delay_ms=25 and loss=1 has 50 ms one way, 100 ms there and back, and 2 % loss each way.
        """
        if unknown := set(faults) - set(self._faults):
            raise TypeError(f"no fault named {', '.join(unknown)}")
        self._faults.update(faults)
        late = [self._faults[name] for name in ("delay_ms", "jitter_ms", "duplicate", "reorder")]
        if any(late) or self._port != self._cable:
            self._insert_forwarder()
            self._switch.forward(self._cable, f"{self._cable}x", *late)
        self._filter()
        for network, device in ((self._near, self._device), (self._far, self._port)):
            if rate := self._faults["rate_kbit"]:
                self._script(f"tc -n {network} qdisc replace dev {device} root tbf rate {rate}kbit burst 16kb latency 200ms")
            else:
                self._script(f"tc -n {network} qdisc del dev {device} root 2>/dev/null || true")

    def cut(self, addresses: Iterable[str]) -> None:
        """Let nothing from here to these addresses; ``Lab.partition`` does so on both sides."""
        self._addresses = list(addresses)
        self._filter()

    def down(self) -> None:
        """Pull the plug: the device has no carrier. Its addresses and routes stay."""
        self._script(f"ip -n {self._far} link set {self._cable} down")

    def up(self) -> None:
        """Undo ``down`` and ``interface_down``."""
        self._script(f"ip -n {self._far} link set {self._cable} up", f"ip -n {self._near} link set {self._device} up")
        if self._gateway:
            self._script(f"ip -n {self._near} route replace default via {self._gateway}")

    def interface_down(self) -> None:
        """Switch the device off, as one does a radio: its routes go as well."""
        self._script(f"ip -n {self._near} link set {self._device} down")

    def _insert_forwarder(self) -> None:
        if self._port != self._cable:
            return
        far, cable, inner, port = self._far, self._cable, f"{self._cable}x", f"{self._cable}y"
        # The forwarder sees packets before these rules do, and is the only one to take them from these devices.
        silence = "\n".join(
            f"table netdev {device} {{\nchain in {{\ntype filter hook ingress device {device} priority 0\ndrop\n}}\n}}" for device in (cable, inner)
        )
        self._script(
            f"ip -n {far} link set {cable} nomaster",
            f"ip -n {far} link add {inner} type veth peer name {port}",
            f"ip -n {far} link set {inner} up",
            f"ip -n {far} link set {port} master lan up",
            _plain(far, inner),
            _plain(far, port),
            nft(far, f"table netdev {cable} {{}}\ndelete table netdev {cable}\n{silence}"),
        )
        self._port = port

    def _filter(self) -> None:
        # Loss on the way in, at both ends: dropping on the way out would tell the sender.
        loss = f"meta protocol ip numgen random mod 100000 < {round(self._faults['loss'] * 1000)} drop" if self._faults["loss"] else ""
        cut = f"ip daddr {{ {', '.join(self._addresses)} }} drop" if self._addresses else ""
        for network, device, rules in ((self._far, self._port, f"{cut}\n{loss}"), (self._near, self._device, loss)):
            self._script(
                nft(
                    network,
                    f"table netdev {device} {{}}\ndelete table netdev {device}\n"
                    f"table netdev {device} {{\nchain in {{\ntype filter hook ingress device {device} priority 0\n{rules}\n}}\n}}",
                )
            )


class Host:
    """A computer: a namespace of its own with one device, eth0."""

    def __init__(self, lab: Lab, name: str, switch: Switch, address: str, gateway: str | None, faults: dict[str, float]) -> None:
        self.lab = lab
        self.name = name
        self.address = address
        lab.add(self)
        lab.script(*_namespace(name))
        self.link = Link(switch, name, "eth0", address, gateway)
        self._actors: list[Actor] = []
        if faults:
            self.link.set(**faults)

    def spawn(self, words: list[str], **options) -> Process:
        """Start a program here; options as for subprocess.Popen."""
        return self.lab.spawn(self.name, words, **options)

    def run(self, words: list[str], **options) -> subprocess.CompletedProcess:
        """Run a program here to its end; options as for subprocess.run."""
        return subprocess.run(self.lab.command(self.name, words), **options)

    def socket(self, kind: int = socket.SOCK_DGRAM, port: int = 0) -> socket.socket:
        """A socket of this process that is in this host, bound to ``port``; it waits at most 2 seconds."""
        made = self.lab.socket(self.name, kind)
        made.settimeout(2)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        made.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, 8 << 20)  # what is lost is lost on the way
        made.bind(("0.0.0.0", port))
        return made

    def actor(self, language: str) -> Actor:
        """Start the program in programs/ that is written in this language: "c", "python" or "node"."""
        from .actor import Actor

        actor = Actor(self, language)
        self._actors.append(actor)
        return actor

    def close(self) -> None:
        for actor in self._actors:
            actor.close()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name} at {self.address}>"


class Router:
    """A home router: ``address`` is its side on the internet; hosts stand behind it."""

    def __init__(self, lab: Lab, name: str, nat: str, address: str, inside: ipaddress.IPv4Network, faults: dict[str, float]) -> None:
        if nat not in NAT:
            raise ValueError(f"no NAT type {nat}; there are {', '.join(NAT)}")
        self.lab = lab
        self.name = name
        self.nat = nat
        self.address = address
        lab.add(self)
        lab.script(*_namespace(name), _sysctl(name, "ipv4/ip_forward"))
        self.link = Link(lab.internet, name, "wan", address, None)
        self.inside = Switch(lab, f"{name}-inside", inside, name)
        self.gateway = str(inside[1])
        lab.script(f"ip -n {name} addr add {self.gateway}/{inside.prefixlen} dev lan", nft(name, _nat_rules(nat)))
        if faults:
            self.link.set(**faults)

    def host(self, name: str, **link: float) -> Host:
        """A host behind this router."""
        return Host(self.lab, name, self.inside, str(self.inside.addresses[next(self.inside._free)]), self.gateway, link)

    def forget(self) -> None:
        """Lose the table of translations, as a router does that restarts."""
        sets = "".join(f"flush {kind} ip nat {name}\n" for kind, name in _memory(self.nat))
        self.lab.script(f"ip netns exec {self.name} conntrack -F 2>/dev/null", *([nft(self.name, sets)] if sets else []))

    def translations(self) -> str:
        """The table of translations, for a look at it."""
        return self.lab.script(f"ip netns exec {self.name} conntrack -L 2>/dev/null || true")

    def __repr__(self) -> str:
        return f"<Router {self.name} ({self.nat}) at {self.address}>"


def _spread(network: ipaddress.IPv4Network) -> Iterable[ipaddress.IPv4Address]:
    """Addresses of which neighbours are in different /24: limits and tables of libp2p count those."""
    blocks = list(network.subnets(new_prefix=24))
    for last in range(1, 255):
        for block in blocks:
            yield block[last]


def _namespace(name: str) -> list[str]:
    # Without IPv6 nobody waits for the detection of duplicate addresses, and what is dialled is what the test says.
    return [
        f"ip netns add {name}",
        _sysctl(name, "ipv6/conf/all/disable_ipv6", "ipv6/conf/default/disable_ipv6"),
        f"ip -n {name} link set lo up",
    ]


def _sysctl(network: str, *names: str) -> str:
    writes = "; ".join(f"[ ! -e /proc/sys/net/{name} ] || echo 1 > /proc/sys/net/{name}" for name in names)
    return f"ip netns exec {network} sh -ec '{writes}'"


def _plain(network: str, device: str) -> str:
    # Each packet by itself, with its checksum: what faults act on, and what the forwarder copies.
    return f"ip netns exec {network} ethtool -K {device} tx off tso off gso off gro off >/dev/null"


def _memory(nat: str) -> list[tuple[str, str]]:
    """What a cone remembers beside the kernel's own table."""
    if nat not in ("full_cone", "restricted_cone"):
        return []
    return [("map" if what == "mapped" else "set", f"{protocol}_{what}") for protocol in ("udp", "tcp") for what in ("mapped", "contacted")]


def _nat_rules(nat: str) -> str:
    masquerade = "masquerade random,fully-random" if nat == "symmetric" else "masquerade"
    sets, leaving, entering = "", "", ""
    if _memory(nat):
        # The kernel's own table lets in only the address and port that were spoken to. These remember who owns a port, and whom it spoke to.
        for protocol in ("udp", "tcp"):
            sets += f"map {protocol}_mapped {{\ntype inet_service : ipv4_addr\nflags dynamic,timeout\ntimeout 5m\n}}\n"
            sets += f"set {protocol}_contacted {{\ntype inet_service . ipv4_addr\nflags dynamic,timeout\ntimeout 5m\n}}\n"
            leaving += f'oifname "wan" meta l4proto {protocol} update @{protocol}_mapped {{ {protocol} sport : ip saddr }}\n'
            leaving += f'oifname "wan" meta l4proto {protocol} update @{protocol}_contacted {{ {protocol} sport . ip daddr }}\n'
            known = f"{protocol} dport . ip saddr @{protocol}_contacted " if nat == "restricted_cone" else ""
            entering += f'iifname "wan" meta l4proto {protocol} {known}dnat to {protocol} dport map @{protocol}_mapped\n'
    blocked = "meta l4proto udp drop" if nat == "udp_blocked" else ""
    # What nobody asked for is dropped without an answer: a reset for an early TCP packet would end a hole punch.
    return f"""
table ip nat {{
{sets}
chain leaving {{
type nat hook postrouting priority srcnat
{leaving}
oifname "wan" {masquerade}
}}
chain entering {{
type nat hook prerouting priority dstnat
{entering}
}}
}}
table ip filter {{
chain input {{
type filter hook input priority filter
iifname "wan" ct state established,related accept
iifname "wan" drop
}}
chain forward {{
type filter hook forward priority filter
{blocked}
iifname "wan" ct state established,related accept
iifname "wan" ct status dnat accept
iifname "wan" drop
}}
}}
"""
