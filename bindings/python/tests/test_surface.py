"""The public names, and what importing does not do."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from typing import Any, get_type_hints

import pytest

import libp2pgo
from helpers import child, finish
from libp2pgo import config

MODULES = [name for _, name, _ in pkgutil.iter_modules(libp2pgo.__path__) if not name.startswith("_")]


def test_every_public_name_resolves() -> None:
    for name in libp2pgo.__all__:
        assert getattr(libp2pgo, name) is not None


@pytest.mark.parametrize("name", MODULES)
def test_all_lists_what_a_module_defines(name: str) -> None:
    module = importlib.import_module(f"libp2pgo.{name}")
    defined = {
        found
        for found, value in vars(module).items()
        if inspect.isclass(value) and not found.startswith("_") and value.__module__ in (module.__name__, "libp2pgo")
        and getattr(value, "__qualname__", "") == found
    }  # fmt: skip
    internal = {"Core", "Document", "EventHub", "OpeningStream", "RequestServer"}
    imported = {n for n in defined if name != "errors" and hasattr(importlib.import_module("libp2pgo.errors"), n)}
    assert defined - internal - imported <= set(module.__all__), name
    for found in module.__all__:
        assert hasattr(module, found)


def test_the_package_exports_what_its_modules_do() -> None:
    names = set(libp2pgo.__all__)
    for name in ("address", "cid", "envelope", "errors", "events", "keys", "node", "numbers", "peer", "pubsub", "request", "stream"):
        assert set(importlib.import_module(f"libp2pgo.{name}").__all__) <= names


def test_unknown_names_are_attribute_errors() -> None:
    with pytest.raises(AttributeError, match="nothing_such"):
        libp2pgo.nothing_such  # noqa: B018


def test_importing_loads_no_library_and_starts_no_thread() -> None:
    code = """
import sys, threading
import libp2pgo
assert "asyncio" not in sys.modules and "ctypes" not in sys.modules, "heavy modules at import"
import libp2pgo.sync, libp2pgo.log
from libp2pgo import Node, _library
Node()
assert not _library.loaded()
assert threading.active_count() == 1
assert "libp2pgo.so" not in open("/proc/self/maps").read()
"""
    status, _, err = finish(child(code))
    assert status == 0, err


def test_importing_is_quick() -> None:
    code = "import time; a = time.process_time(); import libp2pgo; print(time.process_time() - a)"
    best = min(float(finish(child(code))[1]) for _ in range(5))
    assert best < 0.05


def test_typed_options_are_those_of_the_schema() -> None:
    properties = config.schema()["$defs"]["node"]["properties"]
    hints = get_type_hints(config.Options)
    assert set(hints) == set(properties)
    for name, typed in hints.items():
        nested: dict[str, Any] = properties[name].get("properties", {})
        if nested:
            secrets = {"key"}
            assert set(get_type_hints(typed)) == set(nested) - secrets, name


def test_node_takes_every_option_of_the_schema_by_name() -> None:
    parameters = set(inspect.signature(libp2pgo.Node).parameters) - {"config"}
    assert parameters == set(get_type_hints(config.Options))


def test_a_missing_library_is_said_so() -> None:
    code = """
import libp2pgo
try:
    libp2pgo.PrivateKey.generate()
except ImportError as error:
    print(type(error).__name__, error)
"""
    status, out, _ = finish(child(code, env={"LIBP2PGO_LIBRARY": "/nowhere/libp2pgo.so"}))
    assert status == 0
    assert out.startswith("LibraryError")
    assert "/nowhere/libp2pgo.so" in out
