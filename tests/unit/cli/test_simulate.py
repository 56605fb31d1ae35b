"""simulate: a table, a document, a picture, and how it ends."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.cli.world import World
from tests.unit.simulation.fleets import EASY

NARROW = EASY + "slots: {global: 3, vault/cellar: 9}\n"


@pytest.fixture
def fleet(tmp_path: Path) -> Path:
    path = tmp_path / "fleet.yaml"
    path.write_text(EASY)
    return path


def test_a_fleet_that_fits_ends_with_0_and_asks_no_tower(world: World, fleet: Path) -> None:
    ran = world.run("simulate", str(fleet), "--days", "2")
    assert ran.code == 0
    assert "fits           yes" in ran.out
    assert world.server.requests == []


def test_one_that_does_not_fit_ends_with_3_and_names_the_bottleneck(world: World, fleet: Path) -> None:
    fleet.write_text(NARROW.replace("count: 20", "count: 500").replace("rpo: 26h", "rpo: 24h"))
    ran = world.run("--json", "simulate", str(fleet), "--days", "2")
    assert ran.code == 3
    assert (ran.json["fits"], ran.json["bottleneck"]) == (False, "global")


def test_a_grown_fleet_is_shown_beside_the_present_one_and_decides_how_it_ends(world: World, fleet: Path) -> None:
    fleet.write_text(NARROW.replace("count: 20", "count: 300"))
    assert world.run("simulate", str(fleet), "--days", "2").code == 0
    ran = world.run("simulate", str(fleet), "--days", "2", "--grow", "10000%")
    assert ran.code == 3
    assert "101 × data" in ran.out
    assert "items that missed their RPO" in ran.out
    told = world.run("--json", "simulate", str(fleet), "--days", "2", "--grow-items", "50%").json
    assert (told["items"], told["grown"]["report"]["items"], told["grown"]["items"]) == (300, 450, 1.5)


def test_the_limit_is_searched_and_every_size_that_was_tried_is_told(world: World, fleet: Path) -> None:
    fleet.write_text(NARROW.replace("count: 20", "count: 200"))
    ran = world.run("--json", "simulate", str(fleet), "--days", "2", "--limit", "data")
    assert ran.code == 0
    limit, fits = ran.json["limit"], {tried["times"]: tried["fits"] for tried in ran.json["limit"]["tried"]}
    assert limit["fits"] < limit["fails"]
    assert (fits[limit["fits"]], fits[limit["fails"]]) == (True, False)
    assert world.run("simulate", str(fleet), "--limit", "time").code == 2
    assert world.run("simulate", str(fleet), "--grow", "much").code == 2


def test_restores_and_what_jobs_waited_for_are_shown(world: World, fleet: Path) -> None:
    more = "restores: [{name: flood, at: 40h, count: 20, share: 1%, within: 1h}]\n"
    fleet.write_text(NARROW.replace("count: 20", "count: 200") + more)
    ran = world.run("simulate", str(fleet), "--days", "2")
    assert ran.code == 0
    assert "flood" in ran.out
    assert "waited because of" in ran.out
    assert "slot:global" in ran.out


def test_the_picture_is_svg_or_refused(world: World, fleet: Path, tmp_path: Path) -> None:
    drawn, refused = tmp_path / "p.svg", tmp_path / "p.png"
    assert world.run("simulate", str(fleet), "--days", "1", "--picture", str(drawn)).code == 0
    assert drawn.read_text().startswith("<svg ")
    assert world.run("simulate", str(fleet), "--picture", str(refused)).code == 2
    assert not refused.exists()


def test_a_bad_fleet_is_a_usage_error_with_the_line(world: World, fleet: Path) -> None:
    fleet.write_text(EASY.replace("jitter: 1h", "jitter: often"))
    ran = world.run("--json", "simulate", str(fleet))
    assert ran.code == 2
    assert ran.json["error"]["code"] == "fleet-invalid"
    assert "line 5" in ran.json["error"]["message"]
