"""I1 and I5: what became of every job that was accepted and of every nominal time of a schedule.

Rule of the file: asked of a tower at rest; the audit log has to tell the same story as the tables.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

from tests.storm.checker.database import Look
from tests.storm.checker.violation import Violation

TERMINAL = {"completed", "cancelled", "discarded", "expired"}
_SETTLED = {"filed", "missed", "skipped"}


def unended_jobs(db: Look, accepted: Iterable[str]) -> list[Violation]:
    """I1: jobs that were promised and are gone, and jobs that have not ended."""
    states = {row["id"]: row["state"] for row in db.rows("SELECT id, state FROM job")}
    lost = [Violation("I1", f"job {job} was accepted and is gone") for job in sorted(accepted) if job not in states]
    open_jobs = [
        Violation("I1", f"job {row['id']} has not ended", dict(row))
        for row in db.rows(
            "SELECT id, kind, state, attempt, epoch, wait_reason, error_code, due_at, now() AS now FROM job"
            " WHERE NOT state = ANY (%(terminal)s) OR finished_at IS NULL ORDER BY id",
            terminal=list(TERMINAL),
        )
    ]
    return lost + open_jobs


def several_ends(db: Look) -> list[Violation]:
    """I1: jobs of which the audit log tells no end, several, or another one than the table."""
    states = {row["id"]: row["state"] for row in db.rows("SELECT id, state FROM job")}
    told = db.rows(
        "SELECT target, action, detail->>'state' AS state FROM (SELECT target, action, detail, 0 AS unsealed, seq AS n"
        " FROM audit UNION ALL SELECT target, action, detail, 1, id FROM audit_unsealed) a ORDER BY unsealed, n"
    )
    ends: dict[str, list[str]] = {job: [] for job in states}
    asked: set[str] = set()
    for line in told:
        if line["action"] in _TELL_AN_END and line["state"] in TERMINAL:
            ends.setdefault(line["target"], []).append(line["state"])
        elif line["action"] in _EXPIRE:
            ends.setdefault(line["target"], []).append("expired")
        elif line["action"] == "job.cancel":
            asked.add(line["target"])
    found = []
    for job, state in states.items():
        # A job that waits is cancelled by the line that asks for it.
        expected = [[state], []] if state == "cancelled" and job in asked else [[state]]
        if state in TERMINAL and ends[job] not in expected:
            found.append(Violation("I1", f"job {job} is {state}, the audit log tells of the ends {ends[job]}"))
    return found


_TELL_AN_END = {"job.end", "job.rescue", "job.orphaned", "job.release"}
_EXPIRE = {"job.expire", "job.supersede"}


def changed_after_end(seen: Mapping[str, tuple[str, datetime]], db: Look) -> list[Violation]:
    """I1: jobs that were seen ended during the storm, by id, and are something else now."""
    now = {row["id"]: (row["state"], row["finished_at"]) for row in db.rows("SELECT id, state, finished_at FROM job")}
    return [
        Violation("I1", f"job {job} had ended and changed", {"then": end, "now": now.get(job)})
        for job, end in seen.items()
        if now.get(job) != end
    ]


def unsettled_fires(db: Look, *, at: datetime) -> list[Violation]:
    """I1: fires whose time was over at ``at`` and that nothing has become of, or a job that is not there."""
    open_fires = [
        Violation("I1", f"the fire of {row['nominal']} is {row['state']}", dict(row))
        for row in db.rows(
            "SELECT item_id, nominal, state, due_at, job_id FROM fire WHERE due_at <= %(at)s"
            " AND (NOT state = ANY (%(settled)s) OR settled_at IS NULL) ORDER BY due_at",
            at=at,
            settled=list(_SETTLED),
        )
    ]
    without_job = db.rows(
        "SELECT f.item_id, f.nominal, f.state, f.job_id, j.id FROM fire f LEFT JOIN job j ON j.id = f.job_id"
        " WHERE (f.state = 'filed') <> (j.id IS NOT NULL)"
    )
    return open_fires + [Violation("I1", "a filed fire and its job do not fit", dict(row)) for row in without_job]


def doubled_fires(db: Look) -> list[Violation]:
    """I5: nominal times with several fires, fires with several jobs, jobs with several fires or none."""
    found = [
        Violation("I5", f"{row['number']} fires of one nominal time", dict(row))
        for row in db.rows(
            "SELECT item_id, schedule_no, zone, nominal, count(*) AS number FROM fire GROUP BY 1, 2, 3, 4"
            " HAVING count(*) > 1"
        )
    ]
    fires = Counter(row["job_id"] for row in db.rows("SELECT job_id FROM fire WHERE job_id IS NOT NULL"))
    scheduled = db.rows(
        "SELECT id, item_id, created_at FROM job WHERE trigger = 'schedule' AND kind = 'backup' ORDER BY id"
    )
    return found + [
        Violation("I5", f"scheduled job {row['id']} has {fires[row['id']]} fires", row)
        for row in scheduled
        if fires[row["id"]] != 1
    ]


def missing_minutes(db: Look, item: str, *, at: datetime) -> list[Violation]:
    """I5: minutes without a fire of an item that is due every minute, in UTC, from its creation up to ``at``."""
    (row,) = db.rows("SELECT id, created_at FROM item WHERE name = %(item)s", item=item)
    nominal = {fire["nominal"] for fire in db.rows("SELECT nominal FROM fire WHERE item_id = %(id)s", id=row["id"])}
    minute = row["created_at"].replace(second=0, microsecond=0) + timedelta(minutes=1)
    found = []
    while minute <= at:
        if minute.replace(tzinfo=None) not in nominal:
            found.append(Violation("I5", f"item {item} has no fire of {minute}"))
        minute += timedelta(minutes=1)
    return found
