"""Read include/libp2p.h: its functions, constants, structs and their comments.

The header is written in a narrow style (one declaration per statement, no function pointers, no conditionals around declarations), so
a few patterns read it wholly. What they cannot read is an error, never skipped: see ``Header.__init__``.
"""

import re

_COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)
_FUNCTION = re.compile(r"(?:/\*(?P<comment>(?:(?!\*/).)*)\*/\s*)?P2P_API\s+(?P<returns>[^;(]*?)\b(?P<name>\w+)\s*\((?P<parameters>[^)]*)\)\s*;", re.DOTALL)
_STRUCT = re.compile(r"typedef struct (?P<name>\w+)\s*\{(?P<body>.*?)\}\s*(?P=name)\s*;", re.DOTALL)
_MACRO = re.compile(r"^#define (?P<name>\w+)(?P<rest>.*)$", re.MULTILINE)
_ALIAS = re.compile(r"^typedef (?P<type>\w+) (?P<name>\w+);$", re.MULTILINE)
_DECLARATOR = re.compile(r"(?P<type>.*?[\s*])(?P<name>\w+)$", re.DOTALL)

NOT_CONSTANTS = {"LIBP2PGO_H", "P2P_API"}


class HeaderError(Exception):
    """The header holds something that these patterns do not understand."""


def _type(text):
    """One spelling per type: single spaces, the star set off by one."""
    text = re.sub(r"\s+", " ", text.replace("*", " * ")).strip()
    return re.sub(r"\* (?=\*)", "*", text)


def _declaration(text):
    match = _DECLARATOR.match(text.strip())
    if not match:
        raise HeaderError(f"parameter or field without a name: {text.strip()!r}")
    return {"name": match["name"], "type": _type(match["type"])}


class Function:
    def __init__(self, name, returns, parameters, comment):
        self.name, self.returns, self.parameters, self.comment = name, returns, parameters, comment


class Header:
    """``functions``, ``structs`` (name to fields), ``aliases`` (name to type), ``constants`` (names of numbers) and
    ``texts`` (name to text), each in the header's order."""

    def __init__(self, text):
        self.text = text
        self.functions = [self._function(match) for match in _FUNCTION.finditer(text)]
        code = _COMMENT.sub("", text)
        self.aliases = {m["name"]: m["type"] for m in _ALIAS.finditer(code)}
        self.structs = {
            m["name"]: [_declaration(field) for field in m["body"].split(";") if field.strip()] for m in _STRUCT.finditer(code)
        }
        macros = {m["name"]: m["rest"].strip() for m in _MACRO.finditer(code) if m["name"] not in NOT_CONSTANTS}
        self.texts = {name: rest.strip('"') for name, rest in macros.items() if rest.startswith('"')}
        self.constants = [name for name in macros if name not in self.texts]
        self._nothing_missed(code)

    @classmethod
    def read(cls, path):
        with open(path, encoding="utf-8") as file:
            return cls(file.read())

    @staticmethod
    def _function(match):
        parameters = match["parameters"].strip()
        if not parameters:
            raise HeaderError(f"{match['name']}: write (void)")
        listed = [] if parameters == "void" else [_declaration(p) for p in parameters.split(",")]
        return Function(match["name"], _type(match["returns"]), listed, match["comment"])

    def _nothing_missed(self, code):
        """Every declaration of the file must be one that was read."""
        rest = re.sub(r"^#.*$", "", code, flags=re.MULTILINE)
        for pattern in (_STRUCT, _ALIAS, _FUNCTION):
            rest = pattern.sub("", rest)
        rest = rest.replace('extern "C" {', "").replace("}", "").strip()
        if rest:
            raise HeaderError(f"not understood: {rest[:200]!r}")
        names = [f.name for f in self.functions] + self.constants
        twice = {name for name in names if names.count(name) > 1}
        if twice:
            raise HeaderError(f"declared twice: {', '.join(sorted(twice))}")
