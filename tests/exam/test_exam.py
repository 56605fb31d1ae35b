"""Every source sits this exam; a run of the suite prints its table."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from shared.errors import SkyharborError
from tests.exam.claims import Claim
from tests.exam.desk import Desk, Watched, stop_at
from tests.exam.seat import Seat
from tests.exam.seats import files, held_files, mysql, nfs, postgres, sftp, smb, sqlite, vm
from tests.exam.table import note
from tests.support.open_ends import none_more
from workers.engine.ports import Stop

SEATS: Mapping[str, Callable[[Path], Seat]] = {
    name: maker
    for module in (files, held_files, mysql, nfs, postgres, sftp, smb, sqlite, vm)
    for name, maker in module.seats().items()
}
PARTS = [pytest.param(0.1, marks=pytest.mark.soak), 0.5, pytest.param(0.9, marks=pytest.mark.soak)]
"""When a backup is broken off, as a part of how often a whole one asks whether it may go on."""
_PATIENCE = 30.0  # seconds that a guard may take


@pytest.fixture(params=sorted(SEATS))
def seat(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Seat]:
    source = tmp_path / "source"
    source.mkdir()
    opened = SEATS[request.param](source)
    yield opened
    opened.close()


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    home = tmp_path / "home"
    home.mkdir()
    opened = Desk(home)
    yield opened
    opened.close()


@pytest.fixture(autouse=True)
def _noted(request: pytest.FixtureRequest, record_property: Callable[[str, object], None]) -> None:
    """Put the test into the table, under the seat's name and the claim that it is about."""
    claim = request.node.get_closest_marker("claim").args[0]
    note(record_property, row=request.node.callspec.params["seat"], claim=claim)


def clean(seat: Seat) -> bool:
    """Tell whether nothing is left behind, now or after the guard has had its time."""
    until = time.monotonic() + _PATIENCE
    while seat.left_behind() and time.monotonic() < until:
        time.sleep(0.1)
    assert seat.left_behind() == []
    return True


def checks_of(seat: Seat, folder: Path) -> int:
    """Make a whole backup into another vault, and return how often it asked whether it may go on."""
    folder.mkdir()
    other, watched = Desk(folder), Watched()
    other.backup(seat.spec, watched)
    other.close()
    return watched.checks


@pytest.mark.claim(Claim.RESTORED)
def test_what_was_there_comes_back_and_works(seat: Seat, desk: Desk, tmp_path: Path) -> None:
    truth = seat.truth()
    desk.backup(seat.spec)
    assert seat.restored(desk.reader(), tmp_path / "out") == truth
    assert clean(seat)


@pytest.mark.claim(Claim.INCREMENT)
def test_the_next_backup_moves_what_has_changed_and_its_point_is_whole(seat: Seat, desk: Desk, tmp_path: Path) -> None:
    first = desk.backup(seat.spec)
    seat.change()
    with none_more():
        second = desk.backup(seat.spec)
    assert second.point.reference == first.point.point_id
    assert second.stats.bytes_transferred < first.stats.bytes_transferred / 4
    assert seat.restored(desk.reader(), tmp_path / "out") == seat.truth()
    assert clean(seat)


@pytest.mark.claim(Claim.CONSISTENT)
def test_what_is_written_meanwhile_is_not_half_in_the_point(seat: Seat, desk: Desk, tmp_path: Path) -> None:
    desk.backup(seat.spec, Watched(lambda _: seat.write_on()))
    assert seat.is_of_one_moment(seat.restored(desk.reader(), tmp_path / "out"))


@pytest.mark.claim(Claim.CANCELLED)
@pytest.mark.parametrize("part", PARTS)
def test_a_cancelled_backup_is_no_point_and_leaves_nothing(seat: Seat, desk: Desk, part: float, tmp_path: Path) -> None:
    checks = checks_of(seat, tmp_path / "other")
    with none_more():
        with pytest.raises(Stop):
            desk.backup(seat.spec, Watched(stop_at(max(1, int(part * checks)))))
        desk.guard.close()  # and with it the line to the guard, which is kept from one backup to the next
    assert desk.points() == []
    assert clean(seat)


@pytest.mark.claim(Claim.KILLED)
@pytest.mark.parametrize("part", PARTS)
def test_a_killed_backup_is_no_point_and_leaves_nothing(seat: Seat, desk: Desk, part: float, tmp_path: Path) -> None:
    checks = checks_of(seat, tmp_path / "other")
    assert desk.killed_backup(seat.spec, at=max(1, int(part * checks)))
    assert desk.points() == []
    assert clean(seat)


@pytest.mark.claim(Claim.RESUMED)
def test_after_a_backup_that_broke_off_the_next_one_is_right(seat: Seat, desk: Desk, tmp_path: Path) -> None:
    checks = checks_of(seat, tmp_path / "other")
    desk.backup(seat.spec)
    seat.change()
    desk.killed_backup(seat.spec, at=max(1, checks // 2))
    assert clean(seat)
    seat.change()
    desk.backup(seat.spec)
    assert seat.restored(desk.reader(), tmp_path / "out") == seat.truth()


@pytest.mark.claim(Claim.REFUSED)
def test_what_cannot_be_read_is_refused_in_words_that_help(seat: Seat, desk: Desk) -> None:
    wrong = seat.wrong()
    assert wrong
    for spec, words in wrong:
        with pytest.raises(SkyharborError) as refused:
            desk.backup(spec)
        assert words in f"{refused.value.detail} {refused.value.fields.get('hint', '')}"
        assert refused.value.code != "internal"
    assert desk.points() == []


@pytest.mark.claim(Claim.DYING)
def test_a_server_that_dies_half_way_makes_no_point(seat: Seat, desk: Desk, tmp_path: Path) -> None:
    early = max(1, checks_of(seat, tmp_path / "other") // 3)

    def die(check: int) -> None:
        if check == early and not seat.die():
            pytest.skip("nothing stands between a worker and this source")

    with none_more():
        with pytest.raises(SkyharborError) as failed:
            desk.backup(seat.spec, Watched(die))
        desk.guard.close()
    assert failed.value.code in ("source-failed", "source-missing")
    assert desk.points() == []


@pytest.mark.claim(Claim.PROGRESS)
def test_it_is_told_where_a_backup_is(seat: Seat, desk: Desk) -> None:
    watched = Watched()
    done = desk.backup(seat.spec, watched)
    told = [position.bytes_done for position in watched.positions]
    assert told == sorted(told)
    assert told[-1] > 0
    assert watched.positions[-1].files_done == done.stats.files
