"""Paths that people give on this machine, and mean on the protected one.

Rule of the file: text, and a look where we can know. What is wrong now is a warning and no refusal: what is to be
protected may be mounted, started or written later.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from orchestrator.cli.session import Session
from shared.errors import SkyharborError

_NOT_YET = "backups fail until there is"


def warn_of(session: Session, workload: str, source: Mapping[str, Any]) -> None:
    """Say what of a source is not as it has to be, where we can know: when this home's stack is on this machine."""
    if session.is_local():
        for said in _wrongs(workload, source):
            session.out.say(f"warning: {said}")


def absolute(session: Session, path: str) -> str:
    """Return the path from the root without a trailing slash; relative ones count from here.

    ``bad-request`` for one that is none, and for a relative one when the worker is not here.
    """
    if not path or "\0" in path:
        raise SkyharborError("bad-request", f"{path!r} is no path")
    if not path.startswith("/") and not session.is_local():
        raise SkyharborError(
            "bad-request",
            f"{path!r} is relative, and the tower is elsewhere",
            hint="Paths are those of the protected machine: write them from the root.",
        )
    absolute = os.path.abspath(path)
    return "/" + absolute.lstrip("/")  # POSIX keeps two leading slashes; a vault does not


def optional(session: Session, path: str) -> str:
    """Return the same, or nothing where no path is given."""
    return absolute(session, path) if path else ""


def _wrongs(workload: str, source: Mapping[str, Any]) -> Iterator[str]:
    for path in source.get("paths") or ():
        yield from _wrong(path, "file or folder" if workload == "files" else "file", _anything)
        if workload == "sqlite" and os.path.isdir(path):
            yield f"{path} is a folder, not a database; backups fail"
    for path in source.get("disks") or ():
        yield from _wrong(path, "image of a disk", _is_disk)
    for name in ("qmp", "agent"):
        yield from _wrong(source.get(name) or "", "socket", stat.S_ISSOCK)
    yield from _wrong(source.get("known_hosts") or "", "file of known keys", stat.S_ISREG)
    yield from _of_credentials(source.get("credentials_file") or "")


def _wrong(path: str, what: str, is_right: Callable[[int], bool]) -> Iterator[str]:
    mode = _mode(path)
    if mode == 0:
        yield f"{path}: there is no such {what} now; {_NOT_YET}"
    elif mode is not None and not is_right(mode):
        yield f"{path} is no {what}; backups fail"


def _of_credentials(path: str) -> Iterator[str]:
    mode = _mode(path)
    yield from _wrong(path, "file of credentials", stat.S_ISREG)
    if mode is not None and stat.S_ISREG(mode) and mode & 0o077:
        yield f"others may read {path}, and backups fail while they do: chmod 600 {path}"


def _mode(path: str) -> int | None:
    """Return the mode of what is at a path; 0 when there is nothing, None when that cannot be said."""
    if not path:
        return None
    try:
        return os.stat(path).st_mode
    except FileNotFoundError:
        return 0 if not os.path.lexists(path) else None
    except OSError:
        return None


def _anything(_mode: int) -> bool:
    return True


def _is_disk(mode: int) -> bool:
    return stat.S_ISREG(mode) or stat.S_ISBLK(mode)
