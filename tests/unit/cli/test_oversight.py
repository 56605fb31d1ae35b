"""compliance and alarm list, as people and scripts use them."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.cli.world import Answer, World

KEPT = {
    "id": "1",
    "name": "docs",
    "policy": "nightly",
    "paused_at": None,
    "verdict": "met",
    "rpo": 86400,
    "achieved": 90000.5,
    "overdue": None,
    "last_success_at": "2026-03-01T02:30:00Z",
    "last_verified_at": None,
    "next_fire_at": "2026-03-02T02:30:00Z",
}
BROKEN: dict[str, Any] = {
    **KEPT,
    "id": "2",
    "name": "mail",
    "verdict": "missed",
    "overdue": 3600.0,
    "paused_at": "2026-03-01T00:00:00Z",
}
ALARM = {
    "id": "a",
    "kind": "rpo-missed",
    "target": "2",
    "subject": "mail",
    "message": "the newest recovery point is 26 h old",
    "opened_at": "2026-03-01T02:30:00Z",
    "closed_at": None,
    "told_at": None,
}


@pytest.fixture
def fleet(world: World) -> World:
    """A tower with one promise kept and one broken, on two pages."""
    world.server.on(
        "GET /compliance",
        *[Answer(body={"items": [KEPT], "next": "c"}), Answer(body={"items": [BROKEN], "next": None})],
    )
    world.server.on("GET /alarms", Answer(body={"items": [ALARM], "next": None}))
    return world


def test_every_item_has_a_line(fleet: World) -> None:
    ran = fleet.run("compliance")
    lines = [line.split() for line in ran.out.splitlines()]
    assert ran.code == 0
    docs = next(line for line in lines if "docs" in line)
    assert docs[:10] == ["docs", "met", "24", "h", "00", "min", "25", "h", "00", "min"]
    assert next(line for line in lines if "mail" in line)[-1] == "paused"


def test_json_is_one_document_of_all_pages(fleet: World) -> None:
    ran = fleet.run("--json", "compliance", "--verdict", "at_risk")
    assert (ran.code, ran.json) == (0, {"items": [KEPT, BROKEN]})
    assert [request.query for request in fleet.server.seen("GET /compliance")] == [
        "verdict=at_risk&limit=500",
        "cursor=c&verdict=at_risk&limit=500",
    ]


@pytest.mark.parametrize(("as_json"), [[], ["--json"]])
def test_check_fails_when_a_promise_is_broken(fleet: World, as_json: list[str]) -> None:
    assert fleet.run(*as_json, "compliance", "--check").code == 1


def test_check_is_content_when_none_is(fleet: World) -> None:
    fleet.server.on("GET /compliance", Answer(body={"items": [KEPT], "next": None}))
    assert fleet.run("compliance", "--check").code == 0


def test_a_verdict_that_is_none_is_a_mistake(fleet: World) -> None:
    assert fleet.run("compliance", "--verdict", "fine").code == 2


def test_alarms_are_listed_with_what_is_wrong(fleet: World) -> None:
    ran = fleet.run("alarm", "list")
    assert (ran.code, "the newest recovery point is 26 h old" in ran.out) == (0, True)
    assert fleet.run("--json", "alarm", "list", "--all").json == {"items": [ALARM]}
    assert [request.query for request in fleet.server.seen("GET /alarms")] == ["limit=500", "closed=true&limit=500"]
