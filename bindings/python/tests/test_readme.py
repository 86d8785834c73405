"""The README's code runs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from helpers import child, finish

SNIPPETS = re.findall(r"```python\n(.*?)```", (Path(__file__).resolve().parents[1] / "README.md").read_text(), re.DOTALL)


@pytest.mark.parametrize("snippet", SNIPPETS, ids=["asyncio", "sync"])
def test_snippet(snippet: str) -> None:
    status, out, err = finish(child(snippet))
    assert (status, err) == (0, "")
    assert "12D3KooW" in out
