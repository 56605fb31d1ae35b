"""Fleets as people write them: what is read, and every mistake with its line."""

from __future__ import annotations

import pytest

from orchestrator.domain.slots import Scope
from orchestrator.simulation.fleet import Outage, Restores, Spread, Verifies
from orchestrator.simulation.fleet_text import parse_fleet
from shared.errors import SkyharborError
from tests.unit.simulation.fleets import EASY, SMALL


def mistakes(document: str) -> list[tuple[int, str]]:
    with pytest.raises(SkyharborError) as caught:
        parse_fleet(document)
    assert caught.value.code == "fleet-invalid"
    errors = caught.value.fields["errors"]
    assert isinstance(errors, list)
    return [(error["line"], error["message"]) for error in errors]


def changed(old: str, new: str, document: str = EASY) -> str:
    assert document.count(old) == 1
    return document.replace(old, new)


WISHES = """
restores:
  - {name: everyday, items: web, per_day: 12.5, share: {from: 1%, to: 10%}}
  - {name: flood, vault: cellar, at: 50h, count: 20, within: 8h}
verifies:
  - {items: web, part: 10%, every: 7d, share: 5%}
outages: [{what: workers/site, from: 1h, until: 2h}]
"""


def test_what_people_ask_for_is_read() -> None:
    fleet = parse_fleet(EASY + WISHES)
    assert fleet.restores == (
        Restores(name="everyday", group="web", per_day=12.5, share=Spread(0.01, 0.1)),
        Restores(name="flood", vault="cellar", at=50 * 3600, count=20, within=8 * 3600),
    )
    verifies = Verifies(name="verifies-1", group="web", part=0.1, every=7 * 86400, share=Spread(0.05, 0.05))
    assert fleet.verifies == (verifies,)
    assert fleet.outages == (Outage("workers/site", 3600, 7200),)


def test_a_fleet_says_what_it_means() -> None:
    fleet = parse_fleet(SMALL)
    web, databases = fleet.groups
    assert (web.count, web.machines, web.size, web.change.low) == (60, 60, Spread(1024**2, 8 * 1024**2), 0.02)
    assert (databases.policy, databases.machines, databases.tenant) == ("busy", 4, "acme")
    assert fleet.slots[Scope.BANDWIDTH, "berlin"] == 120
    assert fleet.failures == {"store-unreachable": 0.04, "source-failed": 0.02, "store-full": 0.01}
    assert fleet.outages == (Outage("cellar", 46 * 3600, 48 * 3600), Outage("tower", 70 * 3600, 72 * 3600))
    assert fleet.policies["nightly"].start_within == 4 * 3600


@pytest.mark.parametrize(
    ("old", "new", "line", "said"),
    [
        ("daily 22:00", "dayly 22:00", 4, "'dayly 22:00' is not a calendar expression"),
        ("rpo: 26h", "rpoo: 26h", 6, "did you mean 'rpo'?"),
        ("count: 20", "count: none", 8, "'none' is not a whole number"),
        ("policy: nightly", "policy: weekly", 8, "there is no policy 'weekly'"),
        ("policy: nightly", "tags: [a]", 8, "no policy selects these items"),
        ("vault: cellar", "vault: attic", 8, "there is no vault 'attic'"),
        ("size: 100GiB", "size: huge", 8, "'huge' is not a size"),
        ("size: 100GiB", "size: {from: 9GiB, to: 1GiB}", 8, "to has to be at least from"),
        ("change: 1%", "change: 101%", 8, "'101%' is not a share"),
        ("slots: 4", "slots: 0", 9, "'0' is not a whole number between 1 and 1000"),
        ("[{name: cellar}]", "[{name: cellar}, {name: cellar}]", 10, "two vaults named 'cellar'"),
    ],
)
def test_a_mistake_is_told_with_its_line(old: str, new: str, line: int, said: str) -> None:
    [(at, message)] = mistakes(changed(old, new))
    assert at == line
    assert said in message


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("slots: {vault/attic: 3}", "there is no vault 'attic'"),
        ("slots: {machine/m1: 3}", "write machine: N"),
        ("slots: {cellar: 3}", "is no scope"),
        ("slots: 3", "write keys and values here"),
        ("failures: {no-such-code: 1%}", "'no-such-code' is no error that a job fails with"),
        ("failures: {cancelled: 1%}", "'cancelled' is no error"),
        ("outages: [{what: tower, from: 3h}]", "an outage is"),
        ("outages: [{what: tower, from: 3h, until: 2h}]", "until has to be later"),
        ("outages: [{what: oslo, from: 3h, until: 4h}]", "'oslo' cannot fail here"),
        ("outages: [{what: workers/night, from: 3h, until: 4h}]", "there is no kind of workers 'night'"),
        ("restores: [{name: all}]", "restores come per_day: N, or at: TIME"),
        ("restores: [{per_day: 3, at: 2h, count: 4}]", "restores come per_day: N, or at: TIME"),
        ("restores: [{items: db, per_day: 3}]", "there is no group of items 'db'"),
        ("restores: [{name: a, per_day: 3}, {name: a, per_day: 4}]", "two kinds of restores named 'a'"),
        ("verifies: [{part: 3%}]", "verifies need part:"),
        ("verifies: [{part: 300%, every: 1d}]", "'300%' is not a share"),
        ("begin: maybe", "'maybe' is not one of empty, protected"),
        ("step: 0s", "a step is 1s to 60s"),
        ("days: 400", "between 1 and 366"),
    ],
)
def test_what_may_be_left_out_is_checked_too(more: str, said: str) -> None:
    [(line, message)] = mistakes(f"{EASY}{more}\n")
    assert line == EASY.count("\n") + 1
    assert said in message


def test_all_mistakes_are_told_at_once_by_line() -> None:
    document = changed("count: 20", "count: x").replace("rpo: 26h", "rpo: soon").replace("slots: 4", "slots: many")
    assert [line for line, _ in mistakes(document)] == [6, 8, 9]


def test_a_fleet_of_nothing_names_what_it_needs() -> None:
    assert [message for _, message in mistakes("days: 3\n")] == [
        f"a fleet needs {name}:" for name in ("policies", "items", "workers", "vaults")
    ]
