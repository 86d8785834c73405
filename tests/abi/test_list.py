"""The committed list is the header's, and the header's prose keeps its own rules."""

import difflib
import json
import os
import re
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from generate import HEADER, LIST, render  # noqa: E402
from header import Header  # noqa: E402

ABI_TYPES = {"int", "int32_t", "int64_t", "uint32_t", "uint64_t", "size_t", "p2p_handle"}
ABI_POINTERS = {
    "const char *", "const uint8_t *", "uint8_t *", "uint8_t **", "char **", "size_t *", "int *", "int64_t *", "void *",
    "p2p_handle *", "p2p_event *", "const p2p_call *",
}


def sentences(comment):
    text = re.sub(r"\s*\n\s*\*\s?", " ", comment)
    return [s.strip() for s in re.split(r"(?<=[.;])\s+", text) if s.strip()]


class List(unittest.TestCase):
    def test_is_what_the_header_gives(self):
        """After a change of the header: python3 tests/abi/generate.py, and look at the diff."""
        committed, fresh = LIST.read_text(encoding="utf-8").splitlines(), render().splitlines()
        self.assertEqual("\n".join(difflib.unified_diff(committed, fresh, "committed", "header", n=0, lineterm="")), "")

    def test_ends_in_one_object(self):
        abi = json.loads(LIST.read_text(encoding="utf-8"))
        self.assertGreater(len(abi["functions"]), 50)
        self.assertEqual(abi["structs"]["p2p_event"]["size"], 64)
        self.assertEqual(abi["structs"]["p2p_call"]["size"], 24)

    def test_structs_have_no_holes(self):
        """A hole would hold rubbish that a binding could come to read."""
        for name, struct in json.loads(LIST.read_text(encoding="utf-8"))["structs"].items():
            end = 0
            for field in struct["fields"]:
                self.assertEqual(field["offset"], end, f"{name}.{field['name']}")
                end = field["offset"] + field["size"]
            self.assertEqual(struct["size"], end, name)

    def test_families_of_constants_have_no_number_twice(self):
        constants = json.loads(LIST.read_text(encoding="utf-8"))["constants"]
        for family in ("P2P_E_", "P2P_KIND_", "P2P_EVENT_", "P2P_FLAG_", "P2P_VERDICT_"):
            values = [value for name, value in constants.items() if name.startswith(family)]
            self.assertTrue(values, family)
            self.assertEqual(len(values), len(set(values)), family)


class Shape(unittest.TestCase):
    """Rules of the ABI that hold for every declaration."""

    def setUp(self):
        self.header = Header.read(HEADER)

    def test_types_are_the_few_allowed(self):
        for function in self.header.functions:
            for parameter in function.parameters:
                with self.subTest(function=function.name, parameter=parameter["name"]):
                    self.assertIn(parameter["type"], ABI_TYPES | ABI_POINTERS)

    def test_names_begin_with_p2p(self):
        for name in [f.name for f in self.header.functions] + list(self.header.structs) + list(self.header.aliases):
            self.assertRegex(name, r"^p2p_[a-z_]+$")
        for name in self.header.constants:
            self.assertRegex(name, r"^P2P_[A-Z_]+$")

    def test_waiting_parameter_comes_last_and_is_named_call(self):
        for function in self.header.functions:
            for index, parameter in enumerate(function.parameters):
                with self.subTest(function=function.name):
                    is_call = parameter["type"] == "const p2p_call *"
                    self.assertEqual(is_call, parameter["name"] == "call")
                    self.assertFalse(is_call and index != len(function.parameters) - 1)

    def test_out_parameters_say_so(self):
        buffers = {"p2p_queue_poll", "p2p_stream_read", "p2p_free"}
        for function in self.header.functions:
            for parameter in function.parameters:
                out = parameter["type"].endswith("*") and not parameter["type"].startswith("const")
                with self.subTest(function=function.name, parameter=parameter["name"]):
                    self.assertEqual(out and function.name not in buffers, parameter["name"].endswith("_out"))

    def test_pointer_to_bytes_is_followed_by_its_length(self):
        for function in self.header.functions:
            names = [p["name"] for p in function.parameters]
            for index, parameter in enumerate(function.parameters):
                if parameter["type"] in ("const uint8_t *", "uint8_t *", "uint8_t **"):
                    with self.subTest(function=function.name, parameter=parameter["name"]):
                        self.assertRegex(names[index + 1], r"(^|_)(len|cap)(_out)?$")


class Comments(unittest.TestCase):
    def setUp(self):
        self.header = Header.read(HEADER)

    def test_begin_with_the_name_and_a_verb_in_the_present(self):
        for function in self.header.functions:
            with self.subTest(function=function.name):
                self.assertIsNotNone(function.comment, "no comment")
                self.assertRegex(function.comment, rf"^ {function.name} [a-z]+s\b")

    def test_name_only_what_exists(self):
        functions = {f.name for f in self.header.functions}
        known = functions | set(self.header.structs) | set(self.header.aliases)
        constants = [*self.header.constants, *self.header.texts]
        for comment in re.findall(r"/\*.*?\*/", self.header.text, re.DOTALL):
            for name in re.findall(r"\bp2p_[a-z_]+", comment):
                self.assertIn(name, known, comment)
            for name in set(re.findall(r"\bP2P_[A-Z_]+", comment)) - {"P2P_E_UNKNOWN"}:  # a name without a number
                whole = any(c == name or name.endswith("_") and c.startswith(name) for c in constants)
                self.assertTrue(whole, f"{name} in {comment}")

    def test_name_only_parameters_of_their_own(self):
        """`name:` at the start of a sentence explains a parameter, `x_out` is one; both must be in the prototype."""
        for function in self.header.functions:
            names = {p["name"] for p in function.parameters}
            for sentence in sentences(function.comment):
                head = re.match(r"((?:[a-z_]+, )*[a-z_]+(?: and [a-z_]+)?):", sentence)
                said = re.split(r", | and ", head[1]) if head else []
                said += re.findall(r"\b[a-z_]+_out\b", sentence)
                for word in said:
                    with self.subTest(function=function.name, word=word):
                        self.assertIn(word, names)

    def test_explain_every_options_document(self):
        for function in self.header.functions:
            if "options" in {p["name"] for p in function.parameters}:
                with self.subTest(function=function.name):
                    self.assertIn("options", function.comment)

    def test_say_nothing_twice(self):
        """A sentence copied from a sibling is the one that goes stale."""
        seen = {}
        for function in self.header.functions:
            for sentence in sentences(function.comment):
                if len(sentence) > 30:
                    self.assertNotIn(sentence, seen, f"{function.name} and {seen.get(sentence)}")
                    seen[sentence] = function.name

    def test_codes_are_told_in_ten_words(self):
        for name, words in re.findall(r"#define (P2P_E_\w+) \(-\d+\)\s*/\* (.*?) \*/", self.header.text):
            self.assertLessEqual(len(words.split()), 10, name)

    def test_every_code_kind_and_event_has_words(self):
        for line in self.header.text.splitlines():
            match = re.match(r"#define (P2P_(?:E|EVENT)_\w+) ", line)
            if match:
                self.assertIn("/*", line, match[1])


if __name__ == "__main__":
    unittest.main()
