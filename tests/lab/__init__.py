"""A laboratory of small internets: hosts, home routers of each NAT type and links with faults, made of network namespaces.

::

    with lab.Lab() as net:
        server = net.host("server")                                  # on the internet, at 203.0.96.1
        home = net.router("home", nat="symmetric")                   # a home router with an address on the internet
        alice = home.host("alice")                                   # behind it, at 192.168.1.10
        alice.link.set(delay_ms=25, loss=2)
        with alice.actor("python") as a, server.actor("node") as s:  # programs that do as they are told; see actor.py
            ...

Everything lives in namespaces of its own, which the kernel takes down when the process that made them ends, however it ends: two runs at once
never meet, and nothing reaches the machine's own network or is left on it. README.md tells the rest.
"""

from .actor import Actor, ActorError
from .box import Unavailable, why_unavailable
from .network import NAT, Host, Lab, Link, Router, Switch
from .topologies import TOPOLOGIES

__all__ = ["NAT", "TOPOLOGIES", "Actor", "ActorError", "Host", "Lab", "Link", "Router", "Switch", "Unavailable", "why_unavailable"]
