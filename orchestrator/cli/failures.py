"""How a failure reaches the person or the program that asked: one line and a hint, or one JSON document.

Rule of the file: the code, title and exit code come from the error registry, never from the message.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from orchestrator.cli.output import Output
from shared.errors import REGISTRY, ErrorClass, ExitCode, SkyharborError


def error_document(error: SkyharborError) -> dict[str, Any]:
    """Return what ``--json`` prints for a failure; the fields of the error travel along."""
    inner: dict[str, Any] = {
        "code": error.code,
        "title": error.kind.title,
        "message": error.detail,
        "hint": error.hint,
    }
    inner.update({key: value for key, value in error.fields.items() if key not in inner})
    return {"error": inner}


def report(error: SkyharborError, out: Output) -> int:
    """Tell the failure and return the exit code. With ``--json`` its document is the one on stdout."""
    if out.json:
        out.document(error_document(error))
    title, detail = error.kind.title, error.detail
    out.say(f"error: {title}: {detail} ({error.code})" if detail != title else f"error: {title} ({error.code})")
    problems = error.fields.get("errors")
    if isinstance(problems, list):
        for line in map(_problem_line, problems):
            if line not in detail:
                out.say(f"  {line}")
    if error.hint:
        out.say(f"hint: {error.hint}")
    return error.kind.exit_code


def job_exit_code(job: Mapping[str, Any]) -> int:
    """Return the exit code for a finished job.

    Completed is 0, or 3 with warnings, or 1 when a verify found files that cannot be restored. Cancelled, and stopped
    by an error of the class refused, is 5; a path or a vault that the job was to use and that does not exist is 4; all
    else is 1. The codes 2 and 6 speak of the command itself: there was a job, so it was understood and it arrived.
    """
    state, stats = job.get("state"), job.get("stats") or {}
    if state == "completed":
        if stats.get("problems"):
            return ExitCode.FAILED
        return ExitCode.WARNINGS if stats.get("warnings") or job.get("warnings") else ExitCode.DONE
    if state == "cancelled":
        return ExitCode.REFUSED
    kind = REGISTRY.get((job.get("error") or {}).get("code", ""))
    if kind is not None and kind.error_class is ErrorClass.REFUSED:
        return ExitCode.REFUSED
    return ExitCode.NOT_FOUND if kind is not None and kind.exit_code == ExitCode.NOT_FOUND else ExitCode.FAILED


def _problem_line(problem: object) -> str:
    if not isinstance(problem, Mapping):
        return str(problem)
    where = problem.get("line", problem.get("field"))
    return f"line {where}: {problem.get('message')}" if isinstance(where, int) else f"{where}: {problem.get('message')}"
