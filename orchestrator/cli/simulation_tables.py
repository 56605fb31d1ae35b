"""The tables of a simulation: what became of policies, restores and verifies, what was used, why jobs waited, what if.

Rule of the file: reports in, tables out; nothing is counted here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from orchestrator.cli import formats
from orchestrator.cli.output import Output

Report = dict[str, Any]

_MOST_SCOPES = 12
_POLICY_COUNTS = (
    "items", "fires_filed", "fires_missed", "fires_skipped", "jobs_done", "jobs_superseded", "jobs_start_missed",
    "jobs_finish_missed", "jobs_failed", "jobs_open", "rpo_missed_items",
)  # fmt: skip
_POLICY_COLUMNS = (
    "policy", "items", "fires", "missed", "skipped", "done", "replaced", "start missed", "finish missed", "failed",
    "open", "RPO missed", "wait p50", "p99", "run p50", "p99",
)  # fmt: skip
_WISH_COLUMNS = (
    "asked for", "kind", "asked", "done", "failed", "open", "late", "promised", "wait p50", "p99", "took p50", "p99",
    "longest",
)  # fmt: skip


def show_report(report: Report, out: Output) -> None:
    """Write all tables of one simulation."""
    out.fields(
        [
            ("fleet", f"{formats.count(report['items'])} items, {report['start'][:10]} to {report['end'][:10]} (UTC)"),
            ("fits", _yes(report["fits"])),
            ("bottleneck", report["bottleneck"] or "none"),
            ("backups done", f"{formats.count(report['jobs_done'])}, {report['tib_moved']:,} TiB moved"),
            ("RPO missed", f"{formats.count(report['rpo_missed_items'])} items, {report['rpo_missed_hours']:,} hours"),
            ("attempts lost", f"{formats.count(report['attempts_lost'])} with their worker"),
            ("errors", ", ".join(f"{code} {number:,}" for code, number in report["errors"].items()) or "none"),
        ]
    )
    out.table(_POLICY_COLUMNS, [_policy(policy) for policy in report["policies"]])
    wishes = [*report["restores"], *report["verifies"]]
    if wishes:
        out.table(_WISH_COLUMNS, [_wish(wish) for wish in wishes])
    out.table(
        ("scope", "capacity", "mean", "peak", "full", "job hours waited", "slowed"),
        [_scope(scope) for scope in report["scopes"][:_MOST_SCOPES]],
    )
    if report["waits"]:
        out.table(
            ("waited because of", "job hours", "restores", "backups", "verifies"),
            [_wait(wait) for wait in report["waits"][:_MOST_SCOPES]],
        )


def show_beside(reports: Sequence[tuple[str, Report]], out: Output) -> None:
    """Write what differs between simulations, one column each."""
    rows = [(name, *(read(report) for _, report in reports)) for name, read in _COMPARED]
    policies = [policy["policy"] for policy in reports[0][1]["policies"]]
    for number, policy in enumerate(policies):
        rows.append(
            (f"wait p99, {policy}", *(formats.seconds(each["policies"][number]["wait"]["p99"]) for _, each in reports))
        )
    out.table(("", *(name for name, _ in reports)), rows)


def show_limit(limit: Report, out: Output) -> None:
    """Write where a fleet stops fitting, and what every size that was tried said."""
    of = limit["of"]
    if not limit["fits"]:
        out.fields([("limit", "it does not fit as it is")])
    elif limit["fails"] is None:
        out.fields([("limit", f"it still fits with {limit['fits']:g} times the {of}")])
    else:
        out.fields(
            [("limit", f"it fits with {limit['fits']:g} times the {of} and no more with {limit['fails']:g} times")]
        )
    out.table(
        (f"times the {of}", "fits", "bottleneck", "RPO missed", "not done", "restores late"),
        [
            (
                f"{tried['times']:g}",
                _yes(tried["fits"]),
                tried["bottleneck"] or "none",
                formats.count(tried["rpo_missed_items"]),
                formats.count(tried["not_done"]),
                formats.count(tried["restores_late"]),
            )
            for tried in sorted(limit["tried"], key=lambda tried: tried["times"])
        ],
    )


def _policy(policy: Report) -> Sequence[str]:
    counts = [formats.count(policy[key]) for key in _POLICY_COUNTS]
    times = [formats.seconds(policy[what][which]) for what in ("wait", "run") for which in ("p50", "p99")]
    return [policy["policy"], *counts, *times]


def _wish(wish: Report) -> Sequence[str]:
    counts = [formats.count(wish[key]) for key in ("asked", "done", "failed", "open", "late")]
    times = [formats.seconds(wish[what][which]) for what in ("wait", "took") for which in ("p50", "p99")]
    longest = formats.seconds(wish["took"]["longest"])
    return [wish["name"], wish["kind"], *counts, formats.seconds(wish["within"]), *times, longest]


def _scope(scope: Report) -> Sequence[str]:
    return [
        scope["scope"],
        f"{scope['capacity']:,g}",
        f"{scope['mean']:,.1f}",
        f"{scope['peak']:,.0f}",
        f"{scope['share_full']:.1%}",
        f"{scope['job_hours_waited']:,.1f}",
        f"{scope['job_hours_slowed']:,.1f}",
    ]


def _wait(wait: Report) -> Sequence[str]:
    hours = ("job_hours", "restore_hours", "backup_hours", "verify_hours")
    return [wait["reason"], *(f"{wait[key]:,.1f}" for key in hours)]


def _yes(fits: bool) -> str:
    return "yes" if fits else "no"


def _hours_of_bottleneck(report: Report) -> str:
    return f"{report['scopes'][0]['job_hours_lost']:,.1f}" if report["bottleneck"] else "0.0"


_COMPARED = (
    ("items", lambda report: formats.count(report["items"])),
    ("fits", lambda report: _yes(report["fits"])),
    ("bottleneck", lambda report: report["bottleneck"] or "none"),
    ("job hours lost to it", _hours_of_bottleneck),
    ("backups done", lambda report: formats.count(report["jobs_done"])),
    ("TiB moved", lambda report: f"{report['tib_moved']:,}"),
    ("items that missed their RPO", lambda report: formats.count(report["rpo_missed_items"])),
    ("hours of RPO missed", lambda report: f"{report['rpo_missed_hours']:,}"),
    ("backups not done", lambda report: formats.count(report["jobs_not_done"])),
    ("restores late", lambda report: formats.count(sum(each["late"] for each in report["restores"]))),
)
