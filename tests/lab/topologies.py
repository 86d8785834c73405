"""Small internets by name, for the command line and for tests."""

from __future__ import annotations

from .network import Lab

OBSERVERS = 4
"""An address that others saw counts for libp2p once so many, of different addresses, agree on it."""


def homes(net: Lab, a: str, b: str) -> None:
    """relay and four observers on the internet, alice behind a router of type a and bob behind one of type b."""
    net.host("relay")
    for n in range(1, OBSERVERS + 1):
        net.host(f"observer{n}")
    net.router("home-a", nat=a).host("alice")
    net.router("home-b", nat=b).host("bob")


def local(net: Lab) -> None:
    """alice and bob on one local network with no way out."""
    switch = net.switch("local")
    switch.host("alice")
    switch.host("bob")


def public(net: Lab) -> None:
    """alice and bob on the internet."""
    net.host("alice")
    net.host("bob")


TOPOLOGIES = {
    "local": local,
    "public": public,
    "cone-cone": lambda net: homes(net, "port_restricted_cone", "port_restricted_cone"),
    "fullcone-symmetric": lambda net: homes(net, "full_cone", "symmetric"),
    "cone-symmetric": lambda net: homes(net, "port_restricted_cone", "symmetric"),
    "symmetric-symmetric": lambda net: homes(net, "symmetric", "symmetric"),
    "udp-blocked": lambda net: homes(net, "udp_blocked", "port_restricted_cone"),
}
