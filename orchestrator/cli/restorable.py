"""What of the items could not be restored today, or not for long, and what to do about it.

Rule of the file: the tower knows which items have no sound point and whose last backup failed; what a PostgreSQL server
may suffer by its slot stands in the warnings of its item's last backup.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

from orchestrator.cli import formats
from orchestrator.cli.findings import Finding
from orchestrator.cli.session import Session
from shared.errors import REGISTRY, SkyharborError

_MOST_NAMED = 50
_OF_SLOTS = ("slot-unbounded", "slot-lag")


def at_risk(session: Session) -> Iterator[Finding]:
    """Name the items that could not be restored as they should be; of many the first, and that there are more."""
    try:
        found = list(islice(session.tower().items("/at-risk"), _MOST_NAMED + 1))
    except SkyharborError:
        return  # the tower's own finding has said it, or it is an older one
    for item in found[:_MOST_NAMED]:
        # What a first backup of files adds is predicted where they can be counted, and that says as much.
        if item["job"] is not None or item["workload"] != "files" or not session.is_local():
            yield _of_item(item)
    if len(found) > _MOST_NAMED:
        yield Finding(
            "items",
            ok=False,
            detail=f"more than {_MOST_NAMED} have no sound recovery point, or their last backup failed",
            hint="See 'skyharbor compliance', and 'skyharbor job list --kind backup --state discarded'.",
        )


def slots(session: Session) -> Iterator[Finding]:
    """Say of which PostgreSQL servers the last backup has warned: of what a slot keeps, or that nothing limits it."""
    try:
        items = [item for item in session.tower().items("/items") if item["workload"] == "postgres"]
        for item in items:
            jobs = session.tower().get("/jobs", item=item["id"], kind="backup", state="completed", limit=1)["items"]
            warnings = [one for job in jobs for one in job.get("warnings") or () if one["code"] in _OF_SLOTS]
            yield from (_of_slot(item["name"], warning) for warning in warnings)
    except SkyharborError:
        return  # the tower's own finding has said it


def _of_slot(name: str, warning: Mapping[str, Any]) -> Finding:
    """A slot without a limit costs nothing while backups go well; one that lags costs the server now."""
    lags = warning["code"] == "slot-lag"
    hint = (
        f"Back it up more often, or see why it is not: skyharbor job list --item {name}"
        if lags
        else "The limit is the server's: ALTER SYSTEM SET max_slot_wal_keep_size = '20GB'; SELECT pg_reload_conf();"
    )
    return Finding(f"item {name}", ok=not lags, detail=str(warning["message"]), hint=hint)


def _of_item(item: Mapping[str, Any]) -> Finding:
    name, failed, newest = item["name"], item["failed"], item["last_point_at"]
    has = f"the newest point is of {formats.moment(newest)}" if newest else "nothing of it could be restored"
    if failed is not None:
        kind = REGISTRY.get(failed["code"])
        why = f"{kind.title if kind else failed['code']}: {failed['message']}"
        detail = f"{has}; the last backup failed on {formats.moment(item['ended_at'])}: {why}"
        return Finding(
            f"item {name}",
            ok=False,
            detail=detail,
            hint=f"What to do: skyharbor job show {item['job']}; then: skyharbor backup {name} --wait",
        )
    if item["job"] is None:
        return Finding(
            f"item {name}",
            ok=True,
            detail=f"{has}: no backup of it has ended yet",
            hint=f"Make its first point: skyharbor backup {name} --wait",
        )
    return Finding(
        f"item {name}",
        ok=False,
        detail=f"{has}: there is no sound recovery point",
        hint=f"Make a new one: skyharbor backup {name} --type full --wait",
    )
