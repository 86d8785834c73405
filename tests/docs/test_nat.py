"""The programs in docs/nat.md are cut out of it and run: a node is reached through a relay in each language."""

import os
import pathlib
import re
import shlex
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "nat.md").read_text()
ENVIRONMENT = {
    **os.environ,
    "LIBP2PGO_LIBRARY": str(ROOT / "build" / "libp2pgo.so"),
    "LD_LIBRARY_PATH": str(ROOT / "build"),
    "PKG_CONFIG_PATH": str(ROOT / "build"),
    "PYTHONPATH": str(ROOT / "bindings" / "python" / "src"),
}


def program(language):
    (code,) = re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.M | re.S)
    return code


class Relayed(unittest.TestCase):
    def run_words(self, *words, folder):
        done = subprocess.run(words, cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, timeout=60)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    def test_python(self):
        self.assertEqual(self.run_words(sys.executable, "-c", program("python"), folder=ROOT), "hello, guest\n")

    def test_node(self):
        # Inside the package, its own name finds it.
        done = self.run_words("node", "--input-type=module", "--eval", program("js"), folder=ROOT / "bindings" / "node")
        self.assertEqual(done, "hello, guest\n")

    def test_c(self):
        with tempfile.TemporaryDirectory() as folder:
            pathlib.Path(folder, "relayed.c").write_text(program("c"))
            flags = shlex.split(self.run_words("pkg-config", "--cflags", "--libs", "libp2pgo", folder=folder))
            self.run_words(os.environ.get("CC", "cc"), "-Wall", "-Wextra", "-Werror", "relayed.c", "-o", "relayed", *flags, folder=folder)
            self.assertEqual(self.run_words("./relayed", folder=folder), "hello, guest\n")


if __name__ == "__main__":
    unittest.main()
