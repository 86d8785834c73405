"""Keys and what follows from them: PeerId, PrivateKey, PublicKey, and NetworkKey for private networks. None of it needs a node.

::

    key = PrivateKey.load("self.pem")              # libp2p's own form, Kubo's, PEM: it finds out
    signature = key.sign(b"hello")
    assert key.peer_id.public_key.verify(b"hello", signature)
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, cast

from ._library import encode, library, pointer
from .errors import SecurityError

if TYPE_CHECKING:
    from typing_extensions import Buffer as BytesLike

__all__ = ["NetworkKey", "PeerId", "PrivateKey", "PublicKey"]


class PeerId(str):
    """A peer's name, the hash of its public key: ``12D3KooW...``. A str in every respect, and not checked; :meth:`parse` checks."""

    __slots__ = ()

    @classmethod
    def parse(cls, text: str) -> PeerId:
        """Read either text form, base58 (``12D3KooW...``, ``Qm...``) or CID (``bafz...``). Raises ParseError."""
        return cls(_id_info(text)["peer"])

    @classmethod
    def from_bytes(cls, data: BytesLike) -> PeerId:
        """Read the binary form, a multihash. Raises ParseError."""
        lib = library()
        return cls(lib.text(lib.p2p_id_text, *pointer(data)))

    def to_bytes(self) -> bytes:
        """Return the binary form, a multihash."""
        lib = library()
        return lib.block(lib.p2p_id_bytes, encode(self))

    @property
    def cid(self) -> str:
        """The other text form, a CID: ``bafz...``."""
        return str(_id_info(self)["cid"])

    @property
    def public_key(self) -> PublicKey:
        """The key that the id holds. Raises NotFound if it is the hash of one, as for rsa and ecdsa keys."""
        lib = library()
        return PublicKey(lib.block(lib.p2p_id_public_key, encode(self)))

    def __repr__(self) -> str:
        return f"PeerId({str(self)!r})"


def _id_info(text: str) -> dict[str, Any]:
    lib = library()
    return cast("dict[str, Any]", lib.json(lib.p2p_id_info, encode(text)))


class PublicKey:
    """Whom a signature is checked against."""

    __slots__ = ("_data", "_peer_id", "_type")

    def __init__(self, data: BytesLike) -> None:
        """Take a key in libp2p's protobuf form; :meth:`parse` takes the others. Raises ParseError if it is none."""
        self._data = bytes(data)
        lib = library()
        known = lib.json(lib.p2p_pubkey_info, *pointer(self._data))
        self._peer_id = PeerId(known["peer"])
        self._type = str(known["type"])

    @classmethod
    def parse(cls, data: BytesLike | str, *, format: str | None = None, type: str | None = None) -> PublicKey:
        """Read a key.

        Args:
            format: ``protobuf``, ``base64``, ``pem`` or ``raw``; None finds out, except for raw.
            type: what it must be: ``ed25519``, ``secp256k1``, ``ecdsa`` or ``rsa``. A raw key needs it.
        """
        lib = library()
        return cls(lib.block(lib.p2p_pubkey_import, *pointer(_bytes(data)), _optional(format), _optional(type)))

    def export(self, format: str = "protobuf") -> bytes:
        """Return it in a format, as for :meth:`parse`."""
        lib = library()
        return lib.block(lib.p2p_pubkey_export, *pointer(self._data), encode(format))

    def verify(self, data: BytesLike, signature: BytesLike) -> bool:
        """Whether ``signature`` is that of ``data`` by the holder of this key."""
        lib = library()
        try:
            lib.check(lib.p2p_pubkey_verify(*pointer(self._data), *pointer(data), *pointer(signature)))
        except SecurityError:
            return False
        return True

    @property
    def peer_id(self) -> PeerId:
        """The name of whoever holds the private half."""
        return self._peer_id

    @property
    def type(self) -> str:
        """``ed25519``, ``secp256k1``, ``ecdsa`` or ``rsa``."""
        return self._type

    def __bytes__(self) -> bytes:
        return self._data

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PublicKey) and other._data == self._data

    def __hash__(self) -> int:
        return hash(self._data)

    def __repr__(self) -> str:
        return f"<PublicKey {self._type} of {self._peer_id}>"


class PrivateKey:
    """A node's identity. Its bytes are a secret: they show in no repr."""

    __slots__ = ("_data", "_peer_id", "_public")

    def __init__(self, data: BytesLike) -> None:
        """Take a key in libp2p's protobuf form; :meth:`parse` takes the others. Raises ParseError if it is none."""
        self._data = bytes(data)
        lib = library()
        self._peer_id = PeerId(lib.text(lib.p2p_key_peer_id, *pointer(self._data)))
        self._public: PublicKey | None = None

    @classmethod
    def generate(cls, type: str = "ed25519") -> PrivateKey:
        """Make a key: ``ed25519``, ``secp256k1``, ``ecdsa`` or ``rsa``."""
        lib = library()
        return cls(lib.block(lib.p2p_key_new, encode(type)))

    @classmethod
    def parse(cls, data: BytesLike | str, *, format: str | None = None, type: str | None = None) -> PrivateKey:
        """Read a key.

        Args:
            format: ``protobuf`` (also a file of ``ipfs key export``), ``base64`` (the same as text; ``Identity.PrivKey`` in Kubo's
                config), ``pem`` (PKCS #8; SEC 1 and PKCS #1 are read too) or ``raw``; None finds out, except for raw.
            type: what it must be: ``ed25519``, ``secp256k1``, ``ecdsa`` or ``rsa``. A raw key needs it.

        Raises ParseError, which does not repeat the key, or Unsupported if it is encrypted.
        """
        lib = library()
        return cls(lib.block(lib.p2p_key_import, *pointer(_bytes(data)), _optional(format), _optional(type)))

    def export(self, format: str = "protobuf") -> bytes:
        """Return it in a format, as for :meth:`parse`."""
        lib = library()
        return lib.block(lib.p2p_key_export, *pointer(self._data), encode(format))

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, format: str | None = None, type: str | None = None) -> PrivateKey:
        """Read a key file; see :meth:`parse`."""
        with open(path, "rb") as file:
            return cls.parse(file.read(), format=format, type=type)

    def save(self, path: str | os.PathLike[str], *, format: str = "protobuf") -> None:
        """Write a key file that only its owner can read. Raises FileExistsError rather than replace one."""
        _save(path, self.export(format))

    def sign(self, data: BytesLike) -> bytes:
        """Return a signature of ``data``, which :meth:`PublicKey.verify` checks."""
        lib = library()
        return lib.block(lib.p2p_key_sign, *pointer(self._data), *pointer(data))

    @property
    def public_key(self) -> PublicKey:
        """The half that others may have."""
        if self._public is None:
            lib = library()
            self._public = PublicKey(lib.block(lib.p2p_key_public, *pointer(self._data)))
        return self._public

    @property
    def peer_id(self) -> PeerId:
        """The name of whoever holds this key."""
        return self._peer_id

    @property
    def type(self) -> str:
        """``ed25519``, ``secp256k1``, ``ecdsa`` or ``rsa``."""
        return self.public_key.type

    def __bytes__(self) -> bytes:
        return self._data

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PrivateKey) and other._data == self._data

    def __hash__(self) -> int:
        return hash(self._peer_id)

    def __repr__(self) -> str:
        return f"<PrivateKey of {self._peer_id}>"


class NetworkKey:
    """What every node of a private network holds: 32 bytes, kept in a swarm.key file. A secret: it shows in no repr."""

    __slots__ = ("_data",)

    def __init__(self, data: BytesLike | str) -> None:
        """Take the text of a swarm.key file, 64 hex digits, or 32 bytes. Raises ParseError."""
        lib = library()
        self._data = lib.block(lib.p2p_network_key_parse, *pointer(_bytes(data)))

    @classmethod
    def generate(cls) -> NetworkKey:
        """Make a new one."""
        lib = library()
        return cls(lib.text(lib.p2p_network_key_new))

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> NetworkKey:
        """Read a swarm.key file."""
        with open(path, "rb") as file:
            return cls(file.read())

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a swarm.key file that only its owner can read. Raises FileExistsError rather than replace one."""
        _save(path, self.text.encode())

    @property
    def text(self) -> str:
        """What stands in a swarm.key file."""
        lib = library()
        return lib.text(lib.p2p_network_key_text, *pointer(self._data))

    @property
    def fingerprint(self) -> str:
        """32 hex digits that are no secret: equal for equal keys, and the same as Kubo prints."""
        lib = library()
        return lib.text(lib.p2p_network_key_fingerprint, *pointer(self._data))

    def __bytes__(self) -> bytes:
        return self._data

    def __eq__(self, other: object) -> bool:
        return isinstance(other, NetworkKey) and other._data == self._data

    def __hash__(self) -> int:
        return hash(self.fingerprint)

    def __repr__(self) -> str:
        return f"<NetworkKey {self.fingerprint}>"


def _bytes(data: BytesLike | str) -> BytesLike:
    return data.encode() if isinstance(data, str) else data


def _optional(text: str | None) -> bytes | None:
    return None if text is None else encode(text)


def _save(path: str | os.PathLike[str], data: bytes) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o600)
    with open(fd, "wb") as file:
        file.write(data)
