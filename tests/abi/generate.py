"""Write tests/abi/libp2p.abi.json: the checked list of everything that include/libp2p.h promises to a caller.

    python3 tests/abi/generate.py            rewrite the list
    python3 tests/abi/generate.py --print    write it to stdout

Its diff is reviewed with the header's: within one P2P_ABI lines are only added. Names and types come from the header's text, values and
layouts from a probe that the C compiler ($CC, else cc) builds from it.
"""

import json
import os
import pathlib
import shlex
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from header import Header  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parents[2]
HEADER = ROOT / "include" / "libp2p.h"
LIST = ROOT / "tests" / "abi" / "libp2p.abi.json"


def _probe_source(header):
    lines = ["#include <stdio.h>", "#include <stddef.h>", '#include "libp2p.h"', "int main(void) {"]
    for name in header.constants:
        lines.append(f'    printf("constant {name} %lld\\n", (long long)({name}));')
    for struct, fields in header.structs.items():
        lines.append(f'    printf("struct {struct} %zu %zu\\n", sizeof({struct}), _Alignof({struct}));')
        for field in fields:
            member = f"(({struct} *)0)->{field['name']}"
            lines.append(f'    printf("field {struct} {field["name"]} %zu %zu\\n", offsetof({struct}, {field["name"]}), sizeof({member}));')
    return "\n".join(lines + ["    return 0;", "}", ""])


def _run_probe(header, include):
    with tempfile.TemporaryDirectory() as folder:
        source, program = pathlib.Path(folder, "probe.c"), pathlib.Path(folder, "probe")
        source.write_text(_probe_source(header))
        compiler = shlex.split(os.environ.get("CC", "cc"))
        subprocess.run([*compiler, "-std=c11", "-I", str(include), str(source), "-o", str(program)], check=True)
        return [line.split() for line in subprocess.run([str(program)], check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()]


def build(path=HEADER):
    """The list, as the object that the JSON file holds."""
    header = Header.read(path)
    constants, structs = {}, {}
    for kind, name, *values in _run_probe(header, pathlib.Path(path).parent):
        if kind == "constant":
            constants[name] = int(values[0])
        elif kind == "struct":
            structs[name] = {"size": int(values[0]), "align": int(values[1]), "fields": []}
        else:
            types = {f["name"]: f["type"] for f in header.structs[name]}
            structs[name]["fields"].append(
                {"name": values[0], "type": types[values[0]], "offset": int(values[1]), "size": int(values[2])}
            )
    functions = {f.name: {"returns": f.returns, "parameters": f.parameters} for f in header.functions}
    return {
        "abi": constants["P2P_ABI"],
        "aliases": header.aliases,
        "constants": constants,
        "structs": structs,
        "functions": functions,
    }


def _lines(value, depth=0):
    """JSON with one line per function, field and constant, so that a diff shows one line per change."""
    pad = "  " * (depth + 1)
    if depth < 2 and isinstance(value, dict) or depth == 2 and isinstance(value, dict) and "fields" in value:
        body = ",\n".join(f"{pad}{json.dumps(k)}: {_lines(v, depth + 1)}" for k, v in value.items())
        return "{\n" + body + "\n" + "  " * depth + "}"
    if depth == 3 and isinstance(value, list):
        return "[\n" + ",\n".join(pad + json.dumps(v) for v in value) + "\n" + "  " * depth + "]"
    return json.dumps(value)


def render(path=HEADER):
    return _lines(build(path)) + "\n"


if __name__ == "__main__":
    if sys.argv[1:] == ["--print"]:
        sys.stdout.write(render())
    elif sys.argv[1:]:
        sys.exit(__doc__)
    else:
        LIST.write_text(render(), encoding="utf-8")
