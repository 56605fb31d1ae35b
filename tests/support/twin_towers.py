"""Two towers that live the same life: one over PostgreSQL, one in the simulator's memory.

The database is given a clock of its own: a function ``clock_timestamp`` that is found before PostgreSQL's, because the
database's search path names ``pg_catalog`` last. So both towers live at the same moment, which only the test moves.

Rule of the file: every event happens to both; what is observable is returned in one form for both.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import psycopg

from orchestrator.domain.admission import Needs
from orchestrator.domain.estimate import MIB, with_run
from orchestrator.domain.job_states import JobState
from orchestrator.domain.jobs import Ending, NewJob, Trigger
from orchestrator.domain.policy_text import parse_policy
from orchestrator.domain.retry import after_cancel, after_failure
from orchestrator.domain.slots import Scope, ScopeKey
from orchestrator.domain.urgency import rank_of
from orchestrator.simulation.ledger import MemoryLedger
from orchestrator.simulation.memory import MemoryUnitOfWork
from orchestrator.simulation.reasons import Reasons
from orchestrator.simulation.rows import ItemRow, JobRow, PolicyRow, ScopeRow
from orchestrator.simulation.world import World
from orchestrator.use_cases.admit import admit, explain_waits
from orchestrator.use_cases.complete import complete
from orchestrator.use_cases.plan_fires import file_fires, plan_fires
from orchestrator.use_cases.policies import apply_policy
from orchestrator.use_cases.ports import UnitOfWork
from orchestrator.use_cases.rescue import rescue
from shared.contracts.work import BackupDone, Cancelled, Complete, Failed, Fence, SealedPoint
from shared.model.backup import BackupStats, BackupType, JobKind
from tests.support.control import ControlPlane

START = datetime(2026, 3, 27, 12, tzinfo=UTC)  # the clocks of Berlin go forward on the 29th
_JOBS = """
SELECT id, state, epoch, attempt, losses, aged_rank, ages_at, due_at, latest_start, estimate, admitted_at, started_at,
       finished_at, start_by, finish_by, created_at, cancel_requested_at, error_code, mib_per_second, requested_type
FROM job
"""


def give_clock(url: str) -> None:
    """Give an empty database a clock of its own, before its schema is made."""
    name = url.rsplit("/", 1)[1].split("?")[0]
    with psycopg.connect(url.replace("postgresql+psycopg:", "postgresql:"), autocommit=True) as connection:
        connection.execute("CREATE TABLE public.moment (at timestamptz NOT NULL)")
        connection.execute("INSERT INTO public.moment VALUES (%s)", [START])
        connection.execute(
            "CREATE FUNCTION public.clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE"
            " AS 'SELECT at FROM public.moment'"
        )
        connection.execute(f'ALTER DATABASE "{name}" SET search_path = public, pg_catalog')


class TwinTowers:
    """The database's tower and the memory's, with the same machines, vaults, policies, items and slots."""

    def __init__(self, plane: ControlPlane) -> None:
        self.plane = plane
        tables = "job, unit, slot_hold, slot_return, outbox, recovery_point, fire, item, policy, policy_version"
        plane.sql(f"TRUNCATE {tables}, machine, vault CASCADE")
        plane.sql("DELETE FROM slot_scope WHERE scope <> 'global'")
        plane.sql("UPDATE slot_scope SET in_use = 0, paused = false")
        plane.sql("DELETE FROM tenant WHERE name <> 'default'")
        plane.sql("UPDATE tenant SET weight = 1")
        plane.sql("UPDATE public.moment SET at = :at", at=START)
        plane.vaults.headers.clear()
        self.now = START
        self.world = World(START)
        self.world.on_end = self._ended
        self.ledger = MemoryLedger(self.world, self._settled)
        self.memory = MemoryUnitOfWork(self.world, self.ledger)
        self.fences: dict[str, Fence] = {}
        self._over: dict[str, JobRow] = {}
        self._fires: dict[tuple[str, int, datetime], str] = {}
        self._numbers = count(1)

    # what there is

    def tenant(self, name: str, weight: int) -> None:
        self.plane.sql(
            "INSERT INTO tenant VALUES (:n, :w) ON CONFLICT (name) DO UPDATE SET weight = :w", n=name, w=weight
        )
        self.world.weights[name] = weight

    def vault(self, name: str) -> str:
        made = self.plane.vault(name)
        self._scope((Scope.VAULT, made.id))
        return made.id

    def machine(self, name: str, *, tenant: str, location: str) -> str:
        made = self.plane.machine(name, tenant=tenant, location=location)
        self._scope((Scope.MACHINE, made.id))
        self.world.weights.setdefault(tenant, 1)
        return made.id

    def policy(self, text: str) -> None:
        with self.plane.uow() as uow:
            applied = apply_policy(uow, actor="test", document=text)
        self.world.policies[applied.name] = PolicyRow(applied.name, applied.version.id, parse_policy(text))

    def item(self, name: str, *, machine: str, vault: str, policy: str | None, hypervisor: str = "") -> str:
        made = self.plane.item(name, machine=machine, vault=vault, policy=policy, hypervisor=hypervisor)
        place = self.plane.sql("SELECT tenant, location FROM machine WHERE id = :id", id=made.machine.id)[0]
        row = ItemRow(
            id=made.id,
            machine_id=made.machine.id,
            vault_id=made.vault.id,
            tenant=str(place[0]),
            location=str(place[1]),
            hypervisor=hypervisor,
            policy=None if policy is None else self.world.policies[policy],
            created_at=self.now,
            planned_through=self.now,
        )
        self.world.items[made.id] = row
        self.ledger.follow(row)
        return made.id

    def slots(self, key: ScopeKey, capacity: int, floor: int = 0) -> None:
        with self.plane.uow() as uow:
            uow.slots.set(Scope(key[0]), key[1], capacity=capacity, floor=floor)
            uow.commit()
        self._scope(key)

    def _scope(self, key: ScopeKey) -> None:
        capacity, floor = self.plane.sql(
            "SELECT capacity, floor FROM slot_scope WHERE scope = :s AND key = :k", s=str(key[0]), k=key[1]
        )[0]
        plain = (str(key[0]), key[1])
        self.world.add_scope(ScopeRow(plain, int(str(capacity)), int(str(floor))))

    # what happens

    def advance(self, seconds: float) -> None:
        """Let time pass, while whoever works renews."""
        self.now += timedelta(seconds=seconds)
        self.world.now = self.now
        self.plane.sql("UPDATE public.moment SET at = :at", at=self.now)
        self.plane.sql(
            "UPDATE unit SET lease_expires_at = :at + interval '60 seconds' WHERE claim_id IS NOT NULL", at=self.now
        )

    def pause(self, key: ScopeKey, *, paused: bool) -> None:
        with self.plane.uow() as uow:
            uow.slots.pause(Scope(key[0]), key[1], paused=paused)
            uow.commit()
        self.world.scopes[key].paused = paused

    def ask(self, kind: JobKind, item: str) -> None:
        """Make a job on demand, as the use cases that people call do."""
        number = next(self._numbers)
        row = self.world.items[item]
        job = NewJob(
            id=_id(1000 * number),
            kind=kind,
            trigger=Trigger.DEMAND,
            item_id=item,
            machine_id=row.machine_id,
            vault_id=row.vault_id,
            point_id=_id(1000 * number + 1),
            rank=rank_of(kind, Trigger.DEMAND),
            requested_by="test",
            requested_type=BackupType.INCREMENTAL if kind is JobKind.BACKUP else None,
            estimate=900.0,
            mib_per_second=3,
        )
        for uow in (self.plane.uow(), self.memory):
            with uow:
                uow.jobs.add([job])
                uow.commit()

    def tick(self) -> tuple[list[str], list[str]]:
        """Plan, file and admit; returns whom each tower admitted, in order."""
        first = next(self._numbers)
        for make in (self.plane.uow, lambda: self.memory):
            ids = (_id(1000 * first + number) for number in range(1000))
            done = 1
            while done:
                with make() as uow:
                    done = plan_fires(uow, now=self.now)
                with make() as uow:
                    done += file_fires(uow, now=self.now, ids=ids.__next__)
        admitted: list[list[str]] = []
        for make in (self.plane.uow, lambda: self.memory):
            with make() as uow:
                admitted.append(_noting_admissions(uow))
                admit(uow)
        return admitted[0], admitted[1]

    def claim(self) -> tuple[str | None, str | None]:
        """Have a worker take what was admitted first."""
        with self.plane.uow() as uow:
            uow.workers.seen("w", "s")
            taken = uow.units.claim(None, worker="w", session="s", claim_id=_id(1000 * next(self._numbers))).taken
            uow.commit()
        if taken is not None:
            self.fences[taken.job.id] = taken.fence
        mine = self.world.claim("w")
        return None if taken is None else taken.job.id, None if mine is None else mine.id

    def complete(self, job_id: str, code: str | None = None) -> None:
        """End a running job: well, with an error, or because it was asked to stop."""
        row, fence = self.world.jobs[job_id], self.fences.pop(job_id)
        outcome: Any = Failed(code=code, message="x") if code is not None and code != "cancelled" else Cancelled()
        ending = after_cancel(row.as_job())
        if code is None:
            ending = Ending(state=JobState.COMPLETED, losses=row.losses, attempt=row.attempt, type=BackupType.FULL)
            outcome = self._sealed(row)
        elif code != "cancelled":
            ending = after_failure(row.as_job(), code=code, message="x", chance=0.5)
        with self.plane.uow() as uow:
            if code is None and row.kind is not JobKind.BACKUP:
                uow.jobs.end_attempt(uow.units.lock_owned(fence), ending)
                uow.commit()
            else:
                complete(uow, message=Complete(fence=fence, outcome=outcome), chance=0.5)
        if code is None and row.kind is JobKind.BACKUP and row.attempt_started_at is not None:
            seconds = max(1.0, (self.now - row.attempt_started_at).total_seconds())
            row.item.runs = tuple(with_run(row.item.runs, seconds))
            row.item.rates = tuple(with_run(row.item.rates, 1024.0 / seconds))
            row.item.newest_point_at = self.now
        self.world.end(row, ending)

    def lose(self, job_id: str) -> None:
        """Let a worker's lease run out, and have the rescuer come."""
        self.plane.expire_lease(job_id, 60)
        self.world.lease_ends[job_id] = self.now - timedelta(seconds=60)
        with self.plane.uow() as uow:
            rescue(uow, storm_age=0, chance=lambda: 0.5)
        rescue(self.memory, storm_age=0, chance=lambda: 0.5)
        if job_id not in self.world.jobs or self.world.jobs[job_id].state is not JobState.RUNNING:
            self.fences.pop(job_id, None)

    # what can be seen

    def reasons(self) -> tuple[Mapping[object, int], Mapping[object, int]]:
        """Return how many jobs wait for what: as the database's tower says, and as the simulator counts it.

        The dispatcher admits before it explains, and who admits counts first what was given back.
        """
        with self.plane.uow() as uow:
            assert uow.admission.enter()
            uow.admission.count_returns()
            uow.commit()
        with self.plane.uow() as uow:
            explain_waits(uow)
        rows = self.plane.sql(
            "SELECT wait_reason, kind, count(*) FROM job WHERE state IN ('available', 'retryable')"
            " AND wait_reason NOT IN ('not_due') GROUP BY 1, 2"
        )
        theirs = Counter({(str(reason), str(kind)): int(str(number)) for reason, kind, number in rows})
        mine = Counter[object]()
        for (reason, kind), number in Reasons(self.world).now().items():
            mine[str(reason).split("/")[0], str(kind)] += number
        return _merged(theirs), _merged(+mine)

    def jobs(self) -> tuple[Mapping[str, object], Mapping[str, object]]:
        """Return all that is known of every job, in the database and in memory."""
        theirs = {str(row[0]): tuple(row[1:]) for row in self.plane.sql(_JOBS)}
        mine = {row.id: _seen(row) for row in (*self.world.jobs.values(), *self._over.values())}
        return theirs, mine

    def slots_in_use(self) -> tuple[Mapping[object, object], Mapping[object, object]]:
        """Return what is in use of every scope."""
        return self.plane.slots_in_use(), {key: scope.in_use for key, scope in self.world.scopes.items()}

    def fires(self) -> tuple[Mapping[object, object], Mapping[object, object]]:
        """Return the state of every fire."""
        theirs = {
            (str(row[0]), int(str(row[1])), row[2]): str(row[3])
            for row in self.plane.sql("SELECT item_id, schedule_no, nominal, state FROM fire")
        }
        planned = {
            (item.id, fire.schedule_no, fire.nominal): "planned"
            for item in self.world.items.values()
            for fire in item.fires
        }
        return theirs, planned | self._fires

    def _ended(self, row: JobRow, _: JobState) -> None:
        if row.finished_at is not None:
            self._over[row.id] = row

    def _settled(self, settlements: Any) -> None:
        for settlement in settlements:
            fire = settlement.fire
            self._fires[fire.item_id, fire.schedule_no, fire.nominal] = str(settlement.state)

    def _sealed(self, row: JobRow) -> BackupDone:
        return BackupDone(
            stats=BackupStats(files=3, bytes_transferred=1024 * MIB, bytes_stored=90),
            point=SealedPoint(
                point_id=row.point_id,
                manifest="m",
                manifest_sha256="0" * 64,
                type=BackupType.FULL,
                reference=None,
                sealed_at=self.now.isoformat(),
                files=3,
                bytes=1000,
            ),
            warnings=(),
        )


def _noting_admissions(uow: UnitOfWork) -> list[str]:
    """Have whom a transaction admits be noted, in order, in the list that is returned."""
    noted: list[str] = []
    take = type(uow.admission).admit

    def note_and_take(needs: Sequence[Needs]) -> None:
        noted.extend(need.job_id for need in needs)
        take(uow.admission, needs)

    uow.admission.admit = note_and_take  # type: ignore[method-assign]
    return noted


def _seen(row: JobRow) -> tuple[object, ...]:
    return (
        str(row.state),
        row.epoch,
        row.attempt,
        row.losses,
        row.aged_rank,
        row.ages_at,
        row.due_at,
        row.latest_start,
        row.estimate,
        row.admitted_at,
        row.started_at,
        row.finished_at,
        row.start_by,
        row.finish_by,
        row.created_at,
        row.cancel_requested_at,
        None if row.error is None else row.error.code,
        row.places.mib_per_second,
        None if row.requested_type is None else str(row.requested_type),
    )


def _merged(reasons: Mapping[Any, int]) -> Mapping[object, int]:
    """Return them with one name for what the simulator does not tell apart.

    A breaker is a back-off to it; and of a machine and a vault or a line that are both full it names the latter.
    """
    known = {"breaker": "backoff", "slot:machine": "slot", "slot:vault": "slot", "slot:bandwidth": "slot"}
    merged = Counter[object]()
    for (reason, kind), number in reasons.items():
        merged[known.get(reason, reason), kind] += number
    return merged


def _id(number: int) -> str:
    return f"{number:08x}-0000-7000-8000-000000000000"
