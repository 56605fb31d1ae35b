"""Retention, holds and collections as people ask for them."""

from __future__ import annotations

import io
import sys

import pytest

from tests.unit.cli.jobs import a_done_job, a_job
from tests.unit.cli.test_bandwidth import NO_GARBAGE
from tests.unit.cli.world import Answer, World, problem

LINES = [
    {
        "item": "etc",
        "point": "0194-new",
        "sealed_at": "2026-11-22T10:00:00Z",
        "keep": True,
        "reasons": ["last 1 of 1", "held"],
        "expires_on": "2026-11-23T10:00:00Z",
        "held_back": False,
    },
    {
        "item": "etc",
        "point": "0194-old",
        "sealed_at": "2026-11-21T10:00:00Z",
        "keep": False,
        "reasons": ["no rule keeps it"],
        "expires_on": None,
        "held_back": True,
    },
]


@pytest.fixture
def planned(world: World) -> World:
    """A world with a plan in which one point goes."""
    world.server.on("GET /retention", Answer(body={"items": LINES}))
    world.server.on("POST /retention/apply", Answer(body={"items": [{"item": "etc", "points": ["0194-old"]}]}))
    return world


def test_a_plan_names_every_point_its_verdict_and_its_reasons(planned: World) -> None:
    ran = planned.run("retention", "plan", "--item", "etc")
    assert ran.code == 0
    assert "kept" in ran.out
    assert "last 1 of 1; held" in ran.out
    assert "held back" in ran.out
    assert planned.server.requests[-1].query == "item=etc"
    assert planned.run("--json", "retention", "plan", "--policy", "p").json == {"items": LINES}


@pytest.mark.parametrize("argv", [(), ("--item", "etc", "--policy", "p")])
def test_a_plan_is_of_an_item_or_of_a_policy(planned: World, argv: tuple[str, ...]) -> None:
    assert planned.run("retention", "plan", *argv).code == 2


def test_nothing_expires_unasked(planned: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))
    assert planned.run("retention", "apply", "--item", "etc").code == 2
    assert planned.server.seen("POST /retention/apply") == []
    ran = planned.run("retention", "apply", "--item", "etc", "--yes")
    assert (ran.code, ran.out) == (0, "etc: points that expire: 1\n")
    assert [request.body for request in planned.server.seen("POST /retention/apply")] == [{"item": "etc"}]


def test_what_the_tower_itself_has_let_go_meanwhile_is_said_and_not_that_all_is_kept(planned: World) -> None:
    planned.server.on("GET /retention", Answer(body={"items": LINES}), Answer(body={"items": LINES[:1]}))
    planned.server.on("POST /retention/apply", Answer(body={"items": []}))
    ran = planned.run("retention", "apply", "--item", "etc", "--yes")
    assert "expiring already" in ran.out
    assert ran.out.rstrip().endswith(": 1")
    assert "every point is kept" not in ran.out


def test_what_was_held_meanwhile_is_said_to_be_kept(planned: World) -> None:
    held = {**LINES[1], "keep": True, "reasons": ["held"]}
    planned.server.on("GET /retention", Answer(body={"items": LINES}), Answer(body={"items": [LINES[0], held]}))
    planned.server.on("POST /retention/apply", Answer(body={"items": []}))
    ran = planned.run("retention", "apply", "--item", "etc", "--yes")
    assert "kept after all: 1" in ran.out
    assert "expiring already" not in ran.out


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("said", "code", "asked"), [("y\n", 0, 1), ("n\n", 130, 0)])
def test_at_a_terminal_one_is_asked(
    planned: World, monkeypatch: pytest.MonkeyPatch, said: str, code: int, asked: int
) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal(said))
    ran = planned.run("retention", "apply", "--item", "etc")
    assert (ran.code, len(planned.server.seen("POST /retention/apply"))) == (code, asked)
    assert "0194-old" in ran.out


def test_a_hold_has_an_end_or_none(world: World) -> None:
    world.server.on("POST /points/latest/hold", Answer(body={"id": "p", "state": "sealed", "held_at": "x"}))
    ran = world.run("point", "hold", "latest", "--item", "etc", "--until", "2027-01-31T18:00Z")
    assert (ran.code, ran.out) == (0, "point p is sealed and held\n")
    (request,) = world.server.seen("POST /points/latest/hold")
    assert request.query == "item=etc"
    assert request.body["until"].startswith("2027-01-31T")
    world.run("point", "hold", "latest", "--item", "etc")
    assert world.server.requests[-1].body == {"until": None}
    assert world.run("point", "hold", "latest", "--item", "etc", "--until", "soon").code == 2
    assert world.run("point", "release", "latest").code == 2


def test_a_doomed_point_is_refused(world: World) -> None:
    world.server.on("POST /points/p/hold", problem("conflict", "it is doomed"))
    assert world.run("point", "hold", "p").code == 5


def test_a_collection_is_asked_for_and_waited_for(world: World) -> None:
    job = a_job(kind="collect", item=None, vault="main", type=None)
    world.server.on("POST /vaults/main/collect", Answer(status=202, body=job))
    ran = world.run("vault", "collect", "main")
    assert ran.code == 0
    assert "vault    main\n" in ran.out
    (request,) = world.server.seen("POST /vaults/main/collect")
    assert request.body == {"now": False}
    assert request.headers["Idempotency-Key"]
    done = a_done_job(kind="collect", item=None, vault="main", point=None, stats={"bytes_deleted": 2048, "warnings": 0})
    world.server.on("POST /vaults/main/collect", Answer(status=202, body=done))
    assert world.run("--json", "vault", "collect", "main", "--now", "--wait").json["stats"]["bytes_deleted"] == 2048
    assert world.server.requests[-1].body == {"now": True}


def test_stats_tell_what_is_on_its_way_out_and_whom_it_waits_for(world: World) -> None:
    garbage = {**NO_GARBAGE, "condemned_packs": 3, "condemned_bytes": 2048, "waits_for_writers": True, "unsettled": 1}
    world.server.on("GET /vaults/main", Answer(body={"name": "main", "points": 2, "bytes_stored": 1}))
    world.server.on("GET /vaults/main/garbage", Answer(body=garbage))
    out = world.run("vault", "stats", "main").out
    assert "3 packs (2.0 KiB, waiting for backups that began before)" in out
    assert "1 backups may have sealed" in out
    assert "collected" in out
    assert "never" in out
