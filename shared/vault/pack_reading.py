"""Finding out what a stored pack holds: by its directory, or frame by frame when the directory is damaged.

Rule of the file: a directory is believed only when it authenticates; a scan recomputes every id from the chunk itself,
so that what it finds is right whatever happened to the rest of the pack.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator

import numpy as np

from shared.crypto.domain_keys import TAG_SIZE, DomainKeys
from shared.errors import SkyharborError
from shared.storage.object_store import ObjectStore
from shared.vault import layout
from shared.vault.binary import HEAD_SIZE, blamed_on, read_head
from shared.vault.chunk_table import SEGMENT_DTYPE, ChunkTable, PackInfo
from shared.vault.pack_format import (
    END_MAGIC,
    FRAME,
    FRAME_MAGIC,
    FRAME_SIZE,
    MAGIC,
    TRAILER,
    TRAILER_SIZE,
    directory_table,
    open_directory,
    segment_aad,
    xor16,
)
from shared.vault.segment import Decoded, decode_segment

_TAIL = 64 * 1024
_PART = 8 * 1024 * 1024
_LOST_IN_A_ROW = 64
"""A scan looks this many ordinals ahead before it gives up: so many neighbouring segments may be damaged."""


def read_directory(store: ObjectStore, name: str, size: int, *, keys: DomainKeys, vault_id: str) -> ChunkTable:
    """Return what a pack of this exact size holds, from its directory: two or three small reads.

    Raises ``object-damaged`` when header, directory or trailer is not right, ``object-missing`` when it is gone.
    """
    with blamed_on(name):
        return _directory(
            lambda offset, length: store.get(name, offset=offset, length=length),
            name,
            size,
            keys=keys,
            vault_id=vault_id,
        )


def _directory(
    read: Callable[[int, int], bytes], name: str, size: int, *, keys: DomainKeys, vault_id: str
) -> ChunkTable:
    kind, _ = _parsed(name)
    if size < HEAD_SIZE + TRAILER_SIZE:
        raise SkyharborError("object-damaged", "the pack is cut short")
    salt = read_head(read(0, HEAD_SIZE), MAGIC, kind=kind, vault_id=vault_id)
    tail_start = max(HEAD_SIZE, size - _TAIL)
    tail = read(tail_start, size - tail_start)
    if len(tail) != size - tail_start:
        raise SkyharborError("object-damaged", "the pack does not have its size")
    length, count, magic = TRAILER.unpack(tail[-TRAILER_SIZE:])
    if magic != END_MAGIC or not TAG_SIZE <= length <= size - HEAD_SIZE - TRAILER_SIZE:
        raise SkyharborError("object-damaged", "the pack does not end as it must")
    start = size - TRAILER_SIZE - length
    sealed = tail[start - tail_start : -TRAILER_SIZE] if start >= tail_start else read(start, length)
    table = open_directory(sealed, info=PackInfo(name, salt, size), keys=keys, vault_id=vault_id, kind=kind)
    if len(table.segments) != count:
        raise SkyharborError("object-damaged", "trailer and directory disagree")
    return table


def scan_frames(store: ObjectStore, name: str, size: int, *, keys: DomainKeys, vault_id: str) -> ChunkTable:
    """Return what can be found in a pack without its directory: reads all of it, skips damaged segments.

    Raises ``object-damaged`` when the header (which carries the salt) is not right, ``object-missing`` when it is gone.
    """
    with blamed_on(name):
        return _scan(store.get(name, length=size), name, size, keys=keys, vault_id=vault_id)


def prove_pack(
    store: ObjectStore, name: str, size: int, *, keys: DomainKeys, vault_id: str, on_read: Callable[[int], None]
) -> None:
    """Read all of a pack, once, and raise ``object-damaged`` unless its name, its segments and its directory agree.

    ``on_read`` is told the size of every part (8 MiB at most) that came, and may raise. Raises ``object-missing`` when
    the pack is gone. Memory: the pack.
    """
    with blamed_on(name):
        parts: list[bytes] = []
        for offset in range(0, size, _PART):
            parts.append(store.get(name, offset=offset, length=min(_PART, size - offset)))
            on_read(len(parts[-1]))
        data = b"".join(parts)
        _, digest = _parsed(name)
        if hashlib.sha256(data).digest() != digest:
            raise SkyharborError("object-damaged", "the SHA-256 of its bytes is not its name")
        said = _directory(
            lambda offset, length: data[offset : offset + length], name, size, keys=keys, vault_id=vault_id
        )
        found = _scan(data, name, size, keys=keys, vault_id=vault_id)
        columns = ("segments", "prefix", "rest", "segment", "raw_offset", "raw_length")
        if not all(np.array_equal(getattr(said, column), getattr(found, column)) for column in columns):
            raise SkyharborError("object-damaged", "its directory is not what its segments hold")


def _scan(data: bytes, name: str, size: int, *, keys: DomainKeys, vault_id: str) -> ChunkTable:
    kind, _ = _parsed(name)
    salt = read_head(data, MAGIC, kind=kind, vault_id=vault_id)
    rows: list[tuple[int, int, int, int, int]] = []
    counts: list[int] = []
    lengths: list[int] = []
    ids: list[bytes] = []
    for row, segment in _segments(data, salt, kind=kind, keys=keys, vault_id=vault_id):
        rows.append(row)
        counts.append(len(segment.lengths))
        lengths += segment.lengths
        ids += (keys.chunk_id(chunk) for chunk in split(segment))
    return directory_table(
        PackInfo(name, salt, size),
        np.array(rows, dtype=SEGMENT_DTYPE),
        np.array(counts, dtype="<u4"),
        np.array(lengths, dtype="<u4"),
        b"".join(ids),
    )


def split(segment: Decoded) -> Iterator[memoryview]:
    """Yield the chunks of a segment, without copying."""
    view, start = memoryview(segment.payload), 0
    for length in segment.lengths:
        yield view[start : start + length]
        start += length


def _parsed(name: str) -> tuple[int, bytes]:
    parsed = layout.parse_pack(name)
    if parsed is None:
        raise SkyharborError("object-damaged", "this is not the name of a pack")
    return parsed


def _segments(
    data: bytes, salt: bytes, *, kind: int, keys: DomainKeys, vault_id: str
) -> Iterator[tuple[tuple[int, int, int, int, int], Decoded]]:
    """Yield every segment that authenticates, with its row of a segment table (of pack 0)."""
    cipher, aad = keys.pack_cipher(salt), segment_aad(kind, vault_id)
    view, position, ordinal = memoryview(data), HEAD_SIZE, 0
    while (found := _next_frame(data, position, ordinal, salt, keys)) is not None:
        position, ordinal = found
        stored, raw, _, _ = FRAME.unpack(xor16(data[position : position + FRAME_SIZE], keys.frame_mask(salt, ordinal)))
        begin = position + FRAME_SIZE
        try:
            plain = cipher.open(ordinal, view[begin : begin + stored], aad)
            yield (0, position, stored, raw, ordinal), decode_segment(plain, raw)
            position = begin + stored
        except SkyharborError:
            position += 1  # neither the frame's length nor what follows can be trusted: look for the next frame
        ordinal += 1


def _next_frame(data: bytes, position: int, ordinal: int, salt: bytes, keys: DomainKeys) -> tuple[int, int] | None:
    """Return where the next frame begins and its ordinal: right here, or after damage wherever it is found again."""
    for candidate in range(ordinal, ordinal + _LOST_IN_A_ROW):
        # Ordinal and magic are known, and so is their mask: eight bytes to search for.
        known = FRAME.pack(0, 0, candidate, FRAME_MAGIC)
        at = data.find(xor16(known, keys.frame_mask(salt, candidate))[8:], position + 8)
        if at >= 0:
            return at - 8, candidate
    return None
