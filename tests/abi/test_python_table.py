"""The ctypes table of the Python package agrees with the list: every function, constant and layout, and no other."""

import ctypes
import importlib.util
import json
import os
import struct
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from generate import LIST, ROOT  # noqa: E402

TABLE = ROOT / "bindings" / "python" / "src" / "libp2pgo" / "_abi.py"

# What each C type may be declared as. A pointer that the binding treats as an address may always be a plain void pointer.
_ADDRESS = {ctypes.c_void_p}
SCALARS = {
    "void": {None},
    "int": {ctypes.c_int},
    "int32_t": {ctypes.c_int32},
    "int64_t": {ctypes.c_int64},
    "uint32_t": {ctypes.c_uint32},
    "uint64_t": {ctypes.c_uint64},
    "size_t": {ctypes.c_size_t},
    "p2p_handle": {ctypes.c_uint64},
    "const char *": {ctypes.c_char_p},
    "const uint8_t *": {ctypes.c_char_p} | _ADDRESS,
    "uint8_t *": _ADDRESS,
    "void *": _ADDRESS,
    # never POINTER(c_char_p): ctypes would turn the block into bytes and its address would be lost to p2p_free
    "char **": {ctypes.POINTER(ctypes.c_void_p)} | _ADDRESS,
    "uint8_t **": {ctypes.POINTER(ctypes.c_void_p)} | _ADDRESS,
    "size_t *": {ctypes.POINTER(ctypes.c_size_t)} | _ADDRESS,
    "int *": {ctypes.POINTER(ctypes.c_int)} | _ADDRESS,
    "int64_t *": {ctypes.POINTER(ctypes.c_int64)} | _ADDRESS,
    "p2p_handle *": {ctypes.POINTER(ctypes.c_uint64)} | _ADDRESS,
    "p2p_event *": _ADDRESS,
}
STRUCTS = {"p2p_call": "Call", "p2p_event": "Event"}


def load():
    """The table alone, without the package around it."""
    spec = importlib.util.spec_from_file_location("libp2pgo_abi_table", TABLE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Table(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.abi = json.loads(LIST.read_text(encoding="utf-8"))
        cls.table = load()

    def allowed(self, c_type):
        if c_type == "const p2p_call *":
            return {ctypes.POINTER(self.table.Call)} | _ADDRESS
        return SCALARS[c_type]

    def test_has_every_function_and_no_other(self):
        self.assertEqual(sorted(self.table.FUNCTIONS), sorted(self.abi["functions"]))

    def test_signatures(self):
        for name, function in self.abi["functions"].items():
            with self.subTest(function=name):
                result, parameters = self.table.FUNCTIONS[name]
                self.assertIn(result, self.allowed(function["returns"]))
                self.assertEqual(len(parameters), len(function["parameters"]))
                for declared, parameter in zip(parameters, function["parameters"]):
                    self.assertIn(declared, self.allowed(parameter["type"]), parameter["name"])

    def test_constants(self):
        for name, value in self.abi["constants"].items():
            with self.subTest(constant=name):
                self.assertEqual(getattr(self.table, name[len("P2P_"):]), value)

    def test_no_constant_of_its_own(self):
        for name, value in vars(self.table).items():
            if name.startswith(("E_", "KIND_", "EVENT_", "FLAG_", "VERDICT_")) and isinstance(value, int):
                self.assertIn("P2P_" + name, self.abi["constants"])

    def test_layouts(self):
        for name, layout in self.abi["structs"].items():
            cls = getattr(self.table, STRUCTS[name])
            self.assertEqual(ctypes.sizeof(cls), layout["size"], name)
            declared = [(f[0], f[1], getattr(cls, f[0]).offset, getattr(cls, f[0]).size) for f in cls._fields_]
            wanted = [(f["name"], f["offset"], f["size"]) for f in layout["fields"]]
            self.assertEqual([(n, o, s) for n, _, o, s in declared], wanted, name)
            for (_, field_type, _, _), field in zip(declared, layout["fields"]):
                self.assertIn(field_type, self.allowed(field["type"]), f"{name}.{field['name']}")

    def test_unpacking_format_of_an_event(self):
        letters = {"int32_t": "i", "uint32_t": "I", "int64_t": "q", "uint64_t": "Q", "p2p_handle": "Q"}
        layout = self.abi["structs"]["p2p_event"]
        wanted = "=" + "".join(letters[f["type"]] for f in layout["fields"])
        self.assertEqual(struct.calcsize(wanted), layout["size"])
        self.assertEqual(self.table.EVENT.format, wanted)


if __name__ == "__main__":
    unittest.main()
