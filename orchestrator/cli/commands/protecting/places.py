"""Paths that people give on this machine, and mean on the protected one.

Rule of the file: text, and a look where we can know.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from orchestrator.cli.session import Session
from shared.errors import SkyharborError


def warn_of_missing(session: Session, paths: Sequence[str]) -> None:
    """Say which paths are not there, where we can know: when this home's stack, and so its worker, is on this machine.

    It is no refusal: what is to be protected may be mounted later.
    """
    for path in paths if session.is_local() else ():
        if not os.path.lexists(path):
            session.out.say(f"warning: {path}: there is no such file or folder now; backups fail until there is")


def absolute(path: str) -> str:
    """Return the path from the root without a trailing slash; relative ones count from here."""
    if not path or "\0" in path:
        raise SkyharborError("bad-request", f"{path!r} is no path")
    absolute = os.path.abspath(path)
    return "/" + absolute.lstrip("/")  # POSIX keeps two leading slashes; a vault does not
