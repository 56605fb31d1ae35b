"""Makes of a full backup and its increments, as they lie in a point, one data folder that a server can start on.

Rule of the file: ``mariabackup --prepare`` does the work, step after step, in the order of the chain.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Final

from shared.errors import SkyharborError
from workers.sources.mysql.chain import Info, Step
from workers.sources.mysql.child import Check, Child
from workers.sources.mysql.programs import program, series_of, version_of
from workers.sources.mysql.reports import why_not_restored

_PATIENCE: Final = 6 * 3600.0
_MEMORY: Final = 256 * 1024 * 1024
_NOT_DATA: Final = ("xtrabackup_", "mariadb_backup_")
"""How files begin that mariabackup leaves for itself."""
_ELSEWHERE: Final = ".isl"
"""Files that say where outside of the data folder a table is: there, the original server may be using it."""


def program_of(info: Info, *names: str, package: str, tells: bool = True) -> str:
    """Return a program of the series that a point is of. Raises ``target-invalid`` with what to install.

    Without ``tells`` it is one that does not say of which version it is.
    """
    try:
        found = program(*names, package=package)
        ours = series_of(version_of(found)) if tells else info.series
    except SkyharborError as error:
        raise _wrong(info, package, error.detail) from error
    if ours != info.series:
        raise _wrong(info, package, f"{found} is of MariaDB {ours}")
    return found


def _wrong(info: Info, package: str, why: str) -> SkyharborError:
    return SkyharborError(
        "target-invalid",
        f"the point is of MariaDB {info.series}, and {why}",
        hint=f"Install {package} {info.series} on the worker's machine, or restore where it is installed.",
    )


def call_by_name(folder: str, names: Mapping[str, str | None]) -> None:
    """Give files of an unpacked step the names that they had in the end."""
    aside = {kept: f"{kept}.aside" for kept in names}
    for kept, other in aside.items():
        os.rename(os.path.join(folder, kept), os.path.join(folder, other))
    for kept, name in names.items():
        if name is None:
            os.unlink(os.path.join(folder, aside[kept]))
        else:
            os.rename(os.path.join(folder, aside[kept]), os.path.join(folder, name))


def prepare(mariabackup: str, work: str, chain: Sequence[Step], *, folder: str, check: Check) -> str:
    """Apply the increments to the full in its place and return that folder. Raises ``target-invalid``, ``target-full``.

    ``folder`` is where what is said is kept for a while: not in the target, where a full disk would swallow it.
    """
    data = os.path.join(work, chain[0].name)
    for step in chain:
        more = [] if step.is_full else [f"--incremental-dir={os.path.join(work, step.name)}"]
        _run([mariabackup, "--prepare", f"--use-memory={_MEMORY}", f"--target-dir={data}", *more], folder, check)
    for at, _, files in os.walk(data):
        for name in files:
            if name.startswith(_NOT_DATA) if at == data else name.endswith(_ELSEWHERE):
                os.unlink(os.path.join(at, name))
    return data


def _run(arguments: Sequence[str], folder: str, check: Check) -> None:
    child = Child(arguments, check=check, folder=folder, stall=_PATIENCE, cwd="/", has_output=False)
    try:
        if child.wait(patience=_PATIENCE) or "completed OK!" not in child.said():
            raise why_not_restored("mariabackup cannot prepare the files", child.said())
    finally:
        child.close()
