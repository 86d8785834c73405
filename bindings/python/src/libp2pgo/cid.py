"""CIDs: names of bytes by their hash. None of it needs a node."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, cast

from ._library import encode, library, pointer
from .errors import SecurityError

if TYPE_CHECKING:
    from typing_extensions import Buffer as BytesLike

__all__ = ["CID"]


class CID(str):
    """A name of bytes by their hash: ``bafkrei...``. A str in every respect, and not checked; :meth:`parse` checks.

    The same CID has many texts, one for each base: compare what :meth:`parse` returns, or the bytes.
    """

    __slots__ = ()

    @classmethod
    def make(cls, data: BytesLike, *, codec: str = "raw", hash: str = "sha2-256", version: int = 1, base: str | None = None) -> CID:
        """Hash data.

        Args:
            codec: what the data are: ``raw``, ``dag-pb``, ``dag-cbor``, or any other multicodec.
            hash: ``sha2-256``, ``sha2-512``, ``sha3-256``, ``sha3-512``, ``blake2b-256``, ``blake2s-256``, ``blake3`` or ``identity``.
            base: the text's multibase; base32 by default, base58btc for version 0.
        """
        options = {"codec": codec, "hash": hash, "version": version, **({} if base is None else {"base": base})}
        lib = library()
        return cls(lib.text(lib.p2p_cid_make, *pointer(data), encode(json.dumps(options))))

    @classmethod
    def parse(cls, text: str) -> CID:
        """Check a CID and return it in its version's usual base. Raises ParseError."""
        return cls(text)._text({})

    @classmethod
    def from_bytes(cls, data: BytesLike) -> CID:
        """Read the binary form. Raises ParseError."""
        lib = library()
        return cls(lib.text(lib.p2p_cid_parse, *pointer(data)))

    def to_bytes(self) -> bytes:
        """Return the binary form. Raises ParseError if it is no CID, as does everything below."""
        lib = library()
        return lib.block(lib.p2p_cid_bytes, encode(self))

    def to_v0(self) -> CID:
        """Return it as version 0, ``Qm...``. Raises InvalidArgument unless it is dag-pb with sha2-256."""
        return self._text({"version": 0})

    def to_v1(self, base: str | None = None) -> CID:
        """Return it as version 1, in a multibase such as ``base32`` (the default), ``base36``, ``base58btc``."""
        return self._text({"version": 1} if base is None else {"version": 1, "base": base})

    def verify(self, data: BytesLike) -> bool:
        """Whether it names these bytes. Raises Unsupported if its hash is unknown or proves nothing."""
        lib = library()
        try:
            lib.check(lib.p2p_cid_verify(encode(self), *pointer(data)))
        except SecurityError:
            return False
        return True

    @property
    def version(self) -> int:
        """0 or 1."""
        return int(self.info()["version"])

    @property
    def codec(self) -> str:
        """What the bytes are."""
        return str(self.info()["codec"])

    @property
    def hash(self) -> str:
        """How they were hashed."""
        return str(self.info()["hash"])

    @property
    def digest(self) -> bytes:
        """Their hash."""
        return bytes.fromhex(self.info()["digest"])

    def info(self) -> dict[str, Any]:
        """All of it: version, base, codec, codec_code, hash, hash_code, digest, v0, v1."""
        lib = library()
        return cast("dict[str, Any]", lib.json(lib.p2p_cid_info, encode(self)))

    def _text(self, options: dict[str, Any]) -> CID:
        lib = library()
        return CID(lib.text(lib.p2p_cid_text, encode(self), encode(json.dumps(options))))

    def __repr__(self) -> str:
        return f"CID({str(self)!r})"
