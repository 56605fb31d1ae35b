"""The report of a simulation: does the fleet keep its promises, what was used how much, and what was too small.

Rule of the file: a pure function of a record; what it returns is the document of ``--json``, and tables and pictures
are made of nothing else.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from orchestrator.domain.job_states import FireState, JobState
from orchestrator.simulation.record import PolicyCounts, Record, ScopeUse

_SUPERSEDED = (JobState.EXPIRED, "")
_HOUR = 3600.0

Report = dict[str, Any]
"""Plain values. Hours are hours, shares lie between 0 and 1, waits and runs are seconds, None where there were none."""


def report_of(record: Record) -> Report:
    """Return the report.

    ``fires_planned`` are those that the end found planned and not yet settled. ``fits`` is True when every fire made a
    point in its time and no promised RPO was broken. The ``bottleneck`` is the scope that was full while jobs waited,
    weighted by how many waited how long; None when nothing ever waited for one.
    """
    policies = [_policy(name, record, counts) for name, counts in sorted(record.policies.items())]
    scopes = [_scope(name_of(key), use, record) for key, use in record.scopes.items()]
    scopes.sort(key=lambda scope: (-scope["job_hours_waited"], -scope["share_full"], scope["scope"]))
    narrow = next((scope for scope in scopes if scope["job_hours_waited"] > 0), None)
    totals = {key: sum(policy[key] for policy in policies) for key in _SUMMED}
    return {
        "start": record.start.isoformat(),
        "end": record.end.isoformat(),
        "seed": record.seed,
        "step_seconds": record.step,
        "items": record.items,
        "fits": all(policy["fits"] for policy in policies),
        **totals,
        "fires_planned": record.open_fires,
        "errors": _errors(record.policies.values()),
        "attempts_lost": record.losses,
        "tib_moved": round(record.mib / 1024**2, 3),
        "bottleneck": None if narrow is None else narrow["scope"],
        "policies": policies,
        "scopes": scopes,
        "samples": [
            {
                "at": sample.at.isoformat(),
                "waiting": round(sample.waiting, 2),
                "running": round(sample.running, 2),
                "used": {name_of(key): round(used, 2) for key, used in sample.used.items()},
            }
            for sample in record.samples
        ],
    }


_SUMMED = (
    "fires_filed", "fires_missed", "fires_skipped", "jobs_done", "jobs_superseded", "jobs_start_missed",
    "jobs_finish_missed", "jobs_failed", "jobs_open", "attempts", "rpo_missed_items", "rpo_missed_hours",
)  # fmt: skip


def name_of(key: tuple[str, str]) -> str:
    """Return a scope as people write it."""
    return f"{key[0]}/{key[1]}" if key[1] else str(key[0])


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


def _scope(name: str, use: ScopeUse, record: Record) -> Report:
    seconds = (record.end - record.start).total_seconds()
    return {
        "scope": name,
        "capacity": use.capacity,
        "mean": round(use.used / seconds, 2),
        "peak": use.peak,
        "share_full": round(use.full / seconds, 4),
        "job_hours_waited": round(use.blocked / _HOUR, 1),
    }


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
