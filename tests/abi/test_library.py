"""The shared library exports what the list says, and nothing else."""

import ctypes
import json
import os
import pathlib
import re
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from generate import HEADER, LIST, ROOT  # noqa: E402
from header import Header  # noqa: E402

BUILD = pathlib.Path(os.environ.get("LIBP2PGO_BUILD", ROOT / "build"))
LIBRARY = BUILD / "libp2pgo.so"


def output(*command):
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


class Exports(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.abi = json.loads(LIST.read_text(encoding="utf-8"))
        if not LIBRARY.exists():
            raise AssertionError(f"{LIBRARY} is missing: make build")

    def symbols(self):
        """Rows of (kind, name, version); version nodes themselves (kind A) are left out."""
        rows = []
        for line in output("nm", "-D", "--defined-only", str(LIBRARY)).splitlines():
            _, kind, symbol = line.split()
            name, _, version = symbol.partition("@")
            if kind != "A":
                rows.append((kind, name, version.lstrip("@")))
        return rows

    def test_are_the_functions_of_the_header(self):
        self.assertEqual(sorted(name for _, name, _ in self.symbols()), sorted(self.abi["functions"]))

    def test_are_all_code(self):
        self.assertEqual({kind for kind, _, _ in self.symbols()}, {"T"})

    def test_carry_one_version(self):
        self.assertEqual({version for _, _, version in self.symbols()}, {"P2PGO_1"})

    def test_soname_is_libp2pgo_so_1(self):
        dynamic = output("readelf", "-dW", str(LIBRARY))
        self.assertEqual(re.findall(r"SONAME.*\[(.*)\]", dynamic), ["libp2pgo.so.1"])

    def test_soname_link_leads_to_the_library(self):
        self.assertEqual((BUILD / "libp2pgo.so.1").resolve(), LIBRARY.resolve())

    def test_needs_only_the_c_library(self):
        dynamic = output("readelf", "-dW", str(LIBRARY))
        needed = set(re.findall(r"NEEDED.*\[(.*)\]", dynamic))
        self.assertLessEqual(needed, {"libc.so.6", "libpthread.so.0", "libdl.so.2", "libresolv.so.2", "ld-linux-x86-64.so.2", "ld-linux-aarch64.so.1"})

    def test_stack_is_not_executable(self):
        self.assertNotIn("RWE", output("readelf", "-lW", str(LIBRARY)).split("GNU_STACK")[1].splitlines()[0])


class Loaded(unittest.TestCase):
    """What the library says of itself agrees with the list."""

    @classmethod
    def setUpClass(cls):
        cls.abi = json.loads(LIST.read_text(encoding="utf-8"))
        cls.library = ctypes.CDLL(str(LIBRARY))
        cls.library.p2p_error_name.restype = ctypes.c_char_p

    def test_abi_number(self):
        self.assertEqual(self.library.p2p_abi(), self.abi["abi"])

    def test_version_is_the_headers(self):
        self.library.p2p_version.restype = ctypes.c_char_p
        self.assertEqual(self.library.p2p_version().decode(), Header.read(HEADER).texts["P2P_VERSION"])

    def test_every_code_has_its_name(self):
        for name, value in self.abi["constants"].items():
            if name.startswith("P2P_E_"):
                self.assertEqual(self.library.p2p_error_name(value).decode(), name)

    def test_unknown_codes_have_a_name_too(self):
        for code in (0, 1, -1000, 2**31 - 1, -(2**31)):
            self.assertEqual(self.library.p2p_error_name(code).decode(), "P2P_E_UNKNOWN")


class OutParameters(unittest.TestCase):
    """Whatever a call says, its out-parameters are set: an error leaves nothing there that could be taken for a result, and freed."""

    POISON = 0xA5A5A5A5A5A5A5A5

    @classmethod
    def setUpClass(cls):
        functions = json.loads(LIST.read_text(encoding="utf-8"))["functions"]
        cls.library = ctypes.CDLL(str(LIBRARY))
        cls.library.p2p_build_info(ctypes.byref(ctypes.c_void_p()))  # it has started
        cls.functions = {name: f["parameters"] for name, f in functions.items() if any(cls.is_out(p) for p in f["parameters"])}

    @staticmethod
    def is_out(parameter):
        return parameter["name"].endswith("_out") and parameter["name"] != "results_out"  # that is the caller's array

    def call(self, name, absent=None):
        """Calls with nothing but out-parameters, of which one may be absent too. Returns the result and what they hold, by name."""
        arguments, outs = [], {}
        for p in self.functions[name]:
            if self.is_out(p) and p["name"] != absent:
                outs[p["name"]] = (ctypes.c_int if p["type"] == "int *" else ctypes.c_uint64)(self.POISON)
                arguments.append(ctypes.byref(outs[p["name"]]))
            else:
                arguments.append(None if "*" in p["type"] else ctypes.c_uint64(0))
        return getattr(self.library, name)(*arguments), {n: out.value for n, out in outs.items()}

    def wrong(self, absents):
        """What is not as it should be, as lines; absents: which parameters of a function to leave out in turn."""
        lines = []
        for name, parameters in self.functions.items():
            for absent in absents(parameters):
                code, outs = self.call(name, absent)
                for out, value in outs.items():
                    nothing = -1 if out == "fd_out" else 0
                    if value != nothing if code < 0 else value == self.POISON:
                        lines.append(f"{name} without {absent or 'inputs'}: {code}, and {out} is {value:#x}")
        return lines

    def test_there_are_many(self):
        self.assertGreater(len(self.functions), 60)

    def test_are_set_when_inputs_are_missing(self):
        self.assertEqual(self.wrong(lambda parameters: [None]), [])

    def test_are_set_when_another_one_is_missing(self):
        self.assertEqual(self.wrong(lambda parameters: [p["name"] for p in parameters if self.is_out(p)]), [])

    def test_are_set_in_a_forked_child(self):
        read, write = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                os.write(write, "\n".join(self.wrong(lambda parameters: [None])).encode() or b"-")
            finally:
                os._exit(0)
        os.close(write)
        with os.fdopen(read) as pipe:
            self.assertEqual(pipe.read(), "-")
        os.waitpid(child, 0)


if __name__ == "__main__":
    unittest.main()
