"""What people mistype is told in words of the command, and what they are told is said as people say it."""

from __future__ import annotations

import pytest

from tests.unit.cli.world import Answer, World

SCOPE = {"scope": "class", "key": "backup", "name": "backup", "capacity": 1, "floor": 0, "in_use": 0, "paused": False}


def test_a_choice_that_is_none_is_told_without_the_words_of_a_library(world: World) -> None:
    ran = world.run("compliance", "--verdict", "nonsense")
    assert (ran.code, "'nonsense' is not one of 'met'" in ran.err) == (2, True), ran.err
    assert "Value error" not in ran.err


@pytest.mark.parametrize("rule", ["daily ٣", "daily -1", "daily 1000000000", "daily", "daily 1 2", "daily 7, daily 7"])
def test_a_retention_that_is_not_understood_never_leaves_the_command_line(world: World, rule: str) -> None:
    ran = world.run("item", "set", "docs", "--keep", rule)
    assert (ran.code, "is not understood: write 'daily 7, monthly 12'" in ran.err) == (2, True), ran.err


def test_one_slot_is_a_slot(world: World) -> None:
    world.server.on("POST /slots/class/backup/resume", Answer(body=SCOPE))
    ran = world.run("slot", "resume", "class/backup")
    assert ran.out.strip() == "class/backup has 1 slot, 0 in use", ran.err


def test_a_loop_that_hangs_is_named_by_status(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    hanging = {"name": "loops", "pid": 7, "alive": True, "hangs": ["planner", "relay"], "since": None, "restarts": 0}
    told = {"running": True, "healthy": False, "home": world.home, "url": "http://x", "processes": [hanging]}
    monkeypatch.setattr(world.stack, "status", lambda _: told)
    ran = world.run("status")
    assert (ran.code, "hangs: planner, relay" in ran.out) == (1, True), ran.out
