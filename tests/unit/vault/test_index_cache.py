"""The scratch cache: small, disposable, and never the reason for anything but a fetch."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from shared.storage.faulty import FaultyStore, Verb
from tests.unit.vault.bench import MACHINE, Bench, new_bench

SEED = random.Random(7)
LARGE, SMALL = 50_000, 1_000  # bytes per file: an index takes less, and more, than one part in a hundred of them


def grown(*points: int) -> tuple[Bench, FaultyStore]:
    """A vault with one index segment per point, each of five new files of so many bytes; and its calls."""
    bench = new_bench()
    for number, size in enumerate(points, 1):
        grow(bench, number, size)
    counting = FaultyStore(bench.store)
    return bench.on(counting), counting


def grow(bench: Bench, number: int, size: int) -> None:
    writer = bench.writer(number, data_pack=1 << 20)
    bench.fill(writer, {b"%d-%d" % (number, n): SEED.randbytes(size) for n in range(5)}, piece=1 << 20)
    writer.checkpoint()
    writer.abort()


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def share(bench: Bench, folder: Path, data: int) -> float:
    """What the cache takes, as a part of so many bytes of data."""
    bench.index(str(folder))
    return sum(path.stat().st_size for path in files(folder)) / data


def test_index_segments_are_fetched_once(tmp_path: Path) -> None:
    bench, counting = grown(LARGE, LARGE)
    rows = [len(bench.index(str(tmp_path))) for _ in range(3)]
    assert (counting.calls(Verb.GET), len(set(rows)), len(files(tmp_path))) == (2, 1, 2)


@pytest.mark.parametrize("points", [(LARGE,), (SMALL,), (LARGE, SMALL), (SMALL, LARGE), (SMALL, SMALL, SMALL, LARGE)])
def test_a_cache_never_takes_more_than_one_part_in_a_hundred_of_the_data(
    tmp_path: Path, points: tuple[int, ...]
) -> None:
    bench, _ = grown(*points)
    assert share(bench, tmp_path, 5 * sum(points)) <= 0.01


def test_what_the_vault_says_about_files_is_no_protected_data(tmp_path: Path) -> None:
    bench = new_bench()
    bench.write(1, {b"%d" % number + b"n" * 60_000: b"tiny" for number in range(2)})
    bench.index(str(tmp_path))
    assert files(tmp_path) == []


def test_segments_of_small_files_find_room_beside_those_of_large_ones(tmp_path: Path) -> None:
    bench, counting = grown(SMALL, LARGE, SMALL)
    bench.index(str(tmp_path))
    before = counting.calls(Verb.GET)
    bench.index(str(tmp_path))
    assert (before, counting.calls(Verb.GET), len(files(tmp_path))) == (3, 3, 3)


def test_what_has_become_too_much_is_removed(tmp_path: Path) -> None:
    bench, _ = grown(SMALL)
    small = bench.names("index/")
    grow(bench, 2, LARGE)
    bench.index(str(tmp_path))
    assert len(files(tmp_path)) == 2
    (large,) = set(bench.names("index/")) - set(small)
    bench.store.delete(large)
    index = bench.index(str(tmp_path))
    assert (files(tmp_path), len(index)) == ([], 5)


def test_files_of_segments_that_are_gone_and_of_dead_writers_are_removed_and_others_are_left(tmp_path: Path) -> None:
    bench, _ = grown(LARGE)
    bench.index(str(tmp_path))
    (kept,) = files(tmp_path)
    foreign = kept.with_name("not-ours")
    for path in (foreign, kept.with_name("0" * 64), kept.with_name(".new-abc")):
        path.write_bytes(b"x")
    bench.index(str(tmp_path))
    assert files(tmp_path) == sorted([foreign, kept])


def test_a_rotten_file_is_fetched_again_and_put_right(tmp_path: Path) -> None:
    bench, counting = grown(LARGE)
    rows = len(bench.index(str(tmp_path)))
    (file,) = files(tmp_path)
    right = file.read_bytes()
    for rotten in (right[:-1] + b"\0", right[:40], b"", right + b"x"):
        file.write_bytes(rotten)
        index = bench.index(str(tmp_path))
        assert (index.problems, len(index), file.read_bytes()) == ([], rows, right)
    assert counting.calls(Verb.GET) == 5


@pytest.mark.parametrize("obstacle", ["a file instead of the folder", "a folder instead of the file"])
def test_a_cache_that_cannot_be_used_is_done_without(tmp_path: Path, obstacle: str) -> None:
    bench, _ = grown(LARGE)
    if obstacle == "a file instead of the folder":
        (tmp_path / "cache").write_bytes(b"")
    else:
        bench.index(str(tmp_path / "cache"))
        (file,) = files(tmp_path)
        file.unlink()
        file.mkdir()
    index = bench.index(str(tmp_path / "cache"))
    assert (index.problems, len(index)) == ([], 5)


def test_machines_and_vaults_do_not_share_files(tmp_path: Path) -> None:
    one, other = grown(LARGE)[0], grown(LARGE)[0]
    for bench in (one, other, one):
        bench.index(str(tmp_path))
    assert [path.parts[-3:-1] for path in files(tmp_path)] == sorted(
        [(one.vault.id, MACHINE), (other.vault.id, MACHINE)]
    )
