"""The plaintext of a segment: several chunks that are compressed and encrypted together.

Rule of the file: codec u8, 3 zero bytes, number of chunks u32, one u32 length per chunk, payload; little-endian.
The payload is the chunks in order, raw or as one zstd frame, whichever is smaller by at least three per cent.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from typing_extensions import Buffer

from shared.errors import SkyharborError
from shared.vault.compression import compress_if_worth, expand

MAX_RAW = 64 * 1024 * 1024
"""Payload limit: what a reader is willing to hold for one segment. Writers stay between 1 and 8 MiB."""

_HEAD = struct.Struct("<B3xI")
_RAW, _ZSTD = 0, 1


class Encoded(NamedTuple):
    """A segment ready to be encrypted: its plaintext, the length of its payload and of each chunk."""

    plain: bytes
    raw: int
    lengths: tuple[int, ...]


class Decoded(NamedTuple):
    """A segment's payload and the length of each chunk in it, in order and without gaps."""

    payload: bytes
    lengths: tuple[int, ...]


def encode_segment(chunks: Sequence[Buffer], level: int, *, whole: memoryview | None = None) -> Encoded:
    """Join, compress and prove the chunks of one segment. ValueError when there are none or they exceed ``MAX_RAW``.

    ``whole`` spares the joining: the same bytes, where the caller has them one behind the other.
    """
    payload = b"".join(chunks) if whole is None else whole
    if not chunks or len(payload) > MAX_RAW:
        raise ValueError("a segment holds at least one chunk and at most MAX_RAW bytes")
    lengths = tuple(memoryview(chunk).nbytes for chunk in chunks)
    packed = compress_if_worth(payload, level)
    codec, body = (_RAW, payload) if packed is None else (_ZSTD, packed)
    head = _HEAD.pack(codec, len(lengths)) + np.asarray(lengths, dtype="<u4").tobytes()
    return Encoded(plain=head + body, raw=len(payload), lengths=lengths)


def decode_segment(plain: bytes, raw: int) -> Decoded:
    """Return payload and chunk lengths; ``raw`` is the payload's length as frame and directory state it.

    Raises ``object-damaged`` for anything that ``encode_segment`` would not have written.
    """
    if len(plain) < _HEAD.size or raw > MAX_RAW:
        raise SkyharborError("object-damaged", "a segment is cut short or too large")
    codec, count = _HEAD.unpack_from(plain)
    start = _HEAD.size + 4 * count
    if start > len(plain) or not count or plain[1:4] != b"\0\0\0":
        raise SkyharborError("object-damaged", "a segment's chunk table does not fit into it")
    lengths = tuple(np.frombuffer(plain, dtype="<u4", count=count, offset=_HEAD.size).tolist())
    if sum(lengths) != raw:
        raise SkyharborError("object-damaged", "a segment's chunk lengths do not add up")
    return Decoded(payload=_payload(codec, plain, start, raw), lengths=lengths)


def _payload(codec: int, plain: bytes, start: int, raw: int) -> bytes:
    if codec == _ZSTD:
        return expand(memoryview(plain)[start:], raw)
    if codec == _RAW and len(plain) - start == raw:
        return plain[start:]
    raise SkyharborError("object-damaged", "a segment's payload is not what its head says")
