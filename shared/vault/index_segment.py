"""The bytes of an index segment: a table of chunks as one encrypted object.

Rule of the file: the same columns as in memory, so that loading a million rows is a decryption and a few views.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator, Sequence

import numpy as np

from shared.crypto.domain_keys import DomainKeys
from shared.errors import SkyharborError
from shared.vault import layout
from shared.vault.binary import HEAD_SIZE, binding, blamed_on, pack_head, read_head
from shared.vault.chunk_table import ID_SIZE, SEGMENT_DTYPE, ChunkTable, PackInfo, split_ids
from shared.vault.compression import compress_sized, expand_sized
from shared.vault.pack_format import check_segments

MAGIC = b"SKYINDEX"
_COUNTS = struct.Struct("<III4x")
_PACK = struct.Struct("<32s32sQB7x")
_ROW = ID_SIZE + 12
_LEVEL = 1
_LIMIT = 2**31 - 1  # what one call of the cipher can take


def encode_index(table: ChunkTable, *, keys: DomainKeys, vault_id: str, machine_id: str) -> bytes:
    """Return the whole object for a table; two calls give different bytes, because the salt is random."""
    salt = os.urandom(32)
    head = pack_head(MAGIC, kind=0, vault_id=vault_id, salt=salt)
    body = compress_sized(table_bytes(table), _LEVEL)
    return head + keys.metadata_cipher(salt).seal(0, body, _aad(head, vault_id, machine_id))


def decode_index(data: bytes, *, name: str, keys: DomainKeys, vault_id: str, machine_id: str) -> ChunkTable:
    """Return the table of an index segment; ``object-damaged`` unless all of it is right."""
    with blamed_on(name):
        salt = read_head(data, MAGIC, kind=0, vault_id=vault_id)
        aad = _aad(data[:HEAD_SIZE], vault_id, machine_id)
        body = keys.metadata_cipher(salt).open(0, memoryview(data)[HEAD_SIZE:], aad)
        table = table_from(expand_sized(body, _LIMIT))
        check_segments(table)
        return table


def grouped(tables: Sequence[ChunkTable], *, most_rows: int) -> Iterator[list[ChunkTable]]:
    """Split tables, in order, into groups of at most so many rows each, or of one table."""
    group: list[ChunkTable] = []
    rows = 0
    for table in tables:
        if group and rows + len(table) > most_rows:
            yield group
            group, rows = [], 0
        group.append(table)
        rows += len(table)
    if group:
        yield group


def _aad(head: bytes, vault_id: str, machine_id: str) -> bytes:
    return binding(MAGIC, kind=0, vault_id=vault_id, extra=head + machine_id.encode())


def table_bytes(table: ChunkTable) -> bytes:
    """Return the plain columns of a table, as an index segment holds them and as processes of one worker tell them."""
    packs = b"".join(_pack_row(info) for info in table.packs)
    columns = (table.segment, table.raw_offset, table.raw_length)
    return b"".join(
        [
            _COUNTS.pack(len(table.packs), len(table.segments), len(table)),
            packs,
            table.segments.tobytes(),
            table.ids(),
            *(column.astype("<u4", copy=False).tobytes() for column in columns),
        ]
    )


def table_from(body: bytes) -> ChunkTable:
    """Return the table of ``table_bytes``; struct.error, ValueError or ``object-damaged`` for anything else."""
    pack_count, segment_count, rows = _COUNTS.unpack_from(body)
    segments_at = _COUNTS.size + _PACK.size * pack_count
    ids_at = segments_at + SEGMENT_DTYPE.itemsize * segment_count
    if len(body) != ids_at + _ROW * rows:
        raise SkyharborError("object-damaged", "the index's columns do not fit into it")
    packs = tuple(
        _pack_info(*_PACK.unpack_from(body, _COUNTS.size + _PACK.size * number)) for number in range(pack_count)
    )
    prefix, rest = split_ids(body[ids_at : ids_at + ID_SIZE * rows])
    if (prefix[1:] < prefix[:-1]).any():
        raise SkyharborError("object-damaged", "the index's rows are not sorted")
    words = np.frombuffer(body, dtype="<u4", offset=ids_at + ID_SIZE * rows).reshape(3, rows)
    return ChunkTable(
        packs=packs,
        segments=np.frombuffer(body, dtype=SEGMENT_DTYPE, offset=segments_at, count=segment_count).copy(),
        prefix=prefix,
        rest=np.ascontiguousarray(rest),
        # Copies, so that the table does not keep the whole body alive.
        segment=words[0].copy(),
        raw_offset=words[1].copy(),
        raw_length=words[2].copy(),
    )


def _pack_row(info: PackInfo) -> bytes:
    parsed = layout.parse_pack(info.name)
    if parsed is None:
        raise ValueError(f"{info.name} is not the name of a pack")
    return _PACK.pack(parsed[1], info.salt, info.size, parsed[0])


def _pack_info(sha256: bytes, salt: bytes, size: int, kind: int) -> PackInfo:
    return PackInfo(layout.pack_name(kind, sha256), salt, size)
