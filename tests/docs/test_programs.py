"""The programs in the README and in the pages do what they say, in each language."""

import json
import unittest

from tests.docs.page import Page


class Readme(Page):
    page = "README.md"

    def test_python(self):
        self.assertEqual(self.run_python(self.program("python")), "b'HELLO'\nTrue b'it works'\n")

    def test_node(self):
        self.assertEqual(self.run_node(self.program("js")), "HELLO\ntrue it works\n")

    def test_c(self):
        self.assertEqual(self.run_c(self.program("c")), "it works\n")


class DHT(Page):
    """One node sets, another gets."""

    page = "docs/dht.md"

    def test_python(self):
        self.assertEqual(self.run_python(self.program("python")), "b'green'\nTrue\n")

    def test_node(self):
        self.assertEqual(self.run_node(self.program("js")), "green\ntrue\n")

    def test_c(self):
        self.assertEqual(self.run_c(self.program("c")), "green\n")


class Discovery(Page):
    """Two peers meet."""

    page = "docs/discovery.md"

    def test_python(self):
        self.assertEqual(self.run_python(self.program("python")), "met bob\n")

    def test_node(self):
        self.assertEqual(self.run_node(self.program("js")), "met bob\n")

    def test_c(self):
        self.assertEqual(self.run_c(self.program("c")), "met bob\n")


class NAT(Page):
    """A node is reached through a relay."""

    page = "docs/nat.md"

    def test_python(self):
        self.assertEqual(self.run_python(self.program("python")), "hello, guest\n")

    def test_node(self):
        self.assertEqual(self.run_node(self.program("js")), "hello, guest\n")

    def test_c(self):
        self.assertEqual(self.run_c(self.program("c")), "hello, guest\n")


class Control(Page):
    """A guest is refused, then let in."""

    page = "docs/control.md"

    def test_python(self):
        self.assertEqual(self.run_python(self.program("python")), "refused\nwelcome\nTrue\n")

    def test_node(self):
        self.assertEqual(self.run_node(self.program("js")), "refused\nwelcome\ntrue\n")

    def test_c(self):
        self.assertEqual(self.run_c(self.program("c")), "refused\nwelcome\nTrue\n")

    def test_options(self):
        options = json.loads(self.program("json"))
        code = f"import libp2pgo.sync as s\nwith s.Node(listen=[], **{options!r}) as n: print(n.limits()['limits']['System']['Conns'])"
        self.assertEqual(self.run_python(code), "2000\n")


class Keys(Page):
    page = "docs/keys.md"
    expected = [
        "True\n",
        "b'42 apples' True\n(Multiaddr('/ip4/192.0.2.1/tcp/4001'),)\n",
        "p2p-circuit /ip4/192.0.2.1/udp/4001\n/ip4/127.0.0.1/tcp/80\n",
        "bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e raw True\nbafybeiczsscdsbs7ffqz55asqdf3smv6klcw3gofszvwlyarci47bgf354\n",
    ]

    def test_python(self):
        self.assertEqual([self.run_python(code) for code in self.blocks("python")], self.expected)

    def test_node(self):
        self.assertEqual(self.run_node(self.program("js")), "true\n-----BEGIN PRIVATE KEY-----\n")


if __name__ == "__main__":
    unittest.main()
