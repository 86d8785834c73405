"""The list of bad input that every language drives, through the function table (and so through every error's way to its exception)."""

from __future__ import annotations

import json
from ctypes import byref, c_int, c_int64, c_size_t, c_uint64, c_void_p
from pathlib import Path
from typing import Any, Iterator

import pytest

import libp2pgo
from helpers import ROOT
from libp2pgo import _abi
from libp2pgo._library import Library, library

FOLDER = Path(ROOT) / "tests" / "cases"
CONFIG = b'{"listen": [], "keep": {"retry_min_ms": 10}}'
DHT_CONFIG = b'{"listen": [], "dht": {"mode": "client", "validators": ["app=accept", "sha=hash"]}}'
CASES = [(path.stem, case) for path in sorted(FOLDER.glob("*.json")) for case in json.loads(path.read_text())]
PARAMETERS: dict[str, list[dict[str, str]]] = {
    name: function["parameters"]
    for name, function in json.loads((FOLDER.parent / "abi" / "libp2p.abi.json").read_text())["functions"].items()
}


class World:
    """What the cases' calls are made on."""

    def __init__(self, lib: Library) -> None:
        self.lib = lib
        self.queue = lib.handle(lib.p2p_queue_new, 0)
        self.node, self.dht = self.start(CONFIG), self.start(DHT_CONFIG)
        self.topic = lib.handle(lib.p2p_topic_join, self.node, b"cases-subscribe", None, 0, 0)

    def start(self, json: bytes) -> int:
        config = self.lib.handle(self.lib.p2p_config_new, json)
        node = c_uint64()
        self.lib.check(self.lib.p2p_node_new(config, 0, 0, byref(node), None))
        self.lib.p2p_close(config)
        return node.value

    def close(self) -> None:
        self.lib.p2p_close(self.node)
        self.lib.p2p_close(self.dht)
        self.lib.p2p_close(self.queue)

    def call(self, name: str, arguments: dict[str, Any]) -> int:
        lib, given = self.lib, dict(arguments)
        opened: list[int] = []
        if name == "p2p_node_new":
            config = c_uint64()  # some bad values are found here already, others when they meet in a node
            code = int(lib.p2p_config_new(given.pop("json").encode(), byref(config)))
            if code < 0:
                return code
            opened.append(config.value)
            given["config"] = opened[0]
        values: list[Any] = []
        length: int | None = None
        for parameter in PARAMETERS[name]:
            field, type_ = parameter["name"], parameter["type"]
            if field in given:
                value = given[field]
                if isinstance(value, dict):
                    value = bytes.fromhex(value["hex"])
                    length = len(value)
                elif isinstance(value, str):
                    value = value.encode()
                values.append(value)
            elif field == "len" and length is not None:
                values.append(length)
            elif field == "config":
                opened.append(lib.handle(lib.p2p_config_new, None))
                values.append(opened[0])
            elif type_ == "p2p_handle":
                values.append(self.dht if field == "node" and name.startswith("p2p_dht_") else getattr(self, field))
            elif field == "call":
                values.append(byref(_abi.Call(_abi.CALL_SIZE, 5000, 0, 0)))
            elif type_ in ("char **", "uint8_t **"):
                values.append(byref(c_void_p()))
            elif type_ == "p2p_handle *":
                values.append(byref(c_uint64()))
            elif type_ == "int64_t *":
                values.append(byref(c_int64()))
            elif type_ == "size_t *":
                values.append(byref(c_size_t()))
            elif type_ == "int *":
                values.append(byref(c_int()))
            elif type_.endswith("*"):
                values.append(None)
            else:
                values.append(0)
        try:
            return int(getattr(lib, name)(*values))
        finally:
            for handle in opened:
                lib.p2p_close(handle)


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    found = World(library())
    yield found
    found.close()


@pytest.fixture(autouse=True)
def _no_handles_left() -> None:
    """The world's stay open over all cases; each case checks its own."""


@pytest.mark.parametrize(("capability", "case"), CASES, ids=[f"{capability}: {case['name']}" for capability, case in CASES])
def test_case(world: World, capability: str, case: dict[str, Any]) -> None:
    before = world.lib.p2p_live_handles(0)
    code = world.call(case["call"], case["arguments"])
    assert world.lib.p2p_error_name(code).decode() == case["code"]
    with pytest.raises(libp2pgo.Error) as caught:
        world.lib.check(code)
    assert caught.value.code_name == case["code"]
    for words in case["words"]:
        assert words in str(caught.value)
    assert world.lib.p2p_live_handles(0) == before
