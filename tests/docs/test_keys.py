"""The code in docs/keys.md runs and prints what one expects."""

import os
import re
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from test_readme import ROOT, Readme  # noqa: E402

PAGE = (ROOT / "docs" / "keys.md").read_text()
EXPECTED = [
    ["True", ""],
    ["b'42 apples' True", "(Multiaddr('/ip4/192.0.2.1/tcp/4001'),)", ""],
    ["p2p-circuit /ip4/192.0.2.1/udp/4001", "/ip4/127.0.0.1/tcp/80", ""],
    [
        "bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e raw True",
        "bafybeiczsscdsbs7ffqz55asqdf3smv6klcw3gofszvwlyarci47bgf354",
        "",
    ],
]


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.M | re.S)


class Keys(unittest.TestCase):
    setUp = Readme.setUp
    run_words = Readme.run_words

    def test_python(self):
        self.assertEqual(len(blocks("python")), len(EXPECTED))
        for code, expected in zip(blocks("python"), EXPECTED):
            (self.folder / "page.py").write_text(code)
            self.assertEqual(self.run_words(sys.executable, "-W", "error", "page.py"), expected)

    def test_node(self):
        modules = self.folder / "node_modules"
        modules.mkdir()
        (modules / "libp2pgo").symlink_to(ROOT / "bindings" / "node", target_is_directory=True)
        (code,) = blocks("js")
        (self.folder / "page.mjs").write_text(code)
        self.assertEqual(self.run_words("node", "page.mjs"), ["true", "-----BEGIN PRIVATE KEY-----", ""])


del Readme  # its own file runs it

if __name__ == "__main__":
    unittest.main()
