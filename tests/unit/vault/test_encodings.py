"""Every encoding gives back what it was given, and nothing else makes it fall over."""

from __future__ import annotations

import os

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shared.errors import SkyharborError
from shared.vault import layout
from shared.vault.chunk_table import SEGMENT_DTYPE
from shared.vault.compression import compress_sized, expand, expand_sized
from shared.vault.entry import Entry, sort_key
from shared.vault.layout import PointName
from shared.vault.manifest import Manifest, decode_manifest, encode_manifest, read_point_slots
from shared.vault.pack_format import decode_directory, encode_directory
from shared.vault.pages import decode_columns, encode_page
from shared.vault.point import PackRef, PageRef
from shared.vault.segment import decode_segment, encode_segment
from tests.unit.vault.bench import ITEM, KEYS, MACHINE, SLOTS, body, outcome_of, point_id

VAULT_ID = "7d7f3a52-9d11-4b8e-9d20-000000000001"
POINT = PointName(MACHINE, ITEM, point_id(1))

i64 = st.integers(-(2**63), 2**63 - 1)
u64 = st.integers(0, 2**64 - 1)
u32 = st.integers(0, 2**32 - 1)
names = st.binary(min_size=1, max_size=20).filter(lambda name: b"\0" not in name)
entries = st.builds(
    Entry,
    path=names,
    kind=st.integers(1, 7),
    mode=st.integers(0, 0o7777),
    uid=u32,
    gid=u32,
    size=st.integers(0, 2**63 - 1),
    mtime_ns=i64,
    ctime_ns=i64,
    device=u64,
    inode=u64,
    chunks=st.integers(0, 3).map(lambda count: os.urandom(32 * count)),
    target=st.binary(max_size=10).filter(lambda target: b"\0" not in target),
    rdev=u64,
    link=st.binary(max_size=10),
    xattrs=st.lists(st.tuples(names, st.binary(max_size=9)), max_size=2).map(tuple),
    holes=st.lists(st.tuples(st.integers(0, 2**62), st.integers(0, 2**62)), max_size=2).map(tuple),
)


@given(st.lists(entries, min_size=1, max_size=20))
def test_a_page_gives_back_every_field_of_every_entry(page: list[Entry]) -> None:
    assert decode_columns(encode_page(page)).entries() == page


@given(st.lists(entries, min_size=1, max_size=5))
def test_equal_entries_make_equal_pages(page: list[Entry]) -> None:
    assert encode_page(page) == encode_page(decode_columns(encode_page(page)).entries())


@given(st.lists(st.binary(max_size=300), min_size=1, max_size=20))
@example([b""])
@example([b"a" * 100_000, b"", b"b"])
def test_a_segment_gives_back_its_chunks(chunks: list[bytes]) -> None:
    encoded = encode_segment(chunks, 3)
    decoded = decode_segment(encoded.plain, encoded.raw)
    assert (decoded.payload, list(decoded.lengths)) == (b"".join(chunks), [len(chunk) for chunk in chunks])


def test_what_does_not_compress_is_stored_as_it_is() -> None:
    noise = os.urandom(100_000)
    assert encode_segment([noise], 3).plain[0:1] == b"\0"
    assert len(encode_segment([noise], 3).plain) == len(noise) + 8 + 4


def test_what_compresses_is_stored_compressed() -> None:
    assert len(encode_segment([b"harbor" * 10_000], 3).plain) < 1_000


@given(st.binary(max_size=200), st.integers(0, 2**32))
def test_any_bytes_as_a_segment_are_refused_or_fit(data: bytes, raw: int) -> None:
    decoded = outcome_of(lambda: decode_segment(data, raw))
    if isinstance(decoded, SkyharborError):
        assert decoded.code == "object-damaged"
    else:
        assert sum(decoded.lengths) == len(decoded.payload) == raw


def test_a_segment_whose_lengths_do_not_add_up_is_refused() -> None:
    encoded = encode_segment([b"ab", b"c"], 3)
    longer = bytearray(encoded.plain)
    longer[8] += 1
    with pytest.raises(SkyharborError, match="add up"):
        decode_segment(bytes(longer), encoded.raw)


@given(st.binary(max_size=200))
def test_any_bytes_as_a_page_are_refused_or_entries(data: bytes) -> None:
    decoded = outcome_of(lambda: decode_columns(data).entries())
    assert isinstance(decoded, list) or decoded.code == "object-damaged"


@given(st.binary(max_size=300))
def test_any_bytes_as_a_directory_are_refused_or_add_up(data: bytes) -> None:
    decoded = outcome_of(lambda: decode_directory(data))
    if isinstance(decoded, SkyharborError):
        assert decoded.code == "object-damaged"
    else:
        _, counts, lengths, ids = decoded
        assert len(ids) == 32 * len(lengths) == 32 * int(counts.sum())


@given(st.lists(st.lists(st.integers(0, 1000), min_size=1, max_size=4), max_size=5))
def test_a_directory_gives_back_its_columns(shape: list[list[int]]) -> None:
    segments = np.zeros(len(shape), dtype=SEGMENT_DTYPE)
    segments["offset"] = [64 + 1000 * number for number in range(len(shape))]
    segments["stored"], segments["raw"] = 500, [sum(lengths) for lengths in shape]
    segments["ordinal"] = range(len(shape))
    counts = np.array([len(lengths) for lengths in shape], dtype="<u4")
    lengths = np.array([length for one in shape for length in one], dtype="<u4")
    ids = os.urandom(32 * len(lengths))
    decoded = decode_directory(encode_directory(segments, counts, lengths, ids))
    assert [column.tolist() for column in decoded[:3]] == [segments.tolist(), counts.tolist(), lengths.tolist()]
    assert decoded[3] == ids


def test_a_block_that_claims_a_huge_size_is_refused_before_it_is_made() -> None:
    bomb = compress_sized(bytes(50_000_000), 3)
    with pytest.raises(SkyharborError, match="absurd") as caught:
        expand_sized(bomb, 1_000_000)
    assert caught.value.code == "object-damaged"


def test_a_block_whose_frame_claims_another_size_is_refused() -> None:
    with pytest.raises(SkyharborError, match="declared size"):
        expand(compress_sized(bytes(50_000_000), 3)[8:], 10)


@given(st.lists(st.tuples(names, st.integers(1, 3)), max_size=5), st.integers(0, 2**32 - 1))
def test_a_manifest_gives_back_its_content(pages: list[tuple[bytes, int]], size: int) -> None:
    manifest = Manifest(
        body=body(bytes=size, stats={"files": 7}),
        pages=tuple(PageRef(first, os.urandom(32 * count), 5) for first, count in pages),
        packs=(PackRef(layout.pack_name(layout.KIND_DATA, bytes(32)), size),),
    )
    data = encode_manifest(manifest, vault_id=VAULT_ID, point=POINT, slots=SLOTS, keys=KEYS)
    assert decode_manifest(data, vault_id=VAULT_ID, point=POINT, keys=KEYS) == manifest


def test_a_manifest_tells_its_slots_without_a_key() -> None:
    manifest = Manifest(body=body(), pages=(), packs=())
    data = encode_manifest(manifest, vault_id=VAULT_ID, point=POINT, slots=SLOTS, keys=KEYS)
    header = read_point_slots(data)
    assert (header.vault, header.machine, header.item, header.point) == (VAULT_ID, *POINT)
    assert header.slots == tuple(SLOTS)


@given(st.binary(max_size=200))
def test_any_bytes_as_a_manifest_are_refused(data: bytes) -> None:
    with pytest.raises(SkyharborError) as caught:
        read_point_slots(b"SKYPOINT" + data)
    assert caught.value.code == "object-damaged"


def test_a_manifest_of_another_point_is_refused() -> None:
    manifest = Manifest(body=body(), pages=(), packs=())
    data = encode_manifest(manifest, vault_id=VAULT_ID, point=POINT, slots=SLOTS, keys=KEYS)
    with pytest.raises(SkyharborError, match="another point"):
        decode_manifest(data, vault_id=VAULT_ID, point=POINT._replace(point_id=point_id(2)), keys=KEYS)


def test_paths_sort_by_component_with_a_directory_before_its_content() -> None:
    paths = [b"a!", b"a/b", b"a", b"a/b/c", b"a/bc", b"b"]
    assert sorted(paths, key=sort_key) == [b"a", b"a/b", b"a/b/c", b"a/bc", b"a!", b"b"]
