"""The programs in docs/control.md are cut out of it and run: a guest is refused, then let in, in each language."""

import json
import os
import pathlib
import re
import shlex
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import test_discovery  # noqa: E402

ROOT = test_discovery.ROOT
PAGE = (ROOT / "docs" / "control.md").read_text()


def program(language):
    (code,) = re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.M | re.S)
    return code


class Control(unittest.TestCase):
    run_words = test_discovery.Discovery.run_words

    def test_python(self):
        self.assertEqual(self.run_words(sys.executable, "-c", program("python"), folder=ROOT), "refused\nwelcome\nTrue\n")

    def test_node(self):
        # Inside the package, its own name finds it.
        done = self.run_words("node", "--input-type=module", "--eval", program("js"), folder=ROOT / "bindings" / "node")
        self.assertEqual(done, "refused\nwelcome\ntrue\n")

    def test_c(self):
        with tempfile.TemporaryDirectory() as folder:
            pathlib.Path(folder, "gate.c").write_text(program("c"))
            flags = shlex.split(self.run_words("pkg-config", "--cflags", "--libs", "libp2pgo", folder=folder))
            self.run_words(os.environ.get("CC", "cc"), "-Wall", "-Wextra", "-Werror", "gate.c", "-o", "gate", *flags, folder=folder)
            self.assertEqual(self.run_words("./gate", folder=folder), "refused\nwelcome\nTrue\n")

    def test_options(self):
        options = json.loads(program("json"))
        code = f"import libp2pgo.sync as s\nwith s.Node(listen=[], **{options!r}) as n: print(n.limits()['limits']['System']['Conns'])"
        self.assertEqual(self.run_words(sys.executable, "-c", code, folder=ROOT), "2000\n")


if __name__ == "__main__":
    unittest.main()
