"""What things of the sync face have in common: ``with`` closes them, and flows are iterators."""

from __future__ import annotations

from typing import Generic, TypeVar

T = TypeVar("T")
C = TypeVar("C", bound="Closing")
F = TypeVar("F", bound="Flow")  # type: ignore[type-arg]


class Closing:
    """Something that ``with`` closes."""

    def close(self) -> None:
        """End it."""
        raise NotImplementedError

    def __enter__(self: C) -> C:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Flow(Closing, Generic[T]):
    """An iterator over what comes, up to the end of it."""

    def next(self, *, timeout: float | None = None) -> T | None:
        """Return the next one, or None at the end. Raises Timeout, which loses nothing."""
        raise NotImplementedError

    def __iter__(self: F) -> F:
        return self

    def __next__(self) -> T:
        found = self.next()
        if found is None:
            raise StopIteration
        return found
