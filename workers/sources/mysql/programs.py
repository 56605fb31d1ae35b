"""Finds the programs of MariaDB on this machine, and asks of which version they are.

Rule of the file: it needs nothing that is not there on a machine that only restores.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from typing import Final

from shared.errors import SkyharborError
from workers.sources.settings import search_path

_ASKING: Final = 30


def series_of(version: str) -> str:
    """Return the release series, such as 10.11, that a version belongs to."""
    return ".".join(version.split("-")[0].split(".")[:2])


def program(*names: str, package: str) -> str:
    """Return the path of the first of these programs that there is. Raises ``source-failed`` with what to install."""
    for name in names:
        if found := shutil.which(name, path=search_path()):
            return found
    raise SkyharborError(
        "source-failed",
        f"this worker's machine has no {names[0]}",
        hint=f"Install the package {package}, of the server's series, on the machine where the worker runs.",
    )


def version_of(path: str) -> str:
    """Return the server version that a program of MariaDB belongs to. Raises ``source-failed`` when it does not say."""
    try:
        done = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=_ASKING, check=False)
    except (OSError, subprocess.SubprocessError) as error:
        raise SkyharborError("source-failed", f"{path} does not run: {error}") from error
    found = re.search(r"(\d+\.\d+\.\d+)-MariaDB", done.stdout + done.stderr)
    if found is None:
        raise SkyharborError("source-failed", f"{path} does not say of which version it is")
    return found[1]
