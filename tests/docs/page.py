"""What the tests of the pages share: the programs of a page are cut out of it and run, so that shown code is code that works."""

from __future__ import annotations

import os
import pathlib
import re
import shlex
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
ENVIRONMENT = {
    **os.environ,
    "LIBP2PGO_LIBRARY": str(ROOT / "build" / "libp2pgo.so"),
    "LD_LIBRARY_PATH": str(ROOT / "build"),
    "PKG_CONFIG_PATH": str(ROOT / "build"),
    "PYTHONPATH": str(ROOT / "bindings" / "python" / "src"),
}


class Page(unittest.TestCase):
    """A subclass names its page; what a program prints comes back as text."""

    page: str

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def blocks(self, language: str) -> list[str]:
        """The page's programs in a language."""
        return re.findall(rf"^```{language}\n(.*?)^```$", (ROOT / self.page).read_text(), re.M | re.S)

    def program(self, language: str) -> str:
        """The page's one program in a language."""
        (code,) = self.blocks(language)
        return code

    def run_words(self, *words: str) -> str:
        done = subprocess.run(words, cwd=self.folder, env=ENVIRONMENT, capture_output=True, text=True, timeout=60)
        self.assertEqual((done.returncode, done.stderr), (0, ""), done.stdout)
        return done.stdout

    def run_python(self, code: str) -> str:
        (self.folder / "page.py").write_text(code)
        return self.run_words(sys.executable, "-W", "error", "page.py")

    def run_node(self, code: str) -> str:
        modules = self.folder / "node_modules"
        modules.mkdir()
        (modules / "libp2pgo").symlink_to(ROOT / "bindings" / "node", target_is_directory=True)
        (self.folder / "page.mjs").write_text(code)
        return self.run_words("node", "page.mjs")

    def run_c(self, code: str) -> str:
        (self.folder / "page.c").write_text(code)
        flags = shlex.split(self.run_words("pkg-config", "--cflags", "--libs", "libp2pgo"))
        warnings = ["-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Werror"]
        self.run_words(os.environ.get("CC", "cc"), *warnings, "page.c", *flags, "-o", "page")
        return self.run_words("./page")
