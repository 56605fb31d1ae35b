"""The simulator's verdicts against fleets whose answer is known beforehand, by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from orchestrator.simulation.fleet import Fleet
from orchestrator.simulation.fleet_text import parse_fleet
from orchestrator.simulation.growth import Grows, Limit, grown, limit_of
from orchestrator.simulation.report import report_of
from orchestrator.simulation.run import simulate

PLANTED = """
policies:
  - name: nightly
    schedule: {calendar: daily 22:00, zone: UTC}
    rpo: 30h
    start_within: 2h
items:
  - {name: web, count: COUNT, policy: nightly, location: oslo, vault: cellar, size: 100GiB, change: 1%}
workers: [{name: site, count: 1, slots: SEATS, mib_per_second: 100}]
vaults: [{name: cellar, mib_per_second: VAULT}]
locations: [{name: oslo, mib_per_second: LINE}]
slots: {global: GLOBAL, vault/cellar: SLOTS}
overhead: 0s
"""
"""Every backup moves 1,024 MiB: 10.24 s at the 100 MiB/s of its worker."""


def planted(
    *, count: int, slots: int = 90, everything: int = 90, vault: int = 90_000, line: int = 90_000, seats: int = 100
) -> Fleet:
    values = {"COUNT": count, "SLOTS": slots, "GLOBAL": everything, "VAULT": vault, "LINE": line, "SEATS": seats}
    document = PLANTED
    for name, number in values.items():
        document = document.replace(name, str(number))
    return parse_fleet(document)


def answer(fleet: Fleet, *, days: int = 2) -> dict[str, Any]:
    return report_of(simulate(fleet, days=days))


@pytest.mark.parametrize(
    ("narrow", "bottleneck"),
    [
        ({"slots": 5}, "vault/cellar"),  # four for backups: 400 of 90,000 MiB/s
        ({"everything": 6}, "global"),
        ({"line": 300}, "speed/location/oslo"),  # three at full speed, and all 88 at once
        ({"vault": 300}, "speed/vault/cellar"),
        ({"slots": 5, "line": 300}, "speed/location/oslo"),  # the slots are full, and one more would gain nothing
        ({"slots": 3, "line": 300}, "vault/cellar"),  # two at full speed do not use the line up
        ({"slots": 9, "seats": 5}, "workers"),  # the slots are full too, and some of them wait for a worker
        ({"slots": 5, "seats": 5}, "vault/cellar"),
    ],
)
def test_the_bottleneck_is_the_one_that_was_planted(narrow: dict[str, int], bottleneck: str) -> None:
    report = answer(planted(count=400, **narrow))
    assert report["bottleneck"] == bottleneck


def test_giving_more_of_the_bottleneck_helps_and_more_of_something_else_does_not() -> None:
    def longest(**narrow: int) -> float:
        return float(answer(planted(count=400, **narrow))["policies"][0]["wait"]["longest"])

    narrow = longest(slots=9, line=300)
    assert longest(slots=18, line=300) == pytest.approx(narrow, rel=0.1)  # what it said before it knew of speeds
    assert longest(slots=9, line=600) < 0.6 * narrow


def test_a_window_that_cannot_fit_does_not_and_one_that_just_fits_does() -> None:
    # Two hours to start, four slots, ticks of one second: a slot takes a job every 11 s, so 4 * 7,200 / 11 = 2,618.
    # What the second night would miss is still to be missed when the second day ends.
    just = answer(replace(planted(count=2_560, slots=5), step=1))
    assert (just["jobs_start_missed"], just["policies"][0]["jobs_open"]) == (0, pytest.approx(0, abs=4))
    report = answer(planted(count=3_000, slots=5))
    assert report["fits"] is False
    # Above 2,000 items the tower ticks every 5 s: a slot takes a job every 15 s, 4 * 7,200 / 15 = 1,920.
    assert report["jobs_start_missed"] == pytest.approx(3_000 - 1_920, abs=30)


STORM = """
policies:
  - name: nightly
    schedule: {calendar: every 1h, zone: UTC}
    rpo: 40h
items:
  - {name: web, count: 300, policy: nightly, vault: cellar, size: 100GiB, change: 100%}
workers: [{name: site, count: 10, slots: 10, mib_per_second: 100}]
vaults: [{name: cellar}]
slots: {global: 20, vault/cellar: 10}
overhead: 0s
restores:
  - {name: fire, at: 30h, count: 90, share: 10%, within: WITHIN}
"""
"""Every hour 300 backups of 43 s each for nine slots: 24 minutes. A restore takes 102.4 s and may have all ten."""


def test_a_storm_of_restores_has_all_slots_as_backups_give_them_back() -> None:
    # 90 restores in rounds of ten: nine rounds of 103 s, after the last backup has ended.
    report = answer(parse_fleet(STORM.replace("WITHIN", "20m")))
    [fire] = report["restores"]
    assert (fire["asked"], fire["done"], fire["late"], fire["fits"]) == (90, 90, 0, True)
    assert 9 * 102.4 < fire["took"]["longest"] < 9 * 103 + 150
    behind = next(wait for wait in report["waits"] if wait["reason"] == "slot:vault/cellar")
    assert behind["restore_hours"] == pytest.approx(90 * 8 / 2 * 102.4 / 3600, rel=0.25)
    assert behind["backup_hours"] > behind["restore_hours"]


def test_a_promise_that_a_storm_breaks_is_told() -> None:
    report = answer(parse_fleet(STORM.replace("WITHIN", "10m")))
    assert report["fits"] is False
    # Ten every 103 s: after 600 s five rounds are done, and with the first backups still there a few less.
    assert report["restores"][0]["late"] == pytest.approx(90 - 50, abs=10)


VERIFIES = """
policies: [{name: nightly, schedule: {calendar: daily 22:00, zone: UTC}, rpo: 30h}]
items: [{name: web, count: 100, policy: nightly, vault: cellar, size: 100GiB, change: 1%}]
workers: [{name: site, count: 10, slots: 10, mib_per_second: 100}]
vaults: [{name: cellar}]
verifies: [{name: monthly, part: 50%, every: 2d, share: 10%}]
"""


def test_verifies_come_evenly_and_go_round() -> None:
    report = answer(parse_fleet(VERIFIES), days=4)
    [monthly] = report["verifies"]
    assert (monthly["asked"], monthly["done"], monthly["fits"]) == (100, 100, True)
    assert monthly["tib_read"] == pytest.approx(100 * 10 / 1024, abs=0.001)


def test_workers_of_a_kind_that_are_gone_make_no_points_until_they_are_back() -> None:
    gone = VERIFIES + "outages: [{what: workers/site, from: 21h, until: 44h}]\n"
    report = answer(parse_fleet(gone), days=3)
    # The night's backups wait 22 hours for a worker; those of the next night come in time.
    assert report["policies"][0]["wait"]["longest"] == pytest.approx(22 * 3600, rel=0.05)
    assert report["jobs_done"] + report["jobs_superseded"] == 300
    assert next(wait for wait in report["waits"] if wait["reason"] == "worker")["backup_hours"] > 0


def test_a_grown_fleet_has_so_much_more() -> None:
    fleet = planted(count=40)
    assert grown(fleet, Grows.DATA, 1.25).groups[0].size.high == 125 * 1024
    more = grown(fleet, Grows.ITEMS, 1.25).groups[0]
    assert (more.count, more.machines, more.hypervisors) == (50, 50, 0)
    twice = answer(grown(fleet, Grows.DATA, 2.0), days=1)
    assert twice["tib_moved"] == pytest.approx(2 * answer(fleet, days=1)["tib_moved"], rel=0.01)


@pytest.mark.parametrize("most", [0.5, 1.0, 1.3, 7.7])
def test_the_limit_is_found_between_two_sizes(most: float) -> None:
    tried: list[float] = []

    def fits(times: float) -> bool:
        tried.append(times)
        return times <= most

    limit = limit_of(fits)
    assert limit.fails is not None
    if most < 1:
        assert limit == Limit(0.0, 1.0)
        return
    assert limit.fits <= most < limit.fails
    assert limit.fails - limit.fits <= 0.05 * limit.fits + 0.001
    assert len(tried) == len(set(tried)) <= 12


def test_a_fleet_stops_fitting_where_the_arithmetic_says() -> None:
    # 400 items, four slots, two hours: a slot has 288 s for each, and one day's data is 10.24 s of it.
    limit = limit_of(lambda times: answer(grown(planted(count=400, slots=5), Grows.DATA, times))["fits"])
    assert limit.fits == pytest.approx(72 / 10.24, rel=0.08)
