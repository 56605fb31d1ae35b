"""Positions, archives, increments and names, byte by byte."""

from __future__ import annotations

import io
import os
import struct
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.contracts.sources import slot_of
from shared.errors import SkyharborError
from workers.sources.postgres.dumps import file_name
from workers.sources.postgres.increments import BLOCK, apply
from workers.sources.postgres.lsn import parse_lsn, segment_name, segment_of, show_lsn
from workers.sources.postgres.recovery import label_of_combined
from workers.sources.postgres.sizes import parse_size
from workers.sources.postgres.tar_stream import Member, TarStream


@given(st.integers(0, 2**64 - 1), st.integers(1, 2**32 - 1), st.sampled_from([1 << 20, 16 << 20, 1 << 30]))
def test_positions_and_segments_are_the_same_after_their_texts(position: int, timeline: int, segment: int) -> None:
    assert parse_lsn(show_lsn(position)) == position
    assert segment_of(segment_name(timeline, position, segment), segment) == (timeline, position // segment * segment)


def test_segments_are_named_as_postgresql_names_them() -> None:
    assert segment_name(1, parse_lsn("0/16B3748"), 16 << 20) == "000000010000000000000001"
    assert segment_name(3, parse_lsn("2A/FF000028"), 16 << 20) == "000000030000002A000000FF"
    assert segment_name(1, parse_lsn("2A/C0000028"), 1 << 30) == "000000010000002A00000003"


def _archive(*members: tuple[str, bytes | None, str]) -> bytes:
    """Return an archive of (name, content, link target); a directory has no content and no target."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, content, target in members:
            info = tarfile.TarInfo(name)
            info.mode, info.uid, info.gid, info.mtime = 0o600, 26, 27, 1_700_000_000
            info.type = tarfile.SYMTYPE if target else tarfile.REGTYPE if content is not None else tarfile.DIRTYPE
            info.linkname, info.size = target, len(content or b"")
            tar.addfile(info, io.BytesIO(content or b""))
    return out.getvalue()


def _pieces(data: bytes, size: int) -> Callable[[], memoryview | None]:
    parts = iter([memoryview(data)[at : at + size] for at in range(0, len(data), size)])
    return lambda: next(parts, None)


@pytest.mark.parametrize("size", [1, 511, 512, 513, 100_000])
@pytest.mark.parametrize("read", [True, False])
def test_an_archive_in_pieces_of_any_size_gives_its_members_whether_they_are_read_or_not(size: int, read: bool) -> None:
    contents = {"a": b"", "base/1/259": os.urandom(8192), "odd": b"x" * 513}
    data = _archive(("pg_wal", None, ""), *[(n, c, "") for n, c in contents.items()], ("pg_tblspc/5", b"", "/srv/x"))
    archive, found = TarStream(_pieces(data, size)), dict[str, bytes]()
    members: list[Member] = []
    while (member := archive.next()) is not None:
        members.append(member)
        buffer = memoryview(bytearray(10_000))
        if read and member.size:
            found[member.name.decode()] = bytes(buffer[: archive.read_into(buffer)])
    assert [(m.name, m.kind, m.target) for m in members] == [
        (b"pg_wal", b"5", b""),
        *[(name.encode(), b"0", b"") for name in contents],
        (b"pg_tblspc/5", b"2", b"/srv/x"),
    ]
    assert (members[1].mode, members[1].uid, members[1].gid, members[1].mtime) == (0o600, 26, 27, 1_700_000_000)
    assert found == ({name: content for name, content in contents.items() if content} if read else {})


def test_an_archive_that_breaks_off_or_is_none_is_an_error() -> None:
    data = _archive(("base/1/259", os.urandom(8192), ""))
    for broken in (data[:3000], data[:100], b"?" + data[1:]):
        archive = TarStream(_pieces(broken, 512))
        with pytest.raises(SkyharborError) as caught:
            _read_all(archive)
        assert caught.value.code == "source-failed"


def _read_all(archive: TarStream) -> None:
    while archive.next() is not None:
        archive.read_into(memoryview(bytearray(10_000)))


def test_sizes_beyond_what_octal_digits_can_say_are_understood() -> None:
    header = bytearray(_archive(("big", b"", ""))[:512])
    header[124:136] = b"\x80" + (9 << 30).to_bytes(11, "big")
    header[148:156] = b"%06o\0 " % (sum(header[:148]) + 8 * 32 + sum(header[156:]))
    member = TarStream(_pieces(bytes(header), 512)).next()
    assert member is not None
    assert member.size == 9 << 30


def _increment(blocks: dict[int, bytes], length: int) -> bytes:
    head = struct.pack(f"<III{len(blocks)}I", 0xD3AE1F0D, len(blocks), length, *blocks)
    padded = head + bytes(-len(head) % BLOCK) if blocks else head
    return padded + b"".join(blocks.values())


def _applied(tmp_path: Path, base: bytes, *layers: bytes, piece: int = 1000) -> bytes:
    def pieces(data: bytes) -> Iterator[memoryview]:
        return iter([memoryview(data)[at : at + piece] for at in range(0, len(data), piece)])

    file = tmp_path / "file"
    file.write_bytes(base)
    fd = os.open(file, os.O_RDWR)
    try:
        apply(fd, (pieces(layer) for layer in layers), lambda: None)
    finally:
        os.close(fd)
    return file.read_bytes()


def _block(letter: str) -> bytes:
    return letter.encode() * BLOCK


def _letters(data: bytes) -> str:
    assert len(data) % BLOCK == 0
    return "".join(chr(data[at]) if data[at] else "." for at in range(0, len(data), BLOCK))


@pytest.mark.parametrize(
    ("base", "layers", "result"),
    [
        ("abc", [({}, 3)], "abc"),
        ("abc", [({1: "X"}, 3)], "aXc"),
        ("abc", [({}, 1)], "a"),  # cut off
        ("abc", [({2: "X"}, 1)], "a.X"),  # cut off, and grown again: what was behind is gone
        ("abc", [({}, 5)], "abc.."),  # grown by blocks that nobody has logged
        ("abc", [({4: "X"}, 3)], "abc.X"),
        ("abc", [({0: "X", 1: "X"}, 3), ({1: "Y"}, 3)], "XYc"),
        ("abc", [({3: "X"}, 3), ({}, 2)], "ab"),
        ("abc", [({}, 1), ({}, 3)], "abc"),  # only the newest one's length counts
        ("abc", [({2: "X"}, 2), ({0: "Y"}, 3)], "YbX"),
    ],
)
def test_increments_make_what_the_description_of_the_format_says(
    tmp_path: Path, base: str, layers: list[tuple[dict[int, str], int]], result: str
) -> None:
    files = [_increment({n: _block(letter) for n, letter in blocks.items()}, length) for blocks, length in layers]
    assert _letters(_applied(tmp_path, b"".join(map(_block, base)), *files)) == result


def test_what_is_no_increment_or_breaks_off_is_damage(tmp_path: Path) -> None:
    good = _increment({0: _block("X")}, 1)
    for bad in (b"\0" * 12, good[:-1], good[:10], struct.pack("<III", 0xD3AE1F0D, 1 << 20, 0)):
        with pytest.raises(SkyharborError) as caught:
            _applied(tmp_path, b"", bad)
        assert caught.value.code == "object-damaged"


def test_a_label_loses_only_what_makes_it_an_increments() -> None:
    label = b"START WAL LOCATION: 0/2000028\nINCREMENTAL FROM LSN: 0/1\nINCREMENTAL FROM TLI: 1\nLABEL: x\n"
    assert label_of_combined(label) == b"START WAL LOCATION: 0/2000028\nLABEL: x\n"


def test_a_dump_has_a_name_that_a_file_can_have_and_no_other_database_has() -> None:
    names = ["shop", "a/b", "a%2Fb", ".", "..", ".hidden"]
    files = [file_name(name) for name in names]
    assert files == [b"shop.dump", b"a%2Fb.dump", b"a%252Fb.dump", b"%2E.dump", b"%2E..dump", b"%2Ehidden.dump"]


def test_a_slot_is_named_after_its_item_in_letters_that_slots_may_have() -> None:
    assert slot_of("0b6f-AB") == "skyharbor_0b6f_ab"
    for odd in ("ü" * 10, "x" * 200):
        assert slot_of(odd).removeprefix("skyharbor_").isalnum()
        assert len(slot_of(odd)) <= 63


def test_sizes_are_read_as_postgresql_writes_them() -> None:
    assert [parse_size(text) for text in ("16MB", "1GB", "64kB", "512B", "7")] == [16 << 20, 1 << 30, 64 << 10, 512, 7]
    with pytest.raises(ValueError, match="-1"):
        parse_size("-1")
