"""From one DEK to the separate keys of a key domain, and the cipher of one stored object.

Rule of the file: every purpose has a key of its own, derived by HKDF-SHA256 (RFC 5869) with an info string that is
part of the format; the DEK itself encrypts nothing. Objects get a key each, from a random salt in their header, so that
any number of workers encrypt without agreeing on nonces: the nonce is the ordinal of the segment in its object.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field

from blake3 import blake3
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from typing_extensions import Buffer

from shared.errors import SkyharborError

DEK_SIZE = 32
CHUNK_ID_SIZE = 32
SALT_SIZE = 32
TAG_SIZE = 16
"""A sealed segment is this many bytes longer than its plaintext."""

_MASK_SIZE = 16

Plain = bytes | bytearray | memoryview
"""What the cipher takes without copying."""


def new_dek() -> bytes:
    """Return a new random 32-byte data encryption key, from the operating system's generator."""
    return os.urandom(DEK_SIZE)


class PackCipher:
    """AES-256-GCM under the key of one object. May be used by several threads at once.

    A (salt, ordinal) pair must never seal two different plaintexts: the writer counts ordinals up from zero and draws
    a new random salt for every object, also when it writes the same content again.
    """

    __slots__ = ("_aead",)

    def __init__(self, key: bytes) -> None:
        self._aead = AESGCM(key)

    def seal(self, ordinal: int, data: Plain, aad: bytes) -> bytes:
        """Return ciphertext and tag, 16 bytes longer than ``data``. ``aad`` says what it is and where it belongs."""
        return self._aead.encrypt(_nonce(ordinal), data, aad)

    def open(self, ordinal: int, data: Plain, aad: bytes) -> bytes:
        """Return the plaintext of ``seal`` with the same ordinal and ``aad``.

        Raises ``object-damaged`` when a single bit of key, ordinal, data or ``aad`` differs; nothing is returned then.
        """
        try:
            return self._aead.decrypt(_nonce(ordinal), data, aad)
        except InvalidTag:
            raise SkyharborError("object-damaged", f"segment {ordinal} does not authenticate") from None


@dataclass(frozen=True, slots=True)
class DomainKeys:
    """The keys of one key domain. Nothing secret shows in ``repr``; instances are safe to share between threads."""

    id_key: bytes = field(repr=False)
    pack_key: bytes = field(repr=False)
    metadata_key: bytes = field(repr=False)
    mask_key: bytes = field(repr=False)
    chunker_seed: int = field(repr=False)
    """Unsigned 63-bit seed of the content-defined chunker: cut points reveal sizes only to holders of the DEK.

    63 bits, because the chunker also keeps its table shifted by one and refuses a seed that does not fit then.
    """

    @classmethod
    def derive(cls, dek: bytes) -> DomainKeys:
        """Derive all keys of the domain: the same from the same DEK, always. ValueError unless it has 32 bytes."""
        if len(dek) != DEK_SIZE:
            raise ValueError("a DEK has 32 bytes")
        return cls(
            id_key=_hkdf(dek, b"skyharbor/v1/chunk-id"),
            pack_key=_hkdf(dek, b"skyharbor/v1/pack"),
            metadata_key=_hkdf(dek, b"skyharbor/v1/metadata"),
            mask_key=_hkdf(dek, b"skyharbor/v1/frame-mask"),
            chunker_seed=int.from_bytes(_hkdf(dek, b"skyharbor/v1/chunker-seed", length=8), "big") >> 1,
        )

    def chunk_id(self, data: Buffer) -> bytes:
        """Return the 32-byte id of a chunk: keyed BLAKE3 of its plaintext, so that storage cannot test for known files.

        Single-threaded on purpose: the callers are parallel already, and BLAKE3's own thread pool hangs after a fork.
        """
        return blake3(data, key=self.id_key).digest()

    def pack_cipher(self, salt: bytes) -> PackCipher:
        """Return the cipher of the pack (data or metadata) whose header carries ``salt``, 32 random bytes."""
        return PackCipher(_object_key(self.pack_key, salt, b"skyharbor/v1/pack-object"))

    def metadata_cipher(self, salt: bytes) -> PackCipher:
        """Return the cipher of an index segment or a manifest whose header carries ``salt``, 32 random bytes."""
        return PackCipher(_object_key(self.metadata_key, salt, b"skyharbor/v1/metadata-object"))

    def frame_mask(self, salt: bytes, ordinal: int) -> bytes:
        """Return the 16 bytes to XOR over the frame before segment ``ordinal`` of the pack with ``salt``, both ways."""
        _check_salt(salt)
        return blake3(salt + ordinal.to_bytes(8, "big"), key=self.mask_key).digest(length=_MASK_SIZE)


def _nonce(ordinal: int) -> bytes:
    return ordinal.to_bytes(12, "big")


def _object_key(master: bytes, salt: bytes, info: bytes) -> bytes:
    _check_salt(salt)
    return HKDF(algorithm=SHA256(), length=32, salt=salt, info=info).derive(master)


def _check_salt(salt: bytes) -> None:
    # A short salt would silently make two objects share a key, which GCM does not survive.
    if len(salt) != SALT_SIZE:
        raise ValueError("a salt has 32 bytes")


def _hkdf(dek: bytes, info: bytes, *, length: int = 32) -> bytes:
    return HKDF(algorithm=SHA256(), length=length, salt=None, info=info).derive(dek)
