"""tests/cases/*.json as a C header."""

import json
import pathlib

CASES = pathlib.Path(__file__).resolve().parents[1] / "cases"
TEXTS = (
    "json", "path", "value", "type", "addresses", "peer", "protocols", "protocol", "name", "options", "rules", "verdict", "format", "address",
    "domain", "inner", "cid", "point", "keys", "mode", "key", "what", "subjects",
)  # fmt: skip
BYTES = ("data", "key", "id", "envelope", "record")


def text(value):
    if value is None:
        return "NULL"
    octal = "".join(chr(b) if 32 <= b < 127 and chr(b) not in '"\\?' else f"\\{b:03o}" for b in value.encode())
    return f'"{octal}"'


def row(file, case):
    arguments = dict(case["arguments"])
    fields = [f".{name} = {text(arguments.pop(name))}" for name in TEXTS if isinstance(arguments.get(name), str)]
    for name in BYTES:
        if name in arguments:
            data = bytes.fromhex(arguments.pop(name)["hex"])
            fields += [f".bytes = (const uint8_t[]){{{', '.join(map(str, data)) or 0}}}", f".len = {len(data)}"]
    if arguments:
        raise SystemExit(f"{file}: {case['name']}: no such argument: {', '.join(arguments)}")
    if len(case["words"]) > 3:
        raise SystemExit(f"{file}: {case['name']}: more than 3 words")
    words = ", ".join(map(text, case["words"])) or "NULL"
    title = f"{file}: {case['name']}"
    return f"    {{.title = {text(title)}, .call = {text(case['call'])}, .code = {case['code']}, .words = {{{words}}}, {', '.join(fields)}}},"


def header():
    """The text of the header: every case as a row."""
    rows = [row(path.stem, case) for path in sorted(CASES.glob("*.json")) for case in json.loads(path.read_text(encoding="utf-8"))]
    fields = "".join(f" *{name}," for name in TEXTS).rstrip(",")
    return (
        "struct bad_input {\n    const char *title, *call, *words[4];\n    int code;\n"
        f"    const char{fields};\n    const uint8_t *bytes;\n    size_t len;\n}};\n\n"
        "static const struct bad_input bad_inputs[] = {\n" + "\n".join(rows) + "\n};\n"
    )
