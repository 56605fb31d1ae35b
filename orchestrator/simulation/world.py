"""Everything the simulated tower keeps, and the transitions of jobs: what tables and their statements are elsewhere.

Whatever may happen because time has passed (due, older, too late) stands in a heap by its time, so that a tick looks at
what is ripe and at nothing else. Entries of a heap may be out of date; each is checked when it is taken out.

Rule of the file: the same guards and the same effects as the statements in ``orchestrator/store/sql``; an exam compares
both. Nothing is undone: an error is a defect of the simulation and ends it.
"""

from __future__ import annotations

import heapq
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta

from orchestrator.domain.admission import Holder, Needs
from orchestrator.domain.job_states import TERMINAL, JobState, may_move
from orchestrator.domain.jobs import Ending, Job, NewJob, WaitReason
from orchestrator.domain.slots import GLOBAL, GLOBAL_CAPACITY, GLOBAL_RESTORE_FLOOR, Places, Scope, ScopeKey
from orchestrator.domain.urgency import AGEING, CLASS_STEP, FIRST_RANK
from orchestrator.simulation.rows import ItemRow, JobRow, PolicyRow, ScopeRow
from orchestrator.simulation.waiting import Waiting
from shared.errors import SkyharborError
from shared.model.backup import JobKind

_FAILED = (JobState.RETRYABLE, JobState.DISCARDED)
_WAIT_AFTER = {JobState.RETRYABLE: WaitReason.BACKOFF, JobState.AVAILABLE: WaitReason.ADMISSION}
_Timed = list[tuple[datetime, str, JobRow]]


class World:
    """The tower's memory at the moment ``now``, which only the simulation's clock moves.

    ``shared`` are the ``scopes`` but those of machines, ``busy_items`` those with a backup that holds slots,
    ``backing_off`` the number of jobs that wait to be tried again. ``leased`` are the jobs with a lease, ``lease_ends``
    when it ends of those that nobody renews. ``woken`` is set when something happened that the loops care about.
    ``on_end`` is called after every end of a job or an attempt, with the state it had before; ``on_stop`` when a
    running job is asked to stop.
    """

    def __init__(self, now: datetime) -> None:
        self.now = now
        self.policies: dict[str, PolicyRow] = {}
        self.items: dict[str, ItemRow] = {}
        self.jobs: dict[str, JobRow] = {}
        self.scopes: dict[ScopeKey, ScopeRow] = {}
        self.shared: dict[ScopeKey, ScopeRow] = {}
        self.weights: dict[str, int] = {"default": 1}
        self.tenants_running: Counter[str] = Counter()
        self.waiting = Waiting(self.scopes)
        self.busy_items: dict[str, ItemRow] = {}
        self.backing_off: Counter[JobKind] = Counter()
        self.retries = 0
        self.leased: set[str] = set()
        self.lease_ends: dict[str, datetime] = {}
        self.woken = False
        self.on_end: Callable[[JobRow, JobState], None] | None = None
        self.on_stop: Callable[[JobRow], None] | None = None
        self._fresh: _Timed = []
        self._again: dict[str, _Timed] = {}
        self._ageing: _Timed = []
        self._start_by: _Timed = []
        self._finish_by: _Timed = []
        self._admitted: list[tuple[bool, datetime, str, JobRow]] = []  # restores first
        self._failures: dict[str, tuple[datetime, str]] = {}
        self._failure_codes: Counter[str] = Counter()
        self._good: deque[datetime] = deque()

        self.add_scope(ScopeRow(GLOBAL, GLOBAL_CAPACITY, GLOBAL_RESTORE_FLOOR, since=now))

    def add_scope(self, scope: ScopeRow) -> None:
        """Have a scope, in the place of one with its key. Call it before any job waits."""
        self.scopes[scope.key] = scope
        if scope.key[0] != Scope.MACHINE:
            self.shared[scope.key] = scope

    def add_job(self, new: NewJob) -> JobRow:
        """Keep a job (``add_jobs``)."""
        item, since = self.items[new.item_id], new.waiting_since or self.now
        row = JobRow(
            id=new.id,
            kind=new.kind,
            trigger=new.trigger,
            state=JobState.AVAILABLE if new.due_at is None else JobState.SCHEDULED,
            item=item,
            places=_places_of(new, item),
            point_id=new.point_id,
            rank=new.rank,
            aged_rank=new.rank,
            created_at=since,
            due_at=new.due_at or self.now,
            latest_start=new.latest_start or self.now,
            estimate=new.estimate,
            max_attempts=new.max_attempts,
            longest_pause=new.longest_pause,
            requested_by=new.requested_by,
            requested_type=new.requested_type,
            type=new.requested_type,
            ages_at=since + AGEING if new.rank > FIRST_RANK else None,
            start_by=new.start_by,
            finish_by=new.finish_by,
            policy_version=new.policy_version,
            wait_reason=WaitReason.ADMISSION if new.due_at is None else WaitReason.NOT_DUE,
        )
        self.jobs[row.id] = row
        item.open_jobs.append(row)
        if row.start_by is not None:
            heapq.heappush(self._start_by, (row.start_by, row.id, row))
        if row.state is JobState.AVAILABLE:
            self._wait(row)
        else:
            heapq.heappush(self._fresh, (row.due_at, row.id, row))
        return row

    def admit(self, needs: Sequence[Needs]) -> None:
        """Take the slots of jobs, all or nothing (``admit_jobs``, ``admit_slots``)."""
        for need in needs:
            row = self.jobs.get(need.job_id)
            if row is None or row.epoch != need.epoch or row.queued_as is None:
                raise SkyharborError("conflict", "a job that was to be admitted has moved on")
            self.waiting.remove(row)
            row.admitted_at, row.epoch, row.wait_reason = self.now, row.epoch + 1, WaitReason.WORKER
            self._became_active(row)
            row.holds = need.slots
            holder = Holder(row.ends_at(), 1)
            for key, count in need.slots:
                scope = self.scopes[key]
                if scope.watched:
                    scope.measure(self.now)
                scope.in_use += count
                scope.peak = max(scope.peak, scope.in_use)
                if scope.in_use > scope.capacity:
                    raise AssertionError(f"{key} is oversubscribed: {scope.in_use} of {scope.capacity}")
                scope.holders[row.id] = holder if count == 1 else Holder(holder.ends_at, count)
            heapq.heappush(self._admitted, (row.kind is not JobKind.RESTORE, self.now, row.id, row))

    def claim(self, worker: str) -> JobRow | None:
        """Give a restore, or the longest admitted job, to a worker (``claim_job``); None for none."""
        while self._admitted:
            _, at, _, row = heapq.heappop(self._admitted)
            if row.state is not JobState.AVAILABLE or row.admitted_at != at:
                continue
            row.state, row.epoch, row.attempt = JobState.RUNNING, row.epoch + 1, row.attempt + 1
            row.wait_reason, row.worker = None, worker
            row.started_at = row.started_at or self.now
            row.attempt_started_at = self.now
            self.leased.add(row.id)
            ends_at = row.ends_at()
            for key, count in row.holds:
                self.scopes[key].holders[row.id] = Holder(ends_at, count)
            if row.finish_by is not None:
                heapq.heappush(self._finish_by, (row.finish_by, row.id, row))
            return row
        return None

    def admitted(self) -> Iterator[JobRow]:
        """Yield the admitted jobs that no worker has claimed."""
        for _, at, _, row in self._admitted:
            if row.state is JobState.AVAILABLE and row.admitted_at == at:
                yield row

    def unclaimed(self) -> int:
        """Return how many admitted jobs no worker has claimed, at most: some may have ended."""
        return len(self._admitted)

    def end_attempt(self, job: Job, ending: Ending) -> None:
        """Apply an ending (``end_attempt``, ``count_returns``). ``stale-claim`` when the job has moved on."""
        row = self.jobs.get(job.id)
        if row is None or row.state is not job.state or row.epoch != job.epoch:
            raise SkyharborError("stale-claim", f"job {job.id} has moved on")
        self.end(row, ending)

    def end(self, row: JobRow, ending: Ending) -> None:
        """Apply an ending to a job's present attempt or wait."""
        before, terminal = row.state, ending.state in TERMINAL
        if not may_move(before, ending.state):
            raise AssertionError(f"job {row.id}: no way from {before} to {ending.state}")
        self.waiting.remove(row)
        if row.active:
            self._became_idle(row)
        self.retries -= row.retried
        self.backing_off[row.kind] += (ending.state is JobState.RETRYABLE) - (before is JobState.RETRYABLE)
        row.state, row.epoch = ending.state, row.epoch + 1
        row.attempt, row.losses, row.error = ending.attempt, ending.losses, ending.error
        row.backoff_seconds, row.wait_reason = ending.backoff_seconds, _WAIT_AFTER.get(ending.state)
        row.due_at = self.now + timedelta(seconds=ending.due_in)
        if not terminal:
            row.admitted_at = None
        if ending.state is JobState.CANCELLED:
            row.cancel_requested_at = row.cancel_requested_at or self.now
        row.type = ending.type or row.type
        row.finished_at = self.now if terminal else None
        self.retries += row.retried
        self._remember(row, failed=ending.error is not None and ending.state in _FAILED)
        self.leased.discard(row.id)
        self.lease_ends.pop(row.id, None)
        self._release(row)
        if terminal:
            del self.jobs[row.id]
            row.item.open_jobs.remove(row)
        elif ending.state is JobState.RETRYABLE:
            self._retry_later(row)
        else:
            self._wait(row)
        self.woken = True
        if self.on_end is not None:
            self.on_end(row, before)

    def ask_to_stop(self, row: JobRow, reason: str) -> None:
        """Set ``cancel_requested_at`` of a running job (``stop_overdue``)."""
        row.cancel_requested_at, row.cancel_reason = self.now, reason
        if self.on_stop is not None:
            self.on_stop(row)

    def promote(self, row: JobRow) -> None:
        """Have a due job wait for its turn (``promote_due``)."""
        self.backing_off[row.kind] -= row.state is JobState.RETRYABLE
        row.state, row.wait_reason = JobState.AVAILABLE, WaitReason.ADMISSION
        self.retries += row.retried
        self._wait(row)

    def ripe_fresh(self, limit: int) -> Iterator[JobRow]:
        """Take out the due jobs that come for the first time or lost their worker, by their time."""
        return _ripe(self._fresh, self.now, limit, lambda at, row: row.due_at == at and _is_due_later(row))

    def ripe_again(self, limit: int, tripped: Sequence[str]) -> Iterator[JobRow]:
        """Take out the due retries by their time, but for those whose last error is one of ``tripped``."""
        while limit > 0:
            heaps = [heap for code, heap in self._again.items() if code not in tripped and heap]
            first = min(heaps, key=lambda heap: heap[0][:2], default=None)
            if first is None or first[0][0] > self.now:
                return
            at, _, row = heapq.heappop(first)
            if row.state is JobState.RETRYABLE and row.due_at == at:
                limit -= 1
                yield row

    def ripe_for_age(self, limit: int) -> Iterator[JobRow]:
        """Take out the waiting jobs that are to move up a class."""
        return _ripe(self._ageing, self.now, limit, lambda at, row: row.ages_at == at and row.queued_as is not None)

    def age(self, row: JobRow) -> None:
        """Move a waiting job up (``age_jobs``)."""
        steps = (self.now - row.created_at) // AGEING
        self.waiting.remove(row)
        row.aged_rank = max(min(FIRST_RANK, row.rank), row.rank - CLASS_STEP * steps)
        row.ages_at = row.created_at + AGEING * (1 + steps) if row.aged_rank > FIRST_RANK else None
        self._wait(row)

    def overdue_starts(self, limit: int) -> list[JobRow]:
        """Return jobs that were never tried and whose time to start is over, by that time."""
        found = list(_ripe(self._start_by, self.now, limit, lambda _, row: _is_untried(row)))
        for row in found:  # whoever asks is to end them; one that goes on is found again
            heapq.heappush(self._start_by, (row.start_by or self.now, row.id, row))
        return found

    def overdue_finishes(self, limit: int) -> Iterator[JobRow]:
        """Take out running jobs whose time to finish is over and that were not asked to stop."""
        return _ripe(
            self._finish_by,
            self.now,
            limit,
            lambda _, row: row.state is JobState.RUNNING and row.cancel_requested_at is None,
        )

    def recent_ends(self, seconds: float) -> Counter[str]:
        """Return the ends of attempts within so many seconds, by code (``recent_ends``)."""
        since = self.now - timedelta(seconds=seconds)
        while self._good and self._good[0] <= since:
            self._good.popleft()
        while self._failures:
            job_id, (at, code) = next(iter(self._failures.items()))
            if at > since:
                break
            del self._failures[job_id]
            self._failure_codes[code] -= 1
        counted = Counter({code: count for code, count in self._failure_codes.items() if count})
        if self._good:
            counted[""] += len(self._good)
        return counted

    def next_by_time(self) -> datetime | None:
        """Return the first time at which something becomes ripe by itself; it may turn out to be nothing."""
        heaps = [self._fresh, self._ageing, self._start_by, self._finish_by, *self._again.values()]
        return min((heap[0][0] for heap in heaps if heap), default=None)

    def _wait(self, row: JobRow) -> None:
        self.waiting.add(row)
        if row.ages_at is not None:
            heapq.heappush(self._ageing, (row.ages_at, row.id, row))

    def _retry_later(self, row: JobRow) -> None:
        code = "" if row.error is None else row.error.code
        heap = self._fresh if code == "worker-lost" else self._again.setdefault(code, [])
        heapq.heappush(heap, (row.due_at, row.id, row))

    def _became_active(self, row: JobRow) -> None:
        self.tenants_running[row.places.tenant] += 1
        if row.kind is JobKind.BACKUP:
            row.item.busy += 1
            self.busy_items[row.item.id] = row.item

    def _became_idle(self, row: JobRow) -> None:
        self.tenants_running[row.places.tenant] -= 1
        if row.kind is JobKind.BACKUP:
            row.item.busy -= 1
            if not row.item.busy:
                del self.busy_items[row.item.id]

    def _release(self, row: JobRow) -> None:
        for key, count in row.holds:
            scope = self.scopes[key]
            if scope.watched:
                scope.measure(self.now)
            scope.in_use -= count
            del scope.holders[row.id]
        row.holds = ()

    def _remember(self, row: JobRow, *, failed: bool) -> None:
        """Keep how the attempt ended. A job counts with its last failure's time and its present error."""
        known = self._failures.get(row.id)
        if known is not None:
            self._failure_codes[known[1]] -= 1
        code = "" if row.error is None else row.error.code
        if failed:
            self._failures.pop(row.id, None)  # the newest stands last
            known = (self.now, code)
        if known is not None:
            self._failures[row.id] = (known[0], code)
            self._failure_codes[code] += 1
        if row.state is JobState.COMPLETED:
            self._good.append(self.now)


def _places_of(new: NewJob, item: ItemRow) -> Places:
    """Return where a job takes place. Most jobs of an item take place where its last one did: that value is kept."""
    known = item.places
    if known is None or (known.kind, known.mib_per_second) != (new.kind, new.mib_per_second):
        known = item.places = Places(
            kind=new.kind,
            tenant=item.tenant,
            location=item.location,
            hypervisor=item.hypervisor,
            machine_id=item.machine_id,
            vault_id=item.vault_id,
            mib_per_second=new.mib_per_second,
        )
    return known


def _ripe(heap: _Timed, now: datetime, limit: int, valid: Callable[[datetime, JobRow], bool]) -> Iterator[JobRow]:
    seen: set[str] = set()
    while heap and heap[0][0] <= now and limit > 0:
        at, job_id, row = heapq.heappop(heap)
        if job_id not in seen and valid(at, row):
            seen.add(job_id)
            limit -= 1
            yield row


def _is_due_later(row: JobRow) -> bool:
    return row.state is JobState.SCHEDULED or row.state is JobState.RETRYABLE


def _is_untried(row: JobRow) -> bool:
    return row.state in (JobState.SCHEDULED, JobState.AVAILABLE) and row.admitted_at is None and row.started_at is None
