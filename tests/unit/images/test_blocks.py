"""A file that was cut into blocks is read without asking where its chunks begin, and never wrongly for that."""

from __future__ import annotations

import os
import random
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import pytest

from shared.errors import SkyharborError
from shared.vault.chunk_table import Location
from shared.vault.entry import Entry
from shared.vault.reader import PointReader
from tests.support.disk_points import point_of
from tests.unit.engine.rig import Rig
from workers.images.chunk_cache import ChunkCache
from workers.images.image import Image, open_image
from workers.images.layout import Layout, Places

KIB = 1024


def image(path: Path) -> bytes:
    """Data, holes of several blocks, and an end that is no whole block."""
    random_ = random.Random(7)
    data = random_.randbytes(700 * KIB) + bytes(1300 * KIB) + random_.randbytes(513 * KIB + 77)
    path.write_bytes(data)
    return data


def the_file(reader: PointReader, name: bytes = b"disk0.raw") -> Entry:
    return next(reader.entries(name))


def opened(reader: PointReader, entry: Entry, *, keep: int = 64 << 20) -> Image:
    return open_image(entry, ChunkCache(reader.chunks, keep=keep), workload="vm")


@dataclass
class Asked:
    """Knows the places of chunks, and how many it was asked for."""

    places: Places
    asked: list[int] = field(default_factory=list)

    def find(self, ids: bytes) -> list[Location | None]:
        self.asked.append(len(ids))
        return self.places.find(ids)


@pytest.mark.parametrize("block", [4 * KIB, 64 * KIB, 256 * KIB, 1024 * KIB])
def test_bytes_at_any_offset_are_those_of_the_image(tmp_path: Path, block: int) -> None:
    data = image(tmp_path / "i")
    reader = point_of({"disk0.raw": tmp_path / "i"}, block=block)
    file = opened(reader, the_file(reader), keep=block * 3)
    random_ = random.Random(block)
    spans = [(random_.randrange(len(data)), random_.randrange(1, 900 * KIB)) for _ in range(200)]
    spans += [(0, len(data)), (len(data) - 1, 10), (len(data), 5), (1 << 64, 5), (0, 0), (700 * KIB - 1, 2)]
    wrong = [span for span in spans if file.read(*span) != data[span[0] : sum(span)]]
    assert (file.size, wrong) == (len(data), [])


@pytest.mark.parametrize("block", [4 * KIB, 64 * KIB, 256 * KIB])
def test_where_blocks_begin_is_known_without_asking_for_each_of_them(tmp_path: Path, block: int) -> None:
    image(tmp_path / "i")
    reader = point_of({"disk0.raw": tmp_path / "i"}, block=block)
    asked = Asked(reader.chunks)
    guess, known = Layout(the_file(reader), asked, blocks=True), Layout(the_file(reader), reader.chunks)
    assert (asked.asked, guess.guessed, known.guessed) == ([], True, False)
    assert list(guess.pieces(0, 4 << 20)) == list(known.pieces(0, 4 << 20))


def test_a_file_that_was_cut_by_content_is_read_the_same_way(tmp_path: Path) -> None:
    data = image(tmp_path / "i") + random.Random(8).randbytes(3 << 20)
    (tmp_path / "i").write_bytes(data)
    rig = Rig()
    rig.backup(str(tmp_path))
    reader = rig.reader()
    file = open_image(the_file(reader, os.fsencode(tmp_path / "i").strip(b"/")), ChunkCache(reader.chunks))
    spans = [(at, 130 * KIB) for at in range(0, len(data), 61 * KIB)]
    assert [file.read(*span) for span in spans] == [data[at : at + n] for at, n in spans]


def both_of(tmp_path: Path) -> tuple[PointReader, Entry, bytes]:
    """A file of two uneven chunks, as many as even ones would be."""
    first, second = os.urandom(3000), os.urandom(5192)
    (tmp_path / "a").write_bytes(first)
    (tmp_path / "b").write_bytes(second)
    reader = point_of({"a": tmp_path / "a", "b": tmp_path / "b"}, block=8 * KIB)
    a, b = the_file(reader, b"a"), the_file(reader, b"b")
    return reader, msgspec.structs.replace(a, size=8192, chunks=a.chunks + b.chunks, holes=()), first + second


def test_as_many_uneven_chunks_as_even_ones_would_be_are_noticed(tmp_path: Path) -> None:
    reader, both, data = both_of(tmp_path)
    assert Layout(both, reader.chunks, blocks=True).guessed
    file = opened(reader, both)
    assert (file.read(2990, 20), file.read(0, 8192), file.read(5000, 9)) == (data[2990:3010], data, data[5000:5009])


def test_a_file_of_no_machine_is_never_guessed_at(tmp_path: Path) -> None:
    """Its chunks in the middle could be as long as blocks are, and begin elsewhere."""
    third = os.urandom(5192)
    parts = [os.urandom(3000), os.urandom(4096), third]
    for name, part in zip("abc", parts, strict=True):
        (tmp_path / name).write_bytes(part)
    reader = point_of({name: tmp_path / name for name in "abc"}, block=8 * KIB)
    entries = [the_file(reader, name.encode()) for name in "abc"]
    whole = msgspec.structs.replace(entries[0], size=12288, chunks=b"".join(one.chunks for one in entries), holes=())
    file = open_image(whole, ChunkCache(reader.chunks))
    assert file.read(4096, 4096) == b"".join(parts)[4096:8192]


def test_holes_are_known_without_the_vault(tmp_path: Path) -> None:
    image(tmp_path / "i")
    reader = point_of({"disk0.raw": tmp_path / "i"}, block=64 * KIB)
    file, before = opened(reader, the_file(reader)), reader.bytes_read
    asked = ((704 * KIB, 64 * KIB), (700 * KIB, 64 * KIB), (0, 1))
    answers = [all(hole for _, _, hole in file.extents(offset, length)) for offset, length in asked]
    assert (answers, file.read(800 * KIB, 100 * KIB), reader.bytes_read) == (
        [True, False, False],
        bytes(100 * KIB),
        before,
    )


def test_chunks_that_do_not_fill_the_file_are_damage(tmp_path: Path) -> None:
    (tmp_path / "i").write_bytes(os.urandom(1 << 20))
    reader = point_of({"disk0.raw": tmp_path / "i"})
    entry = the_file(reader)
    codes = []
    for wrong in (
        msgspec.structs.replace(entry, chunks=entry.chunks[32:]),
        msgspec.structs.replace(entry, size=entry.size - 1),
        msgspec.structs.replace(entry, holes=((entry.size, 5),)),
    ):
        with pytest.raises(SkyharborError) as caught:
            opened(reader, wrong).read(0, wrong.size)
        codes.append(caught.value.code)
    assert codes == ["object-damaged"] * 3


def test_a_block_that_is_lost_is_an_error_about_its_bytes_alone(tmp_path: Path) -> None:
    data = image(tmp_path / "i")
    reader = point_of({"disk0.raw": tmp_path / "i"}, block=64 * KIB)
    entry = the_file(reader)
    entry.chunks = entry.chunks[:32] + bytes(64) + entry.chunks[96:]
    file = opened(reader, entry)
    with pytest.raises(SkyharborError, match="no readable pack"):
        file.read(100 * KIB, 1)
    assert (file.read(0, 64 * KIB), file.read(192 * KIB, 1 << 20)) == (data[: 64 * KIB], data[192 * KIB :][: 1 << 20])
