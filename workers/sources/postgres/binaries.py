"""PostgreSQL's own programs on the worker's machine, where there are any.

Rule of the file: finding and starting; what a program is for is known elsewhere. None of them is needed for a physical
backup or its restore.
"""

from __future__ import annotations

import glob
import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from typing import IO

from shared.errors import SkyharborError
from workers.sources.children import tied
from workers.sources.settings import inherited, search_path

_PLACES = ("/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/opt/homebrew/opt/postgresql@*/bin")
_VERSION = re.compile(rb"\(PostgreSQL\) (\d+)")
_VERSION_SECONDS = 20


def find(name: str, *, at_least: int) -> str:
    """Return the path of the oldest program of this name that knows a server of this major version.

    Raises ``source-failed`` with what to install.
    """
    folders = [
        *search_path().split(os.pathsep),
        *(f for place in _PLACES for f in sorted(glob.glob(place))),
    ]
    found: dict[int, str] = {}
    for folder in dict.fromkeys(folders):
        path = os.path.join(folder, name)
        if folder and os.access(path, os.X_OK):
            found.setdefault(_major(path), path)
    fitting = sorted(major for major in found if major >= at_least)
    if not fitting:
        have = ", ".join(str(major) for major in sorted(found)) or "none"
        hint = f"Install PostgreSQL's client programs of version {at_least} or later on the worker, in its PATH."
        raise SkyharborError("source-failed", f"{name} of version {at_least} is needed; there is {have}", hint=hint)
    return found[fitting[0]]


def start(argv: Sequence[str], environment: Mapping[str, str], *, errors: IO[bytes]) -> subprocess.Popen[bytes]:
    """Start a program whose output is read, its words in ``errors``; it ends when the thread that started it does."""
    return subprocess.Popen(
        tied(argv),
        env={**inherited("PGPASSFILE", "PGSYSCONFDIR"), "LC_ALL": "C", **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=errors,
    )


def _major(path: str) -> int:
    try:
        told = subprocess.run([path, "--version"], capture_output=True, timeout=_VERSION_SECONDS, check=False).stdout
    except (OSError, subprocess.TimeoutExpired):
        return 0
    match = _VERSION.search(told)
    return int(match[1]) if match else 0
