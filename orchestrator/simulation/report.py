"""The report of a simulation: does the fleet keep its promises, what was used how much, and what was too small.

Rule of the file: a pure function of a record; what it returns is the document of ``--json``, and tables and pictures
are made of nothing else.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from orchestrator.domain.job_states import FireState, JobState
from orchestrator.simulation.reasons import name_of
from orchestrator.simulation.record import PolicyCounts, Record, ScopeUse, WishCounts
from shared.model.backup import JobKind

_SUPERSEDED = (JobState.EXPIRED, "")
_HOUR = 3600.0

Report = dict[str, Any]
"""Plain values. Hours are hours, shares lie between 0 and 1, waits and runs are seconds, None where there were none."""


def report_of(record: Record) -> Report:
    """Return the report.

    ``fires_planned`` are those that the end found planned and not yet settled. ``fits`` is True when every fire made a
    point in its time, no promised RPO was broken, every restore was done within what it was promised and the verifies
    keep up. The ``bottleneck`` is the scope that was full, or the speed that was used up, while jobs waited, weighted
    by how many waited how long; a speed counts by what it slowed jobs down, too. None when nothing ever did.
    """
    policies = [_policy(name, record, counts) for name, counts in sorted(record.policies.items())]
    scopes = [_scope(name_of(key), use, record) for key, use in record.scopes.items()]
    scopes.sort(key=lambda scope: (-scope["job_hours_lost"], -scope["share_full"], scope["scope"]))
    narrow = next((scope for scope in scopes if scope["job_hours_lost"] > 0), None)
    wishes = [_wish(name, counts) for (_, name), counts in record.wishes.items()]
    totals = {key: sum(policy[key] for policy in policies) for key in _SUMMED}
    return {
        "start": record.start.isoformat(),
        "end": record.end.isoformat(),
        "seed": record.seed,
        "step_seconds": record.step,
        "items": record.items,
        "fits": all(each["fits"] for each in (*policies, *wishes)),
        **totals,
        "jobs_not_done": sum(totals[key] for key in _NOT_DONE),
        "fires_planned": record.open_fires,
        "errors": _errors(record.policies.values()),
        "attempts_lost": record.losses,
        "tib_moved": round(record.mib / 1024**2, 3),
        "bottleneck": None if narrow is None else narrow["scope"],
        "policies": policies,
        "restores": [wish for wish in wishes if wish["kind"] == JobKind.RESTORE],
        "verifies": [wish for wish in wishes if wish["kind"] == JobKind.VERIFY],
        "scopes": scopes,
        "waits": _waits(record),
        "samples": [
            {
                "at": sample.at.isoformat(),
                "waiting": round(sample.waiting, 2),
                "running": round(sample.running, 2),
                "reasons": {reason: round(jobs, 2) for reason, jobs in sample.reasons.items()},
                "used": {name_of(key): round(used, 2) for key, used in sample.used.items()},
            }
            for sample in record.samples
        ],
    }


_SUMMED = (
    "fires_filed", "fires_missed", "fires_skipped", "jobs_done", "jobs_superseded", "jobs_start_missed",
    "jobs_finish_missed", "jobs_failed", "jobs_open", "attempts", "rpo_missed_items", "rpo_missed_hours",
)  # fmt: skip


_NOT_DONE = (
    "jobs_superseded",
    "jobs_start_missed",
    "jobs_finish_missed",
    "jobs_failed",
    "fires_missed",
    "fires_skipped",
)
"""What became of fires that made no point."""


def _policy(name: str, record: Record, counts: PolicyCounts) -> Report:
    ended = counts.ended
    done = sum(number for (state, _), number in ended.items() if state is JobState.COMPLETED)
    failed = sum(number for (state, _), number in ended.items() if state is JobState.DISCARDED)
    start_missed = ended[JobState.EXPIRED, "start-missed"]
    finish_missed = sum(number for (state, _), number in ended.items() if state is JobState.CANCELLED)
    late = len(counts.late_items)
    lost = ended[_SUPERSEDED] + failed + start_missed + finish_missed + counts.fires[FireState.MISSED]
    return {
        "policy": name,
        "items": record.policy_items[name],
        "items_with_rpo": record.promised[name],
        "fits": lost + counts.fires[FireState.SKIPPED] + late == 0,
        "fires_filed": counts.fires[FireState.FILED],
        "fires_missed": counts.fires[FireState.MISSED],
        "fires_skipped": counts.fires[FireState.SKIPPED],
        "jobs_done": done,
        "jobs_superseded": ended[_SUPERSEDED],
        "jobs_start_missed": start_missed,
        "jobs_finish_missed": finish_missed,
        "jobs_failed": failed,
        "jobs_open": counts.filed - sum(ended.values()),
        "attempts": counts.attempts,
        "rpo_missed_items": late,
        "rpo_missed_hours": round(counts.late_seconds / _HOUR, 1),
        "wait": _percentiles(counts.waits),
        "run": _percentiles(counts.runs),
    }


def _wish(name: str, counts: WishCounts) -> Report:
    done, failed = counts.ended[JobState.COMPLETED], counts.ended[JobState.DISCARDED]
    left = counts.asked - sum(counts.ended.values())
    behind = counts.kind is JobKind.VERIFY and left > max(1.0, counts.in_period)
    return {
        "name": name,
        "kind": str(counts.kind),
        "fits": failed + counts.late == 0 and not behind,
        "asked": counts.asked,
        "done": done,
        "failed": failed,
        "open": left,
        "late": counts.late,
        "within": counts.within,
        "tib_read": round(counts.mib / 1024**2, 3),
        "wait": _percentiles(counts.waits),
        "run": _percentiles(counts.runs),
        "took": _percentiles(counts.took),
    }


def _waits(record: Record) -> list[Report]:
    """Return the reasons for which jobs waited, the longest first."""
    hours: dict[str, Report] = {}
    for (reason, kind), seconds in record.reasons.items():
        row = hours.setdefault(reason, {"reason": reason, **{f"{each}_hours": 0.0 for each in JobKind}})
        row[f"{kind}_hours"] = round(row[f"{kind}_hours"] + seconds / _HOUR, 1)
    for row in hours.values():
        row["job_hours"] = round(sum(row[f"{kind}_hours"] for kind in JobKind), 1)
    told = (row for row in hours.values() if row["job_hours"])
    return sorted(told, key=lambda row: (-row["job_hours"], row["reason"]))


def _scope(name: str, use: ScopeUse, record: Record) -> Report:
    seconds = (record.end - record.start).total_seconds()
    return {
        "scope": name,
        "capacity": _plain(use.capacity),
        "mean": round(use.used / seconds, 2),
        "peak": _plain(use.peak),
        "share_full": round(use.full / seconds, 4),
        "job_hours_waited": round(use.blocked / _HOUR, 1),
        "job_hours_slowed": round(use.slowed / _HOUR, 1),
        "job_hours_lost": round((use.blocked + use.slowed) / _HOUR, 1),
    }


def _plain(number: float) -> float:
    """Return a whole number as one: slots are, MiB/s need not be."""
    return int(number) if number == int(number) else round(number, 1)


def _errors(policies: Iterable[PolicyCounts]) -> dict[str, int]:
    counted: Counter[str] = Counter()
    for counts in policies:
        for (_, code), number in counts.ended.items():
            counted[code] += number if code else 0
    return {code: number for code, number in sorted(counted.items()) if number}


def _percentiles(seconds: Sequence[float]) -> Report:
    ordered = sorted(seconds)
    return {
        name: round(ordered[min(len(ordered) - 1, int(share * len(ordered)))], 1) if ordered else None
        for name, share in (("p50", 0.50), ("p99", 0.99), ("longest", 1.0))
    }
