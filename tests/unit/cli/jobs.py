"""Jobs as the API shows them."""

from __future__ import annotations

from typing import Any

JOB_ID = "01940000-0000-7000-8000-000000000001"


def a_job(**changes: Any) -> dict[str, Any]:
    """A running backup, changed as told."""
    job: dict[str, Any] = {
        "id": JOB_ID, "kind": "backup", "type": "full", "item": "etc", "item_id": "i", "state": "running",
        "point": None, "attempt": 1, "epoch": 2, "created_at": "2026-11-22T10:00:00Z",
        "started_at": "2026-11-22T10:00:01Z", "finished_at": None, "seconds": None, "wait_reason": None,
        "queue_position": None, "cancel_requested_at": None, "progress": None, "error": None, "stats": None,
        "warnings": [], "policy_version": None, "requested_by": "operator", "retry_of": None, "target": None,
        "paths": [], "conflict": None, "full": None,
    }  # fmt: skip
    return {**job, **changes}


def a_done_job(**changes: Any) -> dict[str, Any]:
    """A completed backup without warnings, changed as told."""
    done = {
        "state": "completed", "point": "01940000-0000-7000-8000-0000000000aa", "seconds": 1.9,
        "finished_at": "2026-11-22T10:00:03Z", "stats": {"files": 3, "bytes_read": 2048, "warnings": 0},
    }  # fmt: skip
    return a_job(**{**done, **changes})


def an_error(code: str, *, attempt: int = 1, hint: str = "H") -> dict[str, Any]:
    """The error of a job that failed."""
    return {"attempt": attempt, "code": code, "title": "T", "message": "M", "hint": hint}
