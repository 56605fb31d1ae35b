"""Random fleets for the simulator, and the laws that a tower keeps over any fleet.

Rule of the file: a seed in, the same fleet out; a law is checked while the simulation runs, against the world's rows
and never against what the code under test says of itself.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence, Set
from datetime import UTC, datetime, timedelta
from random import Random

from orchestrator.domain.admission import FARTHEST_START, Needs
from orchestrator.domain.job_states import FireState, JobState
from orchestrator.domain.ledger import Settlement
from orchestrator.domain.slots import ScopeKey
from orchestrator.domain.window import why_closed
from orchestrator.simulation.fleet_text import parse_fleet
from orchestrator.simulation.record import Record
from orchestrator.simulation.rows import JobRow
from orchestrator.simulation.run import Simulation
from shared.model.backup import JobKind

LONGEST_ASIDE = FARTHEST_START.total_seconds() + 600
"""A job that has room may be kept by reservations of those before it, but not for longer than they may reach."""

_SCHEDULES = ("hourly", "every 2h", "every 4h", "every 6h", "daily 22:00", "daily 01:30", "daily 12:00")
_PERIODS = {"hourly": 1, "every 2h": 2, "every 4h": 4, "every 6h": 6}
_ZONES = ("UTC", "Europe/Berlin", "Asia/Kolkata")


def random_fleet(seed: int, *, faults: bool = True) -> str:
    """Return a small fleet as people write it: everything that a fleet can have, now plenty and now too little."""
    chance = Random(seed)
    policies = [_policy(number, chance) for number in range(chance.randint(1, 3))]
    locations, vaults = chance.sample(["berlin", "oslo"], chance.randint(1, 2)), chance.sample(["cellar", "attic"], 2)
    groups = [_group(number, len(policies), locations, vaults, chance) for number in range(chance.randint(2, 4))]
    lines = [
        "policies:",
        *policies,
        "items:",
        *groups,
        "workers:",
        f"  - {{name: site, count: {chance.randint(1, 4)}, slots: {chance.randint(2, 6)}, mib_per_second: 100}}",
        "vaults:",
        *(f"  - {{name: {name}{chance.choice(('', ', mib_per_second: 300'))}}}" for name in vaults),
        "locations:",
        *(f"  - {{name: {name}{chance.choice(('', ', mib_per_second: 150'))}}}" for name in locations),
        f"slots: {_slots(locations, vaults, chance)}",
        f"tenants: {{acme: {chance.randint(1, 4)}}}",
        "restores:",
        f"  - {{name: everyday, per_day: {chance.randint(1, 30)}, share: {{from: 1%, to: 20%}}}}",
        f"  - {{name: flood, items: g0, at: {chance.randint(20, 40)}h, count: {chance.randint(5, 40)}, share: 5%}}",
        "verifies: [{name: weekly, part: 30%, every: 1d, share: {from: 1%, to: 10%}}]",
    ]
    return "\n".join([*lines, *(_faults(chance, vaults) if faults else ())]) + "\n"


def _policy(number: int, chance: Random) -> str:
    calendar = chance.choice(_SCHEDULES)
    hours = _PERIODS.get(calendar, 24)
    lines = [
        f"  - name: p{number}",
        f"    schedule: {{calendar: {calendar}, zone: {chance.choice(_ZONES)}}}",
        f"    jitter: {chance.choice((0, 5, 20))}m",
        f"    rpo: {hours * 2}h",
        f"    priority: {chance.randint(-2, 2)}",
    ]
    if hours == 24 and chance.random() < 0.5:
        lines.append('    window: {start: "21:00", end: "09:00", zone: UTC}')
    if chance.random() < 0.3:
        lines.append(f"    start_within: {chance.choice((30, 90, 240))}m")
    if chance.random() < 0.3:
        lines.append(f"    finish_within: {chance.choice((300, 600))}m")
    if chance.random() < 0.3:
        lines.append(f"    on_missed: {chance.choice(('run_once', 'run_all', 'skip'))}")
    if chance.random() < 0.3:
        lines.append('    blackouts: [{days: daily, start: "15:00", end: "15:45", zone: UTC}]')
    return "\n".join(lines)


def _group(number: int, policies: int, locations: Sequence[str], vaults: Sequence[str], chance: Random) -> str:
    count = chance.randint(5, 60)
    fields = [
        f"name: g{number}",
        f"count: {count}",
        f"machines: {max(1, count // chance.choice((1, 1, 4)))}",
        f"policy: p{chance.randrange(policies)}",
        f"tenant: {chance.choice(('default', 'acme'))}",
        f"vault: {chance.choice(vaults)}",
        f"hypervisors: {chance.choice((0, 0, 2))}",
        f"size: {{from: 5GiB, to: {chance.choice((20, 200, 900))}GiB}}",
        f"change: {chance.choice((1, 3, 10))}%",
    ]
    if chance.random() < 0.8:
        fields.append(f"location: {chance.choice(locations)}")
    return f"  - {{{', '.join(fields)}}}"


def _slots(locations: Sequence[str], vaults: Sequence[str], chance: Random) -> str:
    slots = {"global": chance.randint(4, 24), f"vault/{vaults[0]}": chance.randint(2, 12)}
    for name in locations:
        if chance.random() < 0.4:
            slots[f"location/{name}"] = chance.randint(1, 6)
        if chance.random() < 0.4:
            slots[f"bandwidth/{name}"] = chance.randint(20, 200)
    if chance.random() < 0.3:
        slots["tenant/acme"] = chance.randint(1, 4)
    if chance.random() < 0.3:
        slots["class/verify"] = chance.randint(1, 2)
    return "{" + ", ".join(f"{key}: {number}" for key, number in slots.items()) + "}"


def _faults(chance: Random, vaults: Sequence[str]) -> Sequence[str]:
    lines = []
    if chance.random() < 0.6:
        lines.append("failures: {store-unreachable: 3%, source-failed: 1%}")
    if chance.random() < 0.6:
        lines.append(f"losses: {{per_day: {chance.randint(2, 20)}, back_after: {chance.randint(1, 20)}m}}")
    outages = []
    if chance.random() < 0.4:
        begins = chance.randint(10, 60)
        outages.append(f"{{what: vault/{vaults[0]}, from: {begins}h, until: {begins + chance.randint(1, 4)}h}}")
    if chance.random() < 0.4:
        begins = chance.randint(10, 60)
        outages.append(f"{{what: tower, from: {begins}h, until: {begins + chance.randint(1, 4)}h}}")
    if chance.random() < 0.3:
        begins = chance.randint(10, 60)
        outages.append(f"{{what: workers/site, from: {begins}h, until: {begins + chance.randint(1, 3)}h}}")
    if outages:
        lines.append(f"outages: [{', '.join(outages)}]")
    return lines


class Laws:
    """Watches a simulation. A broken law is an ``AssertionError`` at the moment at which it is broken."""

    def __init__(self, document: str, *, days: int, seed: int) -> None:
        self.simulation = Simulation(parse_fleet(document), days=days, seed=seed)
        self.world = self.simulation.world
        self.settled: Counter[tuple[object, ...]] = Counter()
        self.ended: set[str] = set()
        self._admitted: list[JobRow] = []
        self._roomy: dict[str, datetime] = {}
        self._watch()

    def run(self) -> Record:
        """Run to the end."""
        return self.simulation.run()

    def _watch(self) -> None:
        world, ledger = self.world, self.simulation.ledger
        take, heard, told = world.admit, world.on_end, ledger.on_settle

        def admit(needs: Sequence[Needs]) -> None:
            take(needs)
            self._admitted += [world.jobs[need.job_id] for need in needs]
            self._slots_add_up()

        def ended(row: JobRow, before: JobState) -> None:
            if row.finished_at is not None:
                assert row.id not in self.ended, f"{row.id} ended twice"
                self.ended.add(row.id)
            assert not row.holds, f"{row.id} keeps slots"
            assert heard is not None
            heard(row, before)

        def settled(settlements: Sequence[Settlement]) -> None:
            for settlement in settlements:
                fire = settlement.fire
                key = (fire.item_id, fire.schedule_no, fire.zone, fire.nominal)
                self.settled[key] += 1
                assert self.settled[key] == 1, f"{key} was settled twice"
                assert (settlement.state is FireState.FILED) == (settlement.job_id is not None)
            assert told is not None
            told(settlements)

        world.admit, world.on_end, ledger.on_settle = admit, ended, settled  # type: ignore[method-assign]
        self.simulation.on_tick = self._after_tick

    def _slots_add_up(self) -> None:
        held: Counter[ScopeKey] = Counter()
        for row in self.world.jobs.values():
            for key, count in row.holds:
                held[key] += count
        for key, scope in self.world.scopes.items():
            assert held[key] == scope.in_use <= scope.capacity, f"{key}: {held[key]} held, {scope.in_use} in use"
        for item in self.world.items.values():
            assert sum(row.active and row.kind is JobKind.BACKUP for row in item.open_jobs) <= 1

    def _after_tick(self) -> None:
        admitted, self._admitted = self._admitted, []
        taken = [row for row in admitted if row.kind is not JobKind.RESTORE]
        self._note_who_has_room()
        for group in self.world.waiting.groups():
            for row in group.rows if group.kind is JobKind.RESTORE else ():
                lacking = self._lacking(row)
                self._waits_for_something(row, lacking)
                for other in taken:
                    for key in lacking & {key for key, _ in other.holds}:
                        starts_at = max(self._enough_at(row, each, besides=other) for each in lacking)
                        assert other.ends_at() <= starts_at, (
                            f"{other.kind} {other.id} took {key} until {other.ends_at()}, restore {row.id} waits for it"
                        )

    def _note_who_has_room(self) -> None:
        """Note since when whom nothing but the tower's own choice keeps from starting has been kept."""
        now, roomy = self.world.now, dict[str, datetime]()
        nobody_works = any(self.world.now - row.ends_at() > timedelta(0) for row in self.world.admitted())
        for group in () if nobody_works else self.world.waiting.groups():
            if group.policy is not None and why_closed(self.world.policies[group.policy].spec, now) is not None:
                continue
            for row in group.rows:
                if not (row.kind is JobKind.BACKUP and row.item.busy) and not self._lacking(row):
                    roomy[row.id] = self._roomy.get(row.id, now)
                    kept = (now - roomy[row.id]).total_seconds()
                    assert kept <= LONGEST_ASIDE, f"{row.kind} {row.id} has had room for {kept} s and is not admitted"
        self._roomy = roomy

    def _waits_for_something(self, row: JobRow, lacking: Set[ScopeKey]) -> None:
        """A restore waits for a slot that it lacks, or behind another restore that needs what this one does."""
        if lacking:
            return
        mine = {key for key, _ in row.places.needs()}
        ahead = [
            other
            for group in self.world.waiting.groups()
            for other in group.rows
            if group.kind is JobKind.RESTORE and (other.queued_as or ()) < (row.queued_as or ())
        ]
        behind = [other for other in ahead if mine & {key for key, _ in other.places.needs()} and self._lacking(other)]
        assert behind, f"restore {row.id} waits although there is room for it and nobody is before it"

    def _enough_at(self, row: JobRow, key: ScopeKey, *, besides: JobRow) -> datetime:
        """Return when a scope should have enough for a job, as its holders promise, had another not come."""
        scope, world = self.world.scopes[key], self.world
        wanted = min(dict(row.places.needs())[key], scope.capacity)
        free = scope.capacity - scope.in_use + dict(besides.holds).get(key, 0)
        for end, count in sorted((h.ends_at, h.slots) for job, h in scope.holders.items() if job != besides.id):
            free += count
            if free >= wanted:
                return max(end, world.now)
        return datetime.max.replace(tzinfo=UTC)

    def _lacking(self, row: JobRow) -> Set[ScopeKey]:
        scopes = self.world.scopes
        return {key for key, count in row.places.needs() if key in scopes and scopes[key].closed_to(row.kind, count)}
