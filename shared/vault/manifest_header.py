"""The plaintext head of a manifest: which point it is, in which vault, and the key slots.

Rule of the file: no key is needed here, so nothing that it returns is proven before the DEK has opened the manifest.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

import msgspec

from shared.decoders import json_decoder
from shared.errors import SkyharborError
from shared.vault.binary import VERSION, blamed_on

MAGIC = b"SKYPOINT"
HEAD = struct.Struct("<8sHHI32s")
_MAX_PLAIN = 1024 * 1024
MAX_HEADER = HEAD.size + _MAX_PLAIN
"""The plaintext part of a manifest is never longer."""


class PointHeader(msgspec.Struct, frozen=True, kw_only=True):
    """What a manifest says without a key: where it belongs, and how to unwrap the DEK with a passphrase."""

    vault: str
    machine: str
    item: str
    point: str
    slots: tuple[dict[str, str | int], ...] = ()


class OpenedHeader(NamedTuple):
    """A header, the salt of the manifest's key, and where the plaintext ends."""

    header: PointHeader
    salt: bytes
    plain_end: int


def open_header(data: bytes) -> OpenedHeader:
    """Take the head off a manifest (or its first ``MAX_HEADER`` bytes); ``object-damaged`` if it is not one."""
    if len(data) < HEAD.size:
        raise SkyharborError("object-damaged", "the manifest is cut short")
    magic, version, flags, length, salt = HEAD.unpack_from(data)
    if (magic, version, flags) != (MAGIC, VERSION, 0):
        raise SkyharborError("object-damaged", "the manifest does not begin as it must")
    end = HEAD.size + length
    if length > _MAX_PLAIN or end > len(data):
        raise SkyharborError("object-damaged", "the manifest's header does not fit into it")
    return OpenedHeader(json_decoder(PointHeader).decode(data[HEAD.size : end]), salt, end)


def read_point_slots(data: bytes) -> PointHeader:
    """Return the plaintext header of a manifest: no key needed, so nothing of it is proven before the DEK opens it."""
    with blamed_on("manifest"):
        return open_header(data).header
