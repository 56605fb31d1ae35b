"""An increment is made only where it is proven that nothing was put back; and what a point can bring back is known."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from workers.sources.mysql import chain
from workers.sources.mysql.binlogs import Gap, proof_of
from workers.sources.mysql.chain import Info, Owner, Place, Shipped, Step, decoded, encoded, number_for
from workers.sources.mysql.planning import plan_for
from workers.sources.mysql.server import Facts

HEAD = b"\xfebin" + bytes(17) + b"\1\0" + b"made at such a second".ljust(200, b".")


def step(number: int, *, full: bool = False, size: int = 10, at: int | None = None) -> Step:
    moment = 1000 * number if at is None else at
    return Step(
        name=chain.step_name(number, full=full),
        from_lsn=0 if full else 100 * (number - 1),
        to_lsn=100 * number,
        not_before=moment,
        not_after=moment + 2,
        binlog=Place("log.000001", 300 + number),
        gtid="0-1-1",
        bytes=1000 if full else size,
    )


def info(*steps: Step, replay_from: int = 0, proof: str = "", binlogs: tuple[Shipped, ...] = ()) -> Info:
    return Info(
        version="10.11.19-MariaDB",
        series="10.11",
        hostname="here",
        datadir="/data",
        owner=Owner("mysql", "mysql", 1, 1, 0o700),
        inode=7,
        variables={},
        steps=steps or (step(1, full=True), step(2)),
        binlogs=binlogs,
        replay_from=replay_from,
        proof=proof,
    )


def facts(**changed: object) -> Facts:
    usual = {
        "version": "10.11.20-MariaDB-log",
        "is_mariadb": True,
        "hostname": "here",
        "datadir": "/data",
        "system_tablespace": "/data/ibdata1",
        "lsn": 5000,
        "started_before": 10.0,
        "binlog": "",
        "no_binlog": "log_bin is off",
        "variables": {},
    }
    return Facts(**{**usual, **changed})  # type: ignore[arg-type]


def state(of: Info) -> dict[str, str]:
    return {chain.STATE: encoded(of).decode()}


def test_without_a_point_to_go_on_from_it_is_a_full() -> None:
    plan = plan_for(None, facts(), inode=7)
    assert (plan.before, plan.from_lsn, plan.notices) == (None, 0, ())


def test_a_server_that_has_run_all_the_time_is_gone_on_with() -> None:
    plan = plan_for(state(info()), facts(), inode=7)
    assert (plan.before, plan.from_lsn, plan.notices) == (info(), 200, ())


@pytest.mark.parametrize(
    ("changed", "inode", "why"),
    [
        ({"version": "10.6.1-MariaDB"}, 7, "is 10.6 now"),
        ({"lsn": 199}, 7, "earlier state"),
        ({"datadir": "/other"}, 7, "another one"),
        ({"hostname": "there"}, 7, "another one"),
        ({}, 8, "another one"),
        ({"started_before": 2000.0}, 7, "was started since"),
    ],
)
def test_whatever_is_not_proven_makes_a_full_and_says_why(changed: dict[str, object], inode: int, why: str) -> None:
    plan = plan_for(state(info()), facts(**changed), inode=inode)
    assert (plan.before, plan.from_lsn) == (None, 0)
    assert [notice.code for notice in plan.notices] == ["full-instead"]
    assert why in plan.notices[0].message


@pytest.mark.parametrize("text", ["", "{}", "null", "nonsense", '{"format": 2}'])
def test_a_state_that_is_not_understood_makes_a_full(text: str) -> None:
    assert plan_for({chain.STATE: text}, facts(), inode=7).before is None


def test_the_same_log_proves_that_a_server_that_was_started_again_is_the_same(tmp_path: Path) -> None:
    (tmp_path / "log.000001").write_bytes(HEAD + b"changes" * 100)
    before = info(proof=proof_of(str(tmp_path), Place("log.000001", 302)))
    restarted = facts(started_before=2000.0, binlog=str(tmp_path / "log"))
    # It goes on in the same file, whose flags say now that it was closed.
    (tmp_path / "log.000001").write_bytes(HEAD.replace(b"\1\0", b"\0\0") + b"changes" * 200)
    assert plan_for(state(before), restarted, inode=7).from_lsn == 200


@pytest.mark.parametrize(
    "log",
    [
        HEAD.replace(b"such", b"that") + b"changes" * 100,  # a log of the same name that was begun at another time
        (HEAD + b"changes" * 100)[:290] + b"other" * 100,  # the same beginning, other changes
        (HEAD + b"changes" * 100)[:301],  # not as long any more
    ],
)
def test_another_log_of_the_same_name_proves_nothing(tmp_path: Path, log: bytes) -> None:
    (tmp_path / "log.000001").write_bytes(HEAD + b"changes" * 100)
    before = info(proof=proof_of(str(tmp_path), Place("log.000001", 302)))
    (tmp_path / "log.000001").write_bytes(log)
    restarted = facts(started_before=2000.0, binlog=str(tmp_path / "log"))
    assert plan_for(state(before), restarted, inode=7).from_lsn == 0


def test_what_is_behind_the_place_in_the_log_does_not_matter(tmp_path: Path) -> None:
    (tmp_path / "log.000001").write_bytes(HEAD + b"changes" * 100)
    proof = proof_of(str(tmp_path), Place("log.000001", 302))
    (tmp_path / "log.000001").write_bytes((HEAD + b"changes" * 100)[:302] + b"more")
    assert proof_of(str(tmp_path), Place("log.000001", 302)) == proof


def test_a_log_that_is_gone_is_a_gap(tmp_path: Path) -> None:
    with pytest.raises(Gap):
        proof_of(str(tmp_path), Place("log.000001", 302))


def test_after_so_many_increments_there_is_a_full_that_keeps_what_came_before(tmp_path: Path) -> None:
    (tmp_path / "log.000001").write_bytes(HEAD + b"changes" * 100)
    steps = [step(1, full=True), *(step(number) for number in range(2, chain.MOST_INCREMENTS + 2))]
    last = steps[-1].binlog
    assert last is not None
    of = info(*steps, proof=proof_of(str(tmp_path), last))
    plan = plan_for(state(of), facts(binlog=str(tmp_path / "log")), inode=7)
    assert (plan.from_lsn, plan.before, plan.log_goes_on) == (0, of, True)
    assert plan_for(state(info(*steps[:-1])), facts(), inode=7).from_lsn == steps[-2].to_lsn


def test_increments_that_are_larger_than_their_full_make_a_full() -> None:
    assert plan_for(state(info(step(1, full=True), step(2, size=1001))), facts(), inode=7).from_lsn == 0


def test_on_top_of_a_full_nothing_older_than_that_is_kept() -> None:
    logs = (Shipped("log.000000", ((0, 9),)), Shipped("log.000001", ((0, 400),)))
    of = info(step(1, full=True), step(2), step(3, full=True), step(4), binlogs=logs)
    before = plan_for(state(of), facts(), inode=7).before
    assert before is not None
    assert [one.name for one in before.steps] == ["full/0003", "incr/0004"]
    assert before.binlogs == logs[1:]
    assert before.next_name(full=False) == "incr/0005"


def test_a_moment_is_reached_from_the_last_step_that_was_surely_before_it() -> None:
    of = info(step(1, full=True, at=100), step(2, at=200), step(3, at=300))
    assert [number_for(of, until) for until in (101, 102, 201, 202, 1000)] == [None, 0, 0, 1, 2]


def test_a_moment_is_not_reached_across_a_gap_in_the_log() -> None:
    of = info(step(1, full=True, at=100), step(2, at=200), step(3, at=300), replay_from=1)
    assert [number_for(of, until) for until in (150, 202)] == [None, 1]


def test_a_state_is_made_of_its_full_and_the_increments_up_to_it() -> None:
    of = info(step(1, full=True), step(2), step(3, full=True), step(4), step(5))
    assert [[one.name for one in of.chain(number)] for number in (1, 2, 4)] == [
        ["full/0001", "incr/0002"],
        ["full/0003"],
        ["full/0003", "incr/0004", "incr/0005"],
    ]


def test_what_is_written_down_is_read_again() -> None:
    of = msgspec.structs.replace(info(), binlogs=(Shipped("log.000001", ((0, 5), (5, 9))),), proof="x")
    assert decoded(encoded(of)) == of
