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
