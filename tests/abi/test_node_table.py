"""The koffi table of the Node package agrees with the list: every function and constant, and no other."""

import json
import os
import re
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from generate import LIST, ROOT  # noqa: E402

SOURCE = ROOT / "bindings" / "node" / "src"

# What each C type may be declared as. `text` and `bytes` are borrowed, `out` is the binding's memory, `block` an address.
TYPES = {
    "void": {"void"},
    "int": {"i32"},
    "int32_t": {"i32"},
    "int64_t": {"i64"},
    "uint32_t": {"u32"},
    "uint64_t": {"u64"},
    "size_t": {"size"},
    "p2p_handle": {"u64"},
    "const char *": {"text"},
    "const uint8_t *": {"bytes"},
    "const p2p_call *": {"bytes"},
    "void *": {"block"},
}
OUT = {"uint8_t *", "uint8_t **", "char **", "size_t *", "int *", "int64_t *", "p2p_handle *", "p2p_event *"}
KOFFI = {"i32": "int32", "u32": "uint32", "i64": "int64", "u64": "uint64", "size": "uint64", "text": "const char *", "bytes": "void *", "out": "void *"}
GROUPS = ("E", "KIND", "EVENT", "FLAG", "VERDICT")


def read(name):
    return re.sub(r"/\*.*?\*/|//[^\n]*", "", (SOURCE / name).read_text(encoding="utf-8"), flags=re.DOTALL)


def literal(text, name):
    """The body of the object literal that `name` is set to."""
    match = re.search(rf"\b{name}\b[^=\n]*= \{{(.*?)\}}", text, re.DOTALL)
    if not match:
        raise AssertionError(f"no object literal {name}")
    return match[1]


class Table(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.abi = json.loads(LIST.read_text(encoding="utf-8"))
        cls.signatures = {}
        for name, types in re.findall(r"(\w+):\s*\[(.*?)\]", literal(read("ffi.ts"), "signatures"), re.DOTALL):
            cls.signatures[name] = re.findall(r"'(\w+)'", types)

    def allowed(self, c_type):
        return {"out"} if c_type in OUT else TYPES[c_type]

    def test_has_every_function_and_no_other(self):
        self.assertEqual(sorted(self.signatures), sorted(self.abi["functions"]))

    def test_signatures(self):
        for name, function in self.abi["functions"].items():
            with self.subTest(function=name):
                result, *parameters = self.signatures[name]
                self.assertIn(result, self.allowed(function["returns"]))
                self.assertEqual(len(parameters), len(function["parameters"]))
                for declared, parameter in zip(parameters, function["parameters"]):
                    self.assertIn(declared, self.allowed(parameter["type"]), parameter["name"])

    def test_words_stand_for_types_of_the_right_size(self):
        words = dict(re.findall(r"(\w+): '([^']+)'", literal(read("ffi.ts"), "types")))
        for word, koffi in KOFFI.items():
            self.assertEqual(words[word], koffi, word)

    def test_constants(self):
        text, found = read("constants.ts"), {}
        for name in ("ABI", "PENDING"):
            found["P2P_" + name] = int(re.search(rf"export const {name} = (-?\d+)", text)[1])
        for group in GROUPS:
            for name, value in re.findall(r"(\w+): (-?\w+)", literal(text, group)):
                found[f"P2P_{group}_{name}"] = int(value, 0)
        self.assertEqual(found, self.abi["constants"])


if __name__ == "__main__":
    unittest.main()
