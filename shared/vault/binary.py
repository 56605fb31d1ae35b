"""What all objects with a binary header have in common: checked heads and one word for everything that is wrong.

Rule of the file: an object that is not exactly what its format says is ``object-damaged``, with its name.
"""

from __future__ import annotations

import struct
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec

from shared.errors import SkyharborError

VERSION = 1
HEAD = struct.Struct("<8sHBB4x16s32s")
HEAD_SIZE = HEAD.size  # 64

UNREADABLE = (
    ValueError,  # also text that is not UTF-8
    struct.error,
    IndexError,
    KeyError,
    TypeError,
    OverflowError,  # a number that no column can hold
    RecursionError,  # nested deeper than anything that was ever written
    msgspec.MsgspecError,
)
"""Everything that decoding raises when bytes are not what they must be."""


@contextmanager
def blamed_on(name: str) -> Iterator[None]:
    """Turn every decoding failure inside into ``object-damaged`` that names the object."""
    try:
        yield
    except SkyharborError as error:
        if error.code != "object-damaged":
            raise
        raise SkyharborError("object-damaged", f"{name}: {error.detail}", object=name) from None
    except UNREADABLE as error:
        raise SkyharborError("object-damaged", f"{name}: {error}", object=name) from None


def pack_head(magic: bytes, *, kind: int, vault_id: str, salt: bytes) -> bytes:
    """Return the 64 bytes at the beginning of a pack or an index segment."""
    return HEAD.pack(magic, VERSION, kind, 0, uuid.UUID(vault_id).bytes, salt)


def read_head(data: bytes, magic: bytes, *, kind: int, vault_id: str) -> bytes:
    """Return the salt of a head, after checking everything else in it.

    Raises ``object-damaged`` for anything that differs: a newer format announces itself in ``vault.json``.
    """
    if len(data) < HEAD_SIZE:
        raise SkyharborError("object-damaged", "the object is cut short")
    found, version, found_kind, flags, vault, salt = HEAD.unpack_from(data)
    if found != magic or data[12:16] != bytes(4):
        raise SkyharborError("object-damaged", "the object does not begin as it must")
    if (version, flags) != (VERSION, 0):
        raise SkyharborError(
            "object-damaged", f"the object has version {version} and flags {flags}, this reader knows 1 and 0"
        )
    if found_kind != kind or vault != uuid.UUID(vault_id).bytes:
        raise SkyharborError("object-damaged", "the object belongs somewhere else")
    return bytes(salt)


def binding(magic: bytes, *, kind: int, vault_id: str, extra: bytes = b"") -> bytes:
    """Return the additional data that ties ciphertext to format, vault, kind and version."""
    return magic + uuid.UUID(vault_id).bytes + bytes([kind]) + VERSION.to_bytes(2, "little") + extra
