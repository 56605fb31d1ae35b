"""Which backup a restore begins from, and what PostgreSQL is told to stop at."""

from __future__ import annotations

from typing import Any

import pytest

from shared.errors import SkyharborError
from workers.sources.postgres.recovery import recovery_settings
from workers.sources.postgres.targets import choose
from workers.sources.postgres.window import Backup, RestorePoint, Window, decode, encode


def _window(**changes: Any) -> Window:
    known: dict[str, Any] = {
        "system_id": "7",
        "version": 18,
        "timeline": 1,
        "segment": 1 << 24,
        "slot": "s",
        "begins": "2026-01-01T10:00:00.000000Z",
        "ends": "2026-01-01T13:00:00.000000Z",
        "last_change": "2026-01-01T12:30:00.000000Z",
        "log_begins": "0/10",
        "log_ends": "0/100",
        "backups": (
            Backup(name="1", start="0/10", stop="0/20", ended="2026-01-01T10:00:00.000000Z", size=1),
            Backup(name="2", parent="1", start="0/50", stop="0/60", ended="2026-01-01T12:00:00.000000Z", size=1),
        ),
        "restore_points": (RestorePoint(name="early", position="0/5F"), RestorePoint(name="late", position="0/60")),
    }
    return Window(**{**known, **changes})


@pytest.mark.parametrize(
    ("until", "backup", "setting", "value"),
    [
        ("", "2", "", ""),
        ("latest", "2", "", ""),
        ("immediate", "2", "recovery_target", "immediate"),
        ("2026-01-01T10:00:00Z", "1", "recovery_target_time", "2026-01-01 10:00:00.000000+00"),
        ("2026-01-01 11:59:59.999999", "1", "recovery_target_time", "2026-01-01 11:59:59.999999+00"),
        ("2026-01-01T13:00:00+01:00", "2", "recovery_target_time", "2026-01-01 12:00:00.000000+00"),
        ("2026-01-01T12:30:00Z", "2", "", ""),  # nothing was changed later: the log's end
        ("2026-01-01T13:00:00Z", "2", "", ""),
        ("early", "1", "recovery_target_name", "early"),
        ("late", "2", "recovery_target_name", "late"),
    ],
)
def test_the_newest_backup_before_the_moment_is_where_replay_begins(
    until: str, backup: str, setting: str, value: str
) -> None:
    target = choose(_window(), until)
    assert (target.backup.name, target.setting, target.value) == (backup, setting, value)


@pytest.mark.parametrize(
    "until", ["2026-01-01T09:59:59.999999Z", "2026-01-01T13:00:00.000001Z", "nobody's", "10 o'clock"]
)
def test_what_is_not_in_the_window_is_refused_with_the_window(until: str) -> None:
    with pytest.raises(SkyharborError) as caught:
        choose(_window(), until)
    assert "2026-01-01T10:00:00.000000Z to 2026-01-01T13:00:00.000000Z" in caught.value.detail


def test_a_base_before_the_log_is_a_parent_and_nothing_to_begin_from() -> None:
    window = _window(log_begins="0/50", begins="2026-01-01T12:00:00.000000Z")
    with pytest.raises(SkyharborError):
        choose(window, "2026-01-01T11:00:00Z")
    with pytest.raises(SkyharborError):
        choose(window, "early")
    assert [one.name for one in window.chain(choose(window, "latest").backup)] == ["1", "2"]


def test_the_target_that_counts_is_the_last_of_all_and_every_other_is_emptied() -> None:
    lines = recovery_settings(choose(_window(), "late")).decode().splitlines()
    targets = [line for line in lines if line.startswith("recovery_target") and "_t" not in line[15:17]]
    assert lines[-1] == "recovery_target_name = 'late'"
    assert {line.split(" = ")[0] for line in lines if line.endswith("= ''")} == {
        "recovery_target",
        "recovery_target_lsn",
        "recovery_target_time",
        "recovery_target_xid",
    }
    assert targets


def test_a_window_is_the_same_after_its_text() -> None:
    assert decode(encode(_window())) == _window()


def test_a_window_of_another_shape_is_damage() -> None:
    with pytest.raises(SkyharborError) as caught:
        decode("{}")
    assert caught.value.code == "object-damaged"
