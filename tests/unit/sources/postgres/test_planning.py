"""What a backup of a cluster is to be, given what is known."""

from __future__ import annotations

from typing import Any

import pytest

from workers.sources.postgres.lsn import show_lsn
from workers.sources.postgres.planning import MIB, Log, Plan, Server, Step, plan
from workers.sources.postgres.window import Backup, Window

SEGMENT = 16 * MIB
SIZE = 1024 * MIB


def _server(**changes: Any) -> Server:
    known = {"system_id": "7", "timeline": 1, "flushed": 200 * SEGMENT, "segment": SEGMENT, "log": Log.WHOLE}
    return Server(**{**known, "increments": False, **changes})


def _window(*, increments: int = 0, **changes: Any) -> Window:
    """The newest backup of the chain ended at the beginning of segment 99: the log since counts from 100 on."""
    backups = tuple(
        Backup(
            name=str(number),
            parent=str(number - 1) if number > 1 else "",
            start=show_lsn((98 - increments + number) * SEGMENT - 2),
            stop=show_lsn((98 - increments + number) * SEGMENT),
            ended=f"2026-01-01T00:00:{number:02}.000000Z",
            size=SIZE,
        )
        for number in range(1, 2 + increments)
    )
    known: dict[str, Any] = {
        "system_id": "7",
        "version": 18,
        "timeline": 1,
        "segment": SEGMENT,
        "slot": "s",
        "begins": backups[0].ended,
        "ends": "2026-01-01T01:00:00.000000Z",
        "log_begins": backups[0].start,
        "log_ends": show_lsn(100 * SEGMENT),
        "backups": backups,
    }
    return Window(**{**known, **changes})


def test_without_a_reference_there_is_a_base() -> None:
    assert plan(None, _server()) == Plan(Step.BASE)


def test_a_little_log_is_all_that_is_read() -> None:
    assert plan(_window(), _server(flushed=101 * SEGMENT, increments=True)) == Plan(Step.LOG, bridged=True)


@pytest.mark.parametrize(
    ("log", "increments", "wanted"),
    [
        (SIZE // 8, True, Plan(Step.LOG, bridged=True)),
        (SIZE // 8 + 1, True, Plan(Step.INCREMENT, parent="1", bridged=True)),
        (SIZE // 8 + 1, False, Plan(Step.LOG, bridged=True)),
        (SIZE, False, Plan(Step.LOG, bridged=True)),
        (SIZE + 1, False, Plan(Step.BASE, bridged=True)),
        (SIZE + 1, True, Plan(Step.INCREMENT, parent="1", bridged=True)),
    ],
)
def test_the_more_log_a_restore_would_replay_the_more_is_read(log: int, increments: bool, wanted: Plan) -> None:
    assert plan(_window(), _server(flushed=100 * SEGMENT + log, increments=increments)) == wanted


def test_a_chain_of_six_increments_is_followed_by_the_log_until_a_base_is_due() -> None:
    six, seven = _window(increments=5), _window(increments=6)
    busy = _server(flushed=100 * SEGMENT + SIZE // 2, increments=True)
    assert plan(six, busy) == Plan(Step.INCREMENT, parent="6", bridged=True)
    assert plan(seven, busy) == Plan(Step.LOG, bridged=True)
    assert plan(seven, busy._replace(flushed=101 * SEGMENT + SIZE)) == Plan(Step.BASE, bridged=True)


def test_the_last_full_whose_log_has_gone_on_is_what_a_differential_compares_with() -> None:
    moved = _server(log=Log.MOVED, increments=True)
    assert plan(_window(), moved) == Plan(Step.INCREMENT, parent="1")
    assert plan(_window(), moved._replace(increments=False)) == Plan(Step.BASE)


@pytest.mark.parametrize(
    ("window", "server", "said"),
    [
        ({"system_id": "8"}, {}, "another cluster"),
        ({"timeline": 3}, {}, "timeline 3 to 1"),
        ({"segment": 1}, {}, "size of log segments"),
        ({}, {"flushed": 99 * SEGMENT}, "set back"),
        ({}, {"log": Log.LOST}, "slot is gone"),
    ],
)
def test_a_log_that_does_not_go_on_is_a_gap_with_its_reason(
    window: dict[str, Any], server: dict[str, Any], said: str
) -> None:
    made = plan(_window(**window), _server(increments=True, **server))
    assert (made.step, made.bridged, said in made.gap) == (Step.BASE, False, True)


def test_an_older_point_whose_log_has_gone_on_is_a_gap() -> None:
    made = plan(_window(), _server(log=Log.MOVED, increments=True), is_full=False)
    assert made.step is Step.BASE
    assert "later point" in made.gap
