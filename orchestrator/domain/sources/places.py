"""Paths, patterns and files of credentials, which several workloads name.

Rule of the file: what is checked here is only the text.
"""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.domain.names import check_path, check_text
from shared.errors import SkyharborError

MOST_PATHS = 1000
INTO_A_FILE = "Put it into a file of the worker's machine (password=..., mode 0600); name that with --credentials-file."


def checked_paths(paths: Sequence[str]) -> tuple[str, ...]:
    """Return absolute paths, each once."""
    return tuple(dict.fromkeys(check_path(path, field="source") for path in paths))


def checked_file(path: str) -> str:
    """Return the path of a file on the worker's machine, or nothing when none is given."""
    return check_path(path, field="source") if path else ""


def needed_file(path: str, *, what: str, lines: str) -> str:
    """Return the path of a file with credentials where nothing works without one."""
    if not path:
        raise SkyharborError(
            "bad-request",
            f"{what} needs a file with credentials: nobody is let in without",
            field="source",
            hint=f"Write {lines} into a file of the worker's machine, mode 0600; name that with --credentials-file.",
        )
    return checked_file(path)


def checked_excludes(patterns: Sequence[str]) -> tuple[str, ...]:
    """Return patterns of what is left out."""
    if len(patterns) > MOST_PATHS:
        raise SkyharborError("bad-request", f"give at most {MOST_PATHS} excludes", field="source")
    return tuple(check_text(pattern, field="source") for pattern in patterns)
