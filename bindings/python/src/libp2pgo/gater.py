"""Gating: who may be dialled, and who may connect."""

from __future__ import annotations

import inspect
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Awaitable, Callable, Union

from . import _abi
from ._engine import Pump, logger, next_tag
from ._library import Library, duration, encode
from .peer import Multiaddr, PeerId, address_lines

if TYPE_CHECKING:
    from typing_extensions import Literal

    from .node import Core

    Default = Literal["allow", "block"]

__all__ = ["GateRequest", "Gatekeeper", "Gater"]


@dataclass(frozen=True)
class GateRequest:
    """A dial, or an inbound connection, that no rule names."""

    peer: PeerId
    address: Multiaddr | None
    """Where the peer is; None before a dial, which may try several addresses."""
    stage: str
    """``dial`` or ``connection``."""
    inbound: bool
    relayed: bool


Doorman = Callable[[GateRequest], Union[bool, Awaitable[bool]]]


class Gater:
    """A node's rules: ``node.gater``. A rule is a peer id, an IP address or a subnet, ``10.0.0.0/8``.

    The most exact one holds: that of the peer, then that of the longest prefix of its address; where there is none, the default. Rules last
    as long as the node; those to begin with are the option ``gating``. A dial that is refused raises Refused, which names the rule.
    """

    def __init__(self, core: Core) -> None:
        self._core = core

    def block(self, *rules: str) -> None:
        """Refuse whom the rules name, and close their connections. All are taken, or none: ParseError names the malformed one."""
        self._core.check("p2p_gate_block", address_lines(rules, "rules"))

    def allow(self, *rules: str) -> None:
        """Let those through whom the rules name."""
        self._core.check("p2p_gate_allow", address_lines(rules, "rules"))

    def remove(self, *rules: str) -> None:
        """Take rules out, whether they block or allow. Raises NotFound."""
        self._core.check("p2p_gate_remove", address_lines(rules, "rules"))

    def set_default(self, verdict: Default) -> None:
        """Say what becomes of those that no rule names: ``allow`` or ``block``. Present connections stay."""
        self._core.check("p2p_gate_default", encode(verdict, "verdict"))

    def list(self) -> dict[str, Any]:
        """The rules and what they refused: ``default``, ``block``, ``allow``, ``asking``, ``dials_refused``, ``connections_refused``."""
        core = self._core
        result: dict[str, Any] = core.lib.json(core.lib.p2p_gate_list, core.open())
        return result

    def ask(
        self, doorman: Doorman, *, timeout: float | None = None, default: Default | None = None, capacity: int | None = None
    ) -> Gatekeeper:
        """Have ``doorman`` decide, from now on, about every dial and every inbound connection that no rule names.

        It is called with each GateRequest where the events of this loop are dispatched and returns whether it may be, or awaits that.
        If it raises, the answer is no, and the exception goes to the logger ``libp2pgo``. Raises AlreadyExists if there is one already.

        Args:
            timeout: seconds for a verdict, at most 10, after which ``default`` ("block" or "allow") holds; default 1, and "block".
            capacity: verdicts pending at a time; beyond it the default holds. Default 256.
        """
        options = {"timeout_ms": duration("timeout", timeout), "default": default, "capacity": capacity}
        return Gatekeeper(self._core.here(), self._core.open(), doorman, {k: v for k, v in options.items() if v is not None})


class Gatekeeper:
    """A doorman at work. End it with :meth:`close` or ``with``; it ends with its node."""

    def __init__(self, pump: Pump, node: int, doorman: Doorman, options: dict[str, Any]) -> None:
        self._pump = pump
        self._lib: Library = pump.lib
        self._doorman = doorman
        self._judging: set[Any] = set()
        self._tag = next_tag()
        pump.targets[self._tag] = self._arrived
        try:
            self._handle = self._lib.handle(self._lib.p2p_gate_ask, node, json.dumps(options).encode(), pump.queue, self._tag)
        except BaseException:
            del pump.targets[self._tag]
            raise
        pump.serve()

    def info(self) -> dict[str, Any]:
        """Counters: asked, refused, late, pending."""
        result: dict[str, Any] = self._lib.json(self._lib.p2p_info, self._handle)
        return result

    def close(self) -> None:
        """Ask no more; what no rule names is up to the default of the rules again."""
        self._lib.p2p_close(self._handle)
        self._pump.targets.pop(self._tag, None)

    def __enter__(self) -> Gatekeeper:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _arrived(self, type_: int, status: int, subject: int, object_: int, value: int, flags: int, text: bytes, data: bytes) -> None:
        if type_ == _abi.EVENT_CLOSED:
            self._pump.targets.pop(self._tag, None)
        if type_ != _abi.EVENT_GATE:
            return
        peer, address, stage = text.decode("utf-8", "replace").split("\n", 2)
        request = GateRequest(
            PeerId(peer), Multiaddr(address) if address else None, stage, bool(flags & _abi.FLAG_INBOUND), bool(flags & _abi.FLAG_RELAYED)
        )
        try:
            verdict = self._doorman(request)
        except Exception:
            logger.exception("the doorman failed")
            verdict = False
        if inspect.isawaitable(verdict):
            task = self._pump.spawn(self._judge(object_, verdict), f"doorman for {peer}")
            if not task.done():
                self._judging.add(task)
                done = getattr(task, "add_done_callback", None)
                if done is not None:
                    done(self._judging.discard)
        else:
            self._answer(object_, verdict)

    async def _judge(self, token: int, judgement: Awaitable[bool]) -> None:
        try:
            verdict = await judgement
        except Exception:
            logger.exception("the doorman failed")
            verdict = False
        self._answer(token, verdict)

    def _answer(self, token: int, verdict: bool) -> None:
        if not isinstance(verdict, bool):
            logger.error("the doorman returned %r, not a bool", verdict)
            verdict = False
        # P2P_E_HANDLE: too late, the default took its place.
        self._lib.p2p_answer(token, _abi.VERDICT_ACCEPT if verdict else _abi.VERDICT_REJECT)
