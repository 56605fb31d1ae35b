"""A file of a point, read at any offset."""

from __future__ import annotations

import os
import random
from pathlib import Path

import msgspec
import pytest

from shared.errors import SkyharborError
from shared.storage.memory import MemoryStore
from shared.vault.entry import Entry
from shared.vault.reader import PointReader
from shared.vault.vault import create_vault, open_vault
from tests.support.disk_points import point_of
from tests.unit.engine.rig import Rig
from workers.disks.point_file import PointFile

KIB = 1024


def image(path: Path) -> bytes:
    """Data, holes of several blocks, and an end that is no whole block."""
    random_ = random.Random(7)
    data = random_.randbytes(700 * KIB) + bytes(1300 * KIB) + random_.randbytes(513 * KIB + 77)
    path.write_bytes(data)
    return data


def the_file(reader: PointReader, name: bytes = b"disk0.raw") -> Entry:
    return next(reader.entries(name))


@pytest.mark.parametrize("block", [4 * KIB, 64 * KIB, 256 * KIB, 1024 * KIB])
def test_bytes_at_any_offset_are_those_of_the_image(tmp_path: Path, block: int) -> None:
    data = image(tmp_path / "i")
    file = PointFile(reader := point_of({"disk0.raw": tmp_path / "i"}, block=block), the_file(reader), keep=block * 3)
    random_ = random.Random(block)
    spans = [(random_.randrange(len(data)), random_.randrange(1, 900 * KIB)) for _ in range(200)]
    spans += [(0, len(data)), (len(data) - 1, 10), (len(data), 5), (0, 0), (700 * KIB - 1, 2)]
    wrong = [span for span in spans if file.read(*span) != data[span[0] : sum(span)]]
    assert (file.size, wrong, file._block) == (len(data), [], block)


def test_a_file_that_was_cut_by_content_is_read_the_same_way(tmp_path: Path) -> None:
    data = image(tmp_path / "i") + os.urandom(3 << 20)
    (tmp_path / "i").write_bytes(data)
    rig = Rig()
    rig.backup(str(tmp_path))
    reader = rig.reader()
    file = PointFile(reader, the_file(reader, os.fsencode(tmp_path / "i").strip(b"/")))
    spans = [(at, 130 * KIB) for at in range(0, len(data), 61 * KIB)]
    assert ([file.read(*span) for span in spans], file._block) == ([data[at : at + n] for at, n in spans], 0)


def test_as_many_uneven_chunks_as_even_ones_would_be_are_noticed(tmp_path: Path) -> None:
    first, second = os.urandom(3000), os.urandom(5192)
    (tmp_path / "a").write_bytes(first)
    (tmp_path / "b").write_bytes(second)
    reader = point_of({"a": tmp_path / "a", "b": tmp_path / "b"}, block=8 * KIB)
    a, b = the_file(reader, b"a"), the_file(reader, b"b")
    both = msgspec.structs.replace(a, size=8192, chunks=a.chunks + b.chunks, holes=())
    file = PointFile(reader, both)
    assert (file._block, file.read(2990, 20), file.read(0, 8192), file._block) == (
        4096, (first + second)[2990:3010], first + second, 0,
    )  # fmt: skip


def test_holes_are_known_without_the_vault(tmp_path: Path) -> None:
    image(tmp_path / "i")
    reader = point_of({"disk0.raw": tmp_path / "i"}, block=64 * KIB)
    file, before = PointFile(reader, the_file(reader)), reader.bytes_read
    answers = [
        file.is_hole(offset, length) for offset, length in ((704 * KIB, 64 * KIB), (700 * KIB, 64 * KIB), (0, 1))
    ]
    assert (answers, file.read(800 * KIB, 100 * KIB), reader.bytes_read) == (
        [True, False, False],
        bytes(100 * KIB),
        before,
    )


def test_memory_is_bounded_by_what_may_be_kept(tmp_path: Path) -> None:
    (tmp_path / "i").write_bytes(os.urandom(4 << 20))
    file = PointFile(reader := point_of({"disk0.raw": tmp_path / "i"}), the_file(reader), keep=1 << 20)
    for at in range(0, 4 << 20, 64 * KIB):
        file.read(at, 64 * KIB)
    assert sum(map(len, file._kept.values())) <= 1 << 20


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
            PointFile(reader, wrong).read(0, wrong.size)
        codes.append(caught.value.code)
    assert codes == ["object-damaged"] * 3


def test_a_chunk_that_is_lost_is_an_error_of_the_vault(tmp_path: Path) -> None:
    (tmp_path / "i").write_bytes(os.urandom(1 << 20))
    store = MemoryStore()
    create_vault(store, name="t")
    vault = open_vault(store)
    from tests.support.disk_points import open_point, seal_disks

    reader = open_point(vault, seal_disks(vault, {"disk0.raw": tmp_path / "i"}))
    entry = the_file(reader)
    for pack in [info.name for info in store.list("") if "pack" in info.name or "/d" in info.name]:
        if not pack.startswith(("points", "index", "machines", "vault")):
            store.delete(pack)
    with pytest.raises(SkyharborError) as caught:
        PointFile(reader, entry).read(0, 10)
    assert caught.value.code in ("object-missing", "object-damaged")
