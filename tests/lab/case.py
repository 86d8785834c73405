"""What the tests of this folder begin with."""

from __future__ import annotations

import functools
import unittest

from .box import why_unavailable
from .network import Lab


@functools.lru_cache(maxsize=None)
def _reason() -> str | None:
    reason = why_unavailable()
    if reason:
        print(f"skipped: {reason}", flush=True)
    return reason


class LabCase(unittest.TestCase):
    """Each test has a laboratory of its own, ``self.net``. Where there can be none, its tests are skipped with the reason."""

    net: Lab

    def setUp(self) -> None:
        if reason := _reason():
            self.skipTest(reason)
        self.net = Lab()
        self.addCleanup(self.net.close)
