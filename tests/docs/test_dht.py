"""The programs in docs/dht.md are cut out of it and run: one node sets, another gets, in each language."""

import os
import pathlib
import re
import shlex
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "dht.md").read_text()
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


class Dht(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def run_words(self, *words):
        done = subprocess.run(words, cwd=self.folder, env=ENVIRONMENT, capture_output=True, text=True, timeout=60)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        return done.stdout.split("\n")

    def test_python(self):
        (self.folder / "table.py").write_text(program("python"))
        self.assertEqual(self.run_words(sys.executable, "-W", "error", "table.py"), ["b'green'", "True", ""])

    def test_node(self):
        modules = self.folder / "node_modules"
        modules.mkdir()
        (modules / "libp2pgo").symlink_to(ROOT / "bindings" / "node", target_is_directory=True)
        (self.folder / "table.mjs").write_text(program("js"))
        self.assertEqual(self.run_words("node", "table.mjs"), ["green", "true", ""])

    def test_c(self):
        (self.folder / "table.c").write_text(program("c"))
        flags = self.run_words("pkg-config", "--cflags", "--libs", "libp2pgo")
        warnings = ["-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Werror"]
        self.run_words(os.environ.get("CC", "cc"), *warnings, "table.c", *shlex.split(flags[0]), "-o", "table")
        self.assertEqual(self.run_words("./table"), ["green", ""])


if __name__ == "__main__":
    unittest.main()
