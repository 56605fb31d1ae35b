"""The bytes of a pack: header, frames with segments, encrypted directory, trailer.

Rule of the file: building into a draft and taking apart in memory; no other storage. ``docs/format/vault-v1.md`` has
the byte tables.
"""

from __future__ import annotations

import hashlib
import os
import struct
from array import array
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from shared.crypto.domain_keys import TAG_SIZE, DomainKeys
from shared.errors import SkyharborError
from shared.storage.object_store import Draft
from shared.vault import layout
from shared.vault.binary import HEAD_SIZE, binding, pack_head
from shared.vault.chunk_table import ID_SIZE, SEGMENT_DTYPE, U32, ChunkTable, PackInfo, Segments, make_table
from shared.vault.compression import compress_sized, expand_sized
from shared.vault.segment import MAX_RAW, Encoded

MAGIC = b"SKYPACK1"
END_MAGIC = b"SKYPEND1"
FRAME = struct.Struct("<III4s")
FRAME_SIZE = FRAME.size  # 16
FRAME_MAGIC = b"SEG1"
TRAILER = struct.Struct("<II8s")
TRAILER_SIZE = TRAILER.size  # 16
DIRECTORY_ORDINAL = 2**32 - 1
MAX_PACK = 2**32 - 1

_COUNTS = struct.Struct("<II")
_DIRECTORY_LEVEL = 3


def segment_aad(kind: int, vault_id: str) -> bytes:
    """Return the additional data of a pack's segments."""
    return binding(MAGIC, kind=kind, vault_id=vault_id)


def directory_aad(kind: int, vault_id: str) -> bytes:
    """Return the additional data of a pack's directory."""
    return binding(END_MAGIC, kind=kind, vault_id=vault_id)


def xor16(data: bytes, mask: bytes) -> bytes:
    """Return 16 bytes combined with a mask: hides a frame, and shows it again."""
    return (int.from_bytes(data, "little") ^ int.from_bytes(mask, "little")).to_bytes(FRAME_SIZE, "little")


class PackBuilder:
    """A pack in the making. One thread at a time.

    Bytes go into the draft as they come; what is kept here are the columns of the directory, 40 bytes a chunk. Whoever
    has made a builder ends it, by ``finish`` or ``abort``.
    """

    def __init__(self, keys: DomainKeys, draft: Draft, *, vault_id: str, kind: int) -> None:
        self.size = 0
        self._keys, self._draft, self._vault_id, self._kind = keys, draft, vault_id, kind
        self._salt = os.urandom(32)
        self._cipher = keys.pack_cipher(self._salt)
        self._aad = segment_aad(kind, vault_id)
        self._digest = hashlib.sha256()
        self._segments: list[tuple[int, int, int, int, int]] = []
        self._counts = array("I")
        self._lengths = array("I")
        self._ids = bytearray()

    def add(self, ids: Sequence[bytes], segment: Encoded) -> None:
        """Encrypt a segment and append it; ``ids`` are those of its chunks, in order. Raises what ``put`` raises."""
        if not self.size:
            self._write(pack_head(MAGIC, kind=self._kind, vault_id=self._vault_id, salt=self._salt))
        ordinal = len(self._segments)
        sealed = self._cipher.seal(ordinal, segment.plain, self._aad)
        frame = FRAME.pack(len(sealed), segment.raw, ordinal, FRAME_MAGIC)
        self._segments.append((0, self.size, len(sealed), segment.raw, ordinal))
        self._counts.append(len(ids))
        self._lengths.extend(segment.lengths)
        self._ids += b"".join(ids)
        self._write(xor16(frame, self._keys.frame_mask(self._salt, ordinal)), sealed)

    def finish(self) -> FinishedPack:
        """Append directory and trailer, and make it the object that its bytes name. Raises what ``put`` raises.

        When it returns, the pack is durable. The builder must not be used afterwards.
        """
        segments = np.array(self._segments, dtype=SEGMENT_DTYPE)
        counts, lengths = np.array(self._counts, dtype="<u4"), np.array(self._lengths, dtype="<u4")
        ids = bytes(self._ids)
        plain = encode_directory(segments, counts, lengths, ids)
        sealed = self._cipher.seal(
            DIRECTORY_ORDINAL, compress_sized(plain, _DIRECTORY_LEVEL), directory_aad(self._kind, self._vault_id)
        )
        self._write(sealed, TRAILER.pack(len(sealed), len(segments), END_MAGIC))
        info = PackInfo(layout.pack_name(self._kind, self._digest.digest()), self._salt, self.size)
        self._draft.commit(info.name)
        return FinishedPack(info, directory_table(info, segments, counts, lengths, ids))

    def abort(self) -> None:
        """Leave nothing behind. Idempotent; nothing happens after ``finish``."""
        self._draft.abort()

    def _write(self, *parts: bytes) -> None:
        for part in parts:
            self._digest.update(part)
            self.size += len(part)
        self._draft.write(parts)


class FinishedPack(NamedTuple):
    """A durable pack: what it is, and what it holds."""

    info: PackInfo
    table: ChunkTable


def encode_directory(segments: Segments, counts: U32, lengths: U32, ids: bytes) -> bytes:
    """Return the columns of a directory: per segment offset, stored, raw and chunks; then all lengths and all ids."""
    columns = [segments[name].tobytes() for name in ("offset", "stored", "raw")]
    return b"".join([_COUNTS.pack(len(segments), len(lengths)), *columns, counts.tobytes(), lengths.tobytes(), ids])


def decode_directory(plain: bytes) -> tuple[Segments, U32, U32, bytes]:
    """Return segments (of pack 0), chunks per segment, chunk lengths and ids; ``object-damaged`` if they disagree."""
    if len(plain) < _COUNTS.size:
        raise SkyharborError("object-damaged", "the directory is cut short")
    segment_count, chunk_count = _COUNTS.unpack_from(plain)
    if len(plain) != _COUNTS.size + 16 * segment_count + (4 + ID_SIZE) * chunk_count:
        raise SkyharborError("object-damaged", "the directory's columns do not fit into it")
    words = np.frombuffer(plain, dtype="<u4", offset=_COUNTS.size, count=4 * segment_count + chunk_count)
    segments = np.zeros(segment_count, dtype=SEGMENT_DTYPE)
    for number, name in enumerate(("offset", "stored", "raw")):
        segments[name] = words[number * segment_count : (number + 1) * segment_count]
    segments["ordinal"] = np.arange(segment_count)
    counts, lengths = words[3 * segment_count : 4 * segment_count], words[4 * segment_count :]
    if int(counts.sum(dtype=np.uint64)) != chunk_count:
        raise SkyharborError("object-damaged", "the directory's chunk counts do not add up")
    return segments, counts, lengths, plain[_COUNTS.size + 4 * len(words) :]


def directory_table(info: PackInfo, segments: Segments, counts: U32, lengths: U32, ids: bytes) -> ChunkTable:
    """Return the table of one pack. Chunks lie in their segment in order and without gaps."""
    owner = np.repeat(np.arange(len(segments), dtype=np.uint32), counts)
    ends = np.cumsum(lengths, dtype=np.int64)
    first = np.cumsum(counts, dtype=np.int64) - counts
    before = np.concatenate([np.zeros(1, dtype=np.int64), ends])[first]
    offsets = ends - lengths - np.repeat(before, counts)
    return make_table([info], segments, ids, segment=owner, raw_offset=offsets.astype(np.uint32), raw_length=lengths)


def check_segments(table: ChunkTable) -> None:
    """Raise ``object-damaged`` unless every segment lies inside its pack and every chunk inside its segment."""
    segments = table.segments
    if len(segments) and int(segments["pack"].max()) >= len(table.packs):
        raise SkyharborError("object-damaged", "a segment belongs to no pack")
    if len(table) and int(table.segment.max()) >= len(segments):
        raise SkyharborError("object-damaged", "a chunk belongs to no segment")
    sizes = np.array([info.size for info in table.packs], dtype=np.int64)
    ends = segments["offset"].astype(np.int64) + segments["stored"] + FRAME_SIZE
    if (
        (segments["offset"] < HEAD_SIZE).any()
        or (segments["stored"] < TAG_SIZE).any()
        or (segments["raw"] > MAX_RAW).any()
        or (len(segments) and (ends > sizes[segments["pack"]]).any())
    ):
        raise SkyharborError("object-damaged", "a segment does not lie inside its pack")
    if (table.raw_offset.astype(np.int64) + table.raw_length > segments["raw"][table.segment]).any():
        raise SkyharborError("object-damaged", "a chunk does not lie inside its segment")


def open_directory(sealed: bytes, *, info: PackInfo, keys: DomainKeys, vault_id: str, kind: int) -> ChunkTable:
    """Return the table of a pack from its encrypted directory; ``object-damaged`` unless all of it is right."""
    packed = keys.pack_cipher(info.salt).open(DIRECTORY_ORDINAL, sealed, directory_aad(kind, vault_id))
    # A directory describes chunks that take room in the pack; 64 times the pack is far beyond any honest one.
    table = directory_table(info, *decode_directory(expand_sized(packed, 64 * info.size)))
    check_segments(table)
    return table
