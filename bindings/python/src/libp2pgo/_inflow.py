"""What a watched stream has brought and nobody has read yet. Plain code without library or loop, so that its rules are tested alone."""

from __future__ import annotations

from collections import deque
from threading import RLock

UNBOUNDED = 1 << 62
_WHOLE = 16 * 1024  # a chunk this large is handed out as it came


class Inflow:
    """Bytes in order of arrival, then perhaps an end, and the account of the credit that they took.

    The library may have ``window`` bytes under way; :meth:`due` says how many of those that arrived may be given back. A reader that
    needs more than the window at once sets :attr:`wanted`, and credit is then returned as bytes arrive instead of as they are read.
    """

    __slots__ = ("_charged", "_chunks", "_head", "_lock", "ended", "error", "size", "wanted", "window")

    def __init__(self, window: int) -> None:
        self.window = window
        self.size = 0
        """Bytes that can be taken."""
        self.wanted = 0
        """Bytes that a reader waits for, all at once; 0 when one is enough."""
        self.ended = False
        self.error: BaseException | None = None
        """Why it ended, None for the regular end."""
        self._chunks: deque[bytes] = deque()
        self._head = 0
        self._charged = 0
        self._lock = RLock()  # the sync face feeds on one thread and takes on another

    def feed(self, data: bytes) -> bool:
        """Add what arrived. Returns whether the reader that waits has enough."""
        with self._lock:
            self._chunks.append(data)
            size = len(data)
            self.size += size
            self._charged += size
            return self.size >= self.wanted

    def end(self, error: BaseException | None = None) -> None:
        """Nothing more comes. The first end counts."""
        if not self.ended:
            self.ended = True
            self.error = error

    def due(self) -> int:
        """Bytes of credit to return now; often 0, because they are saved up to half the window."""
        with self._lock:
            keep = self.size if self.wanted <= self.window // 2 else max(0, self.size - self.wanted)
            due = self._charged - keep
            if due < self.window // 2:
                return 0
            self._charged -= due
            return due

    def take(self, limit: int, exact: bool = True) -> bytes:
        """Take ``limit`` bytes, or all that there are if they are fewer. Not ``exact``, it may be fewer if that saves copying."""
        with self._lock:
            chunks = self._chunks
            if not chunks or limit <= 0:
                return b""
            first = chunks[0]
            rest = len(first) - self._head
            if rest > limit:
                data = first[self._head : self._head + limit]
                self._head += limit
            elif len(chunks) == 1 or rest == limit or (rest >= _WHOLE and not exact):
                data = chunks.popleft()
                if self._head:
                    data = data[self._head :]
                    self._head = 0
            else:
                parts = []
                left = limit
                while chunks and left:
                    first = chunks[0]
                    part = first[self._head : self._head + left]
                    parts.append(part)
                    left -= len(part)
                    if self._head + len(part) == len(first):
                        chunks.popleft()
                        self._head = 0
                    else:
                        self._head += len(part)
                data = b"".join(parts)
            self.size -= len(data)
            return data

    def take_into(self, view: memoryview) -> int:
        """Fill ``view`` with what there is and return how many bytes that were."""
        with self._lock:
            chunks = self._chunks
            done, room = 0, len(view)
            while chunks and done < room:
                first = chunks[0]
                n = min(len(first) - self._head, room - done)
                view[done : done + n] = memoryview(first)[self._head : self._head + n]
                done += n
                if self._head + n == len(first):
                    chunks.popleft()
                    self._head = 0
                else:
                    self._head += n
            self.size -= done
            return done

    def find(self, separator: bytes, start: int = 0) -> int:
        """Return the offset just after the first ``separator`` at or after ``start``, or -1."""
        with self._lock:
            # Lines rarely span chunks; joining makes a search over a seam one search, and pays once per line of several chunks.
            if len(self._chunks) > 1:
                joined = self.take(self.size)
                self._chunks.append(joined)
                self.size = len(joined)
            if not self._chunks:
                return -1
            at = self._chunks[0].find(separator, self._head + start)
            return -1 if at < 0 else at + len(separator) - self._head

    def peek(self, limit: int) -> bytes:
        """Return up to ``limit`` bytes without taking them."""
        with self._lock:
            out = b""
            head = self._head
            for chunk in self._chunks:
                out += chunk[head : head + limit - len(out)]
                head = 0
                if len(out) >= limit:
                    break
            return out


def uvarint(data: bytes) -> tuple[int, int] | None:
    """Read an unsigned varint at the start of ``data``: (value, its length), or None if more bytes are needed. Raises ValueError."""
    value = 0
    for at, byte in enumerate(data):
        value |= (byte & 0x7F) << (7 * at)
        if byte < 0x80:
            if (at and not byte) or value >= 1 << 64:
                raise ValueError("not a minimal unsigned varint of at most 64 bits")
            return value, at + 1
        if at >= 9:
            raise ValueError("unsigned varint longer than 10 bytes")
    return None
