"""The exam of the simulator: its tower in memory and the tower over PostgreSQL live the same life and do the same.

Both run the same use cases; what is examined is that the memory means what the statements mean: who is admitted and in
which order, every state, epoch, rank and time of every job, every fire, every slot.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from random import Random
from typing import Any

import pytest

from orchestrator.domain.job_states import JobState
from orchestrator.domain.slots import ScopeKey
from shared.model.backup import JobKind
from tests.support.control import ControlPlane
from tests.support.postgres import database_url, postgres_server  # noqa: F401
from tests.support.twin_towers import TwinTowers, give_clock

POLICIES = (
    """
name: nightly
schedule: {calendar: daily 22:00, zone: Europe/Berlin}
jitter: 30m
rpo: 26h
window: {start: "22:00", end: "05:00"}
start_within: 6h
finish_within: 8h
""",
    """
name: hourly
schedules: [{calendar: every 2h, zone: UTC}, {calendar: daily 14:00, zone: UTC, type: full}]
jitter: 10m
priority: 2
blackouts: [{days: daily, start: "16:00", end: "17:30", zone: UTC}]
retry: {attempts: 2, longest_pause: 5m}
""",
    """
name: all
schedule: {calendar: hourly :30, zone: Europe/Berlin}
on_missed: run_all
finish_within: 40m
priority: -3
""",
)
STEPS = (1, 7, 60, 400, 1800, 3600, 7500, 30_000)
CODES = ("store-unreachable", "source-failed", "store-full", "internal", "cancelled")
EVENTS = (
    *("tick", "tick", "tick", "advance", "advance", "advance", "claim", "claim", "claim all", "done", "done", "done"),
    *("fail", "fail", "stop", "stop", "lose", "ask", "ask", "pause", "resume", "resume"),
)
LIVES, EVENTS_EACH, REASONS_EVERY = 12, 90, 4
PAUSABLE: tuple[ScopeKey, ...] = (("location", "berlin"), ("tenant", "acme"), ("class", "verify"), ("global", ""))


@pytest.fixture
def plane(database_url: str) -> Iterator[ControlPlane]:  # noqa: F811
    give_clock(database_url)
    control = ControlPlane(database_url)
    yield control
    control.close()


def settle(towers: TwinTowers, chance: Random) -> list[str]:
    """Make a small fleet in both towers; returns its items."""
    for name, weight in (("default", 1), ("acme", chance.randint(1, 3))):
        towers.tenant(name, weight)
    vaults = {name: towers.vault(name) for name in ("cellar", "attic")}
    towers.slots(("global", ""), chance.randint(1, 7), chance.randint(0, 1))
    towers.slots(("vault", vaults["cellar"]), chance.randint(1, 4))
    towers.slots(("location", "berlin"), chance.randint(1, 4))
    towers.slots(("bandwidth", "berlin"), chance.randint(2, 40))
    towers.slots(("tenant", "acme"), chance.randint(1, 4))
    towers.slots(("class", "verify"), 1)
    towers.slots(("hypervisor", "h1"), 1)
    for text in POLICIES:
        towers.policy(text)
    machines = chance.randint(2, 5)
    for number in range(machines):
        tenant, location = chance.choice(("default", "acme")), chance.choice(("", "berlin", "oslo"))
        towers.machine(f"m{number}", tenant=tenant, location=location)
    return [
        towers.item(
            f"i{number}",
            machine=f"m{number % machines}",
            vault=chance.choice(("cellar", "attic")),
            policy=chance.choice(("nightly", "hourly", "all", None)),
            hypervisor=chance.choice(("", "h1")),
        )
        for number in range(chance.randint(3, 9))
    ]


def happen(towers: TwinTowers, items: list[str], event: str, chance: Random) -> None:
    """Have one thing happen to both, and compare what each answers."""
    rows = [row for row in towers.world.jobs.values() if row.state is JobState.RUNNING]
    running = sorted(row.id for row in rows)
    asked = sorted(row.id for row in rows if row.cancel_requested_at is not None)
    if event == "tick":
        theirs, mine = towers.tick()
        assert mine == theirs
    elif event == "advance":
        towers.advance(chance.choice(STEPS))
    elif event.startswith("claim"):
        while True:
            theirs_id, mine_id = towers.claim()
            assert mine_id == theirs_id
            if theirs_id is None or event == "claim":
                break
    elif event == "done" and running:
        towers.complete(chance.choice(running))
    elif event == "fail" and running:
        towers.complete(chance.choice(running), chance.choice(CODES))
    elif event == "stop" and asked:
        towers.complete(chance.choice(asked), "cancelled")
    elif event == "lose" and running:
        towers.lose(chance.choice(running))
    elif event == "ask":
        towers.ask(chance.choice([JobKind.BACKUP, JobKind.RESTORE, JobKind.VERIFY]), chance.choice(items))
    elif event in ("pause", "resume"):
        towers.pause(chance.choice(PAUSABLE), paused=event == "pause")


def compare(towers: TwinTowers) -> None:
    for theirs, mine in (towers.jobs(), towers.slots_in_use(), towers.fires()):
        same(theirs, mine)


def same(theirs: Mapping[Any, object], mine: Mapping[Any, object]) -> None:
    keys = {*theirs, *mine}
    assert {key: (theirs.get(key), mine.get(key)) for key in keys if theirs.get(key) != mine.get(key)} == {}


def test_memory_and_database_live_the_same_life(plane: ControlPlane) -> None:
    ended, reached = set[tuple[object, object]](), set[object]()
    for seed in range(LIVES):
        try:
            chance, towers = Random(seed), TwinTowers(plane)
            items = settle(towers, chance)
            for number in range(EVENTS_EACH):
                happen(towers, items, chance.choice(EVENTS), chance)
                compare(towers)
                if number % REASONS_EVERY == 0:
                    same(*towers.reasons())
                reached.update(job[0] for job in towers.jobs()[1].values())
        except AssertionError as error:
            raise AssertionError(f"seed {seed}: {error}") from error
        ended.update((job[0], job[-3]) for job in towers.jobs()[0].values())
        reached.update(towers.fires()[0].values())
    # An exam in which nothing happens proves nothing: every way in which a job can wait or end has been gone.
    states = {str(state) for state in JobState} - {"scheduled", "committing"}
    assert reached >= states | {"filed", "missed", "skipped"}
    assert ended >= {("expired", None), ("expired", "start-missed"), ("cancelled", "finish-missed")}
