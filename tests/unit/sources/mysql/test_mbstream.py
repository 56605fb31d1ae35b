"""The stream of mariabackup is read to the byte, or not at all; the judge is the program that comes with it."""

from __future__ import annotations

import io
import os
import random
import resource
import shutil
import struct
import subprocess
from pathlib import Path

import pytest

from shared.errors import SkyharborError
from tests.unit.sources.mysql.streams import (
    as_unpacked,
    end,
    head,
    payload,
    remove,
    rename,
    seek,
    unraveled,
)
from workers.sources.mysql.mbstream import Data, MbstreamReader
from workers.sources.mysql.unraveling import Unraveled

needs_mbstream = pytest.mark.skipif(
    shutil.which("mbstream") is None, reason="needs mbstream, of the package mariadb-backup"
)


def by_mbstream(stream: bytes, folder: Path) -> dict[str, bytes] | None:
    """What ``mbstream -x`` makes of it; None when it refuses."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    done = subprocess.run(
        ["mbstream", "-x", "-C", str(folder)], input=stream, capture_output=True, timeout=60, check=False
    )
    if done.returncode:
        return None
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


BIG = os.urandom(3 * 1024 * 1024 + 17)
STREAM = b"".join(
    [
        payload(b"ib_logfile0", 0, b"redo-1"),
        payload(b"d/a.ibd", 0, BIG[:1500000]),
        payload(b"ib_logfile0", 6, b"redo-2"),
        payload(b"d/b.frm", 0, b"beside"),
        payload(b"d/a.ibd", 1500000, BIG[1500000:]),
        end(b"d/b.frm"),
        end(b"d/a.ibd"),
        end(b"d/empty"),
        payload(b"d/holes.ibd", 0, b"x" * 10),
        seek(b"d/holes.ibd", 5000000),
        payload(b"d/holes.ibd", 5000000, b"y"),
        end(b"d/holes.ibd"),
        payload(b"d/m1.MYD", 0, b"old"),
        end(b"d/m1.MYD"),
        rename(b"d/m1.MYD", b"d/m2.MYD"),
        rename(b"d/never.MYD", b"d/ever.MYD"),
        remove(b"d/never.MYI"),
        payload(b"d/m1.MYD", 0, b"new"),
        end(b"d/m1.MYD"),
        payload(b"d/m2.MYD", 0, b"rewritten", flags=2),
        end(b"d/m2.MYD"),
        payload(b"d/gone.MYD", 0, b"gone"),
        end(b"d/gone.MYD"),
        remove(b"d/gone.MYD"),
        end(b"ib_logfile0"),
    ]
)


@needs_mbstream
def test_files_are_what_mbstream_makes_of_them(tmp_path: Path) -> None:
    expected = by_mbstream(STREAM, tmp_path / "x")
    assert expected is not None
    assert expected["d/a.ibd"] == BIG
    assert as_unpacked(STREAM, tmp_path) == expected


@pytest.mark.parametrize("most", [1, 7, 4096])
def test_it_does_not_matter_in_what_pieces_a_stream_comes(tmp_path: Path, most: int) -> None:
    stream = b"".join(
        [payload(b"a", 0, b"12345"), payload(b"b", 0, b"6"), end(b"a"), payload(b"b", 1, b"7"), end(b"b")]
    )
    assert unraveled(stream, tmp_path, most=most)[0] == [("a", b"12345"), ("b", b"67")]


def test_a_tablespace_passes_while_the_redo_log_waits(tmp_path: Path) -> None:
    found, _ = unraveled(STREAM, tmp_path)
    assert [name for name, _ in found][:2] == ["d/a.ibd", "d/b.frm"]
    assert found[-1] == ("ib_logfile0", b"redo-1redo-2")


def test_a_file_that_nobody_wants_to_read_is_passed_over(tmp_path: Path) -> None:
    source = io.BytesIO(STREAM)
    files = Unraveled(MbstreamReader(source.readinto), str(tmp_path))
    names = [name.decode() for name, _ in files.files()]
    assert names == [name for name, _ in unraveled(STREAM, tmp_path)[0]]


def test_no_path_is_passed_on_twice(tmp_path: Path) -> None:
    found, files = unraveled(STREAM, tmp_path)
    names = [name for name, _ in found]
    assert len(names) == len(set(names))
    assert files.names == {
        "d/gone.MYD": None,
        "d/m1.MYD": None,
        "d/m1.MYD.again-1": "d/m1.MYD",
    }


def test_nothing_is_left_in_the_folder_where_things_wait(tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.mkdir()
    unraveled(STREAM, own)
    assert list(own.iterdir()) == []


@pytest.mark.parametrize(
    ("stream", "what"),
    [
        (payload(b"a", 0, b"1"), "ends before"),
        (payload(b"a", 0, b"1")[:-1], "breaks off"),
        (end(b"a")[:-1], "breaks off"),
        (b"XBSTCK0", "breaks off"),
        (b"XBSTCK02" + end(b"a")[8:], "no chunk"),
        (payload(b"a", 1, b"1") + end(b"a"), "missing"),
        (payload(b"a", 0, b"11") + payload(b"a", 1, b"1") + end(b"a"), "missing"),
        (payload(b"a", 0, b"1") + end(b"a") + end(b"a"), "twice"),
        (head(b"X", b"a"), "not known"),
        (head(b"X", b"a", flags=1), "no meaning"),
        (payload(b"a", 0, b"1", flags=4) + end(b"a"), "no meaning"),
        (end(b"../a"), "outside"),
        (end(b"/a"), "outside"),
        (end(b"./a"), "outside"),
        (end(b""), "0 bytes"),
        (end(b"a" * 513), "513 bytes"),
        (payload(b"a", 0, b"1") + remove(b"a") + end(b"a"), "not complete"),
        (payload(b"a", 0, b"1") + rename(b"a", b"b") + end(b"a"), "not complete"),
        (payload(b"a", 0, b"12") + seek(b"a", 1) + end(b"a"), "backwards"),
        (payload(b"a", 0, b"12")[:-1] + b"3" + end(b"a"), "checksum"),
    ],
)
def test_what_is_not_right_is_an_error(tmp_path: Path, stream: bytes, what: str) -> None:
    with pytest.raises(SkyharborError, match=what) as caught:
        unraveled(stream, tmp_path)
    assert caught.value.code == "source-failed"


def test_no_flipped_bit_makes_other_files(tmp_path: Path) -> None:
    """But in the name of a file without content, of which the format has nothing but that name."""
    stream = b"".join(
        [
            payload(b"d/a.ibd", 0, b"first"),
            payload(b"ib_logfile0", 0, b"redo"),
            payload(b"d/a.ibd", 5, b"second"),
            end(b"d/a.ibd"),
            payload(b"d/m1", 0, b"z"),
            end(b"d/m1"),
            end(b"ib_logfile0"),
        ]
    )
    right = as_unpacked(stream, tmp_path)
    for bit in range(len(stream) * 8):
        damaged = bytearray(stream)
        damaged[bit // 8] ^= 1 << bit % 8
        try:
            found = as_unpacked(bytes(damaged), tmp_path)
        except SkyharborError:
            continue
        assert found == right, f"bit {bit} went unseen"


def test_cut_anywhere_a_stream_is_an_error(tmp_path: Path) -> None:
    short = STREAM.replace(BIG[1500000:], b"")[-2000:]
    whole = short[short.index(b"XBSTCK01") :]
    whole = whole[whole.index(payload(b"d/gone.MYD", 0, b"gone")) :]
    assert as_unpacked(whole[: -len(end(b"ib_logfile0"))], tmp_path) == {}
    boundaries = {0, len(payload(b"d/gone.MYD", 0, b"gone") + end(b"d/gone.MYD"))}
    boundaries.add(max(boundaries) + len(remove(b"d/gone.MYD")))
    for size in set(range(len(whole) - len(end(b"ib_logfile0")))) - boundaries:
        with pytest.raises(SkyharborError):
            as_unpacked(whole[:size], tmp_path)


@needs_mbstream
@pytest.mark.parametrize("seed", range(25))
def test_whatever_is_interleaved_and_however_it_is_what_mbstream_makes_of_it(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    files = {b"d/f%d" % number: rng.randbytes(rng.choice([0, 1, 50, 70000])) for number in range(rng.randint(1, 9))}
    chunks = {path: [data[at : at + 20000] for at in range(0, len(data), 20000)] for path, data in files.items()}
    places = dict.fromkeys(files, 0)
    stream, open_now, waiting = [], [], list(files)
    while open_now or waiting:
        if waiting and (not open_now or rng.random() < 0.4):
            open_now.append(waiting.pop())
        path = rng.choice(open_now)
        if chunks[path]:
            data = chunks[path].pop(0)
            stream.append(payload(path, places[path], data))
            places[path] += len(data)
        else:
            stream.append(end(path))
            open_now.remove(path)
            if seed % 2 and rng.random() < 0.2:
                stream.append(rename(path, path + b"-renamed"))
                files[path + b"-renamed"] = files.pop(path)
            elif rng.random() < 0.2:
                stream.append(remove(path))
                del files[path]
    whole = b"".join(stream)
    if seed % 2 == 0:  # mbstream 10.11 itself takes some renames for damage
        assert as_unpacked(whole, tmp_path) == by_mbstream(whole, tmp_path / "x")
    assert as_unpacked(whole, tmp_path) == {path.decode(): data for path, data in files.items()}


def test_memory_does_not_grow_with_a_chunk(tmp_path: Path) -> None:
    """A chunk may be of any length; here the address space ends long before it does."""
    size = 1 << 31

    class Endless:
        """One chunk of zeros, and the end of its file, made as they are asked for."""

        def __init__(self) -> None:
            self.head = head(b"P", b"a.ibd") + struct.pack("<QQI", size, 0, 0)
            self.given = 0

        def fill(self, room: memoryview) -> int:
            begin = self.head[self.given : self.given + len(room)]
            if begin:
                room[: len(begin)] = begin
                self.given += len(begin)
                return len(begin)
            got = min(len(room), len(self.head) + size - self.given)
            room[:got] = bytes(got)
            self.given += got
            return got

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    seen = 0
    for piece in MbstreamReader(Endless().fill).pieces():
        assert isinstance(piece, Data)
        seen += len(piece.data)
        if seen > size // 8:
            break
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 * 1024
