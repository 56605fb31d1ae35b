"""What is put together at a restore is whole and in its place, or it is an error before a server sees it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from shared.errors import SkyharborError
from workers.sources.mysql.chain import Shipped
from workers.sources.mysql.landing import joined, second_of
from workers.sources.mysql.preparing import call_by_name
from workers.sources.mysql.target import WORK, Target


def test_files_get_the_names_that_they_had_in_the_end_even_those_of_others(tmp_path: Path) -> None:
    for name in ("a", "b", "gone", "b.again-1", "stays"):
        (tmp_path / name).write_text(name)
    call_by_name(str(tmp_path), {"a": "b", "b": "a", "gone": None, "b.again-1": "c"})
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {
        "a": "b",
        "b": "a",
        "c": "b.again-1",
        "stays": "stays",
    }


def parts(folder: Path, *contents: tuple[int, bytes]) -> None:
    at = folder / "binlog" / "log.000001"
    at.mkdir(parents=True)
    for begin, data in contents:
        (at / f"{begin:020d}").write_bytes(data)


def test_parts_of_a_log_are_the_log(tmp_path: Path) -> None:
    parts(tmp_path, (0, b"abc"), (3, b"de"))
    path = joined(str(tmp_path), Shipped("log.000001", ((0, 3), (3, 5))))
    assert Path(path).read_bytes() == b"abcde"


@pytest.mark.parametrize(
    ("contents", "told"),
    [
        ([(0, b"abc"), (4, b"de")], ((0, 3), (4, 6))),
        ([(1, b"abc")], ((1, 4),)),
        ([(0, b"abc"), (2, b"cd"), (5, b"f")], ((0, 3), (2, 4), (5, 6))),
        ([(0, b"ab"), (3, b"de")], ((0, 3), (3, 5))),
    ],
)
def test_a_log_with_a_gap_is_not_replayed(
    tmp_path: Path, contents: list[tuple[int, bytes]], told: tuple[tuple[int, int], ...]
) -> None:
    parts(tmp_path, *contents)
    with pytest.raises(SkyharborError) as caught:
        joined(str(tmp_path), Shipped("log.000001", told))
    assert caught.value.code == "object-damaged"


@pytest.mark.parametrize(
    ("text", "second"),
    [
        ("2026-05-01T12:00:00Z", 1777636800),
        ("2026-05-01T14:00:00+02:00", 1777636800),
        ("2026-05-01T12:00:00.999Z", 1777636800),
    ],
)
def test_a_moment_is_read_to_the_second(text: str, second: int) -> None:
    assert second_of(text) == second


@pytest.mark.parametrize("text", ["2026-05-01T12:00:00", "2026-05-01", "yesterday", ""])
def test_a_moment_without_a_time_zone_could_be_any(text: str) -> None:
    with pytest.raises(SkyharborError, match="time zone"):
        second_of(text)


def test_a_folder_with_something_in_it_is_not_ours(tmp_path: Path) -> None:
    (tmp_path / "ibdata1").touch()
    with pytest.raises(SkyharborError, match="not empty") as caught:
        Target(str(tmp_path))
    assert caught.value.code == "target-invalid"


def test_not_even_beside_what_a_killed_restore_has_left(tmp_path: Path) -> None:
    (tmp_path / WORK).mkdir()
    (tmp_path / "mine").touch()
    with pytest.raises(SkyharborError, match="not empty"):
        Target(str(tmp_path))


def test_what_a_restore_left_that_was_killed_while_it_moved_is_made_anew(tmp_path: Path) -> None:
    first = Target(str(tmp_path))
    first.begin()
    data = tmp_path / WORK / "data"
    data.mkdir()
    (data / "ibdata1").write_text("old")
    (tmp_path / WORK / "done").touch()
    os.rename(data / "ibdata1", tmp_path / "ibdata1")
    again = Target(str(tmp_path))
    again.begin()
    assert os.listdir(tmp_path) == [WORK]
    assert os.listdir(tmp_path / WORK) == []


def test_what_was_built_takes_its_place_and_nothing_else_is_left(tmp_path: Path) -> None:
    target = Target(str(tmp_path / "new"))
    target.begin()
    data = tmp_path / "new" / WORK / "full"
    (data / "d").mkdir(parents=True)
    (data / "d" / "t.ibd").write_text("t")
    (data / "ibdata1").write_text("s")
    target.finish(str(data), None)
    assert sorted(str(path.relative_to(tmp_path / "new")) for path in (tmp_path / "new").rglob("*")) == [
        "d",
        "d/t.ibd",
        "ibdata1",
    ]
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "new").rglob("*") if path.is_file()} == {0o660}


def test_a_symlink_in_a_backup_is_refused_not_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_text("x")
    outside.chmod(0o600)
    target = Target(str(tmp_path / "new"))
    target.begin()
    data = tmp_path / "new" / WORK / "full"
    data.mkdir()
    (data / "link").symlink_to(outside)
    with pytest.raises(SkyharborError) as caught:
        target.finish(str(data), None)
    assert caught.value.code == "target-invalid"
    assert outside.stat().st_mode & 0o777 == 0o600


def test_a_relative_target_is_refused() -> None:
    with pytest.raises(SkyharborError, match="absolute"):
        Target("somewhere")
