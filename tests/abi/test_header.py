"""The header compiles alone, as the strictest user would compile it, with every macro expanded and every function named."""

import os
import pathlib
import shlex
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from generate import HEADER  # noqa: E402
from header import Header  # noqa: E402

WARNINGS = ["-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wshadow", "-Wundef", "-Werror"]
C_WARNINGS = ["-Wstrict-prototypes", "-Wmissing-prototypes"]


def user_program(header):
    """Includes the header first and twice, reads every constant once, and takes the address of every function with its type."""
    lines = ['#include "libp2p.h"', '#include "libp2p.h"', "int use(int which);", "int use(int which) {", "    long long sum = which;"]
    lines += [f"    sum += {name};" for name in header.constants]
    lines += [f"    sum += {name}[0];" for name in header.texts]
    for function in header.functions:
        types = ", ".join(p["type"] for p in function.parameters) or "void"
        lines.append(f"    {{ {function.returns} (*f)({types}) = {function.name}; sum += f == 0; }}")
    for struct in header.structs:
        lines.append(f"    {{ {struct} value; value.{header.structs[struct][0]['name']} = 0; sum += sizeof value == 0; (void)value; }}")
    return "\n".join(lines + ["    return sum == 0;", "}", ""])


class Compiles(unittest.TestCase):
    def compile(self, compiler, standard, suffix, extra=()):
        with tempfile.TemporaryDirectory() as folder:
            source = pathlib.Path(folder, "user" + suffix)
            source.write_text(user_program(Header.read(HEADER)))
            command = [*shlex.split(compiler), f"-std={standard}", *WARNINGS, *extra, "-I", str(HEADER.parent), "-c", str(source), "-o", os.devnull]
            done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            self.assertEqual(done.returncode, 0, done.stdout)

    def test_as_c99(self):
        self.compile(os.environ.get("CC", "cc"), "c99", ".c", C_WARNINGS)

    def test_as_c11(self):
        self.compile(os.environ.get("CC", "cc"), "c11", ".c", C_WARNINGS)

    def test_as_c17(self):
        self.compile(os.environ.get("CC", "cc"), "c17", ".c", C_WARNINGS)

    def test_as_cpp17(self):
        self.compile(os.environ.get("CXX", "c++"), "c++17", ".cpp", ["-Wold-style-cast"])

    def test_includes_nothing_but_two_standard_headers(self):
        includes = [line.split()[1] for line in HEADER.read_text().splitlines() if line.startswith("#include")]
        self.assertEqual(includes, ["<stddef.h>", "<stdint.h>"])


if __name__ == "__main__":
    unittest.main()
