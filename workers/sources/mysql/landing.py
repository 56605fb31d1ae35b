"""Brings a point of a server back as a data folder that a server can start on, as of the point or of a moment before.

A moment is reached from the last step before it, with the log of changes from there on. Changes of the very second that
is asked for are not done: whoever names the second of an accident wants the state before it.

Dumps, and parts of the tree that are asked for by their paths, come back as the files that they are.

Rule of the file: everything that can be wrong with the request is found before anything is written.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from shared.contracts.work import Progress, RestoreDone, RestoreInstruction
from shared.errors import SkyharborError
from shared.model.backup import ConflictRule, Notice
from shared.vault.reader import PointReader
from workers.engine.ports import Control
from workers.engine.restore import restore_point
from workers.sources.mysql.chain import INFO, Info, Shipped, Step, decoded, number_for, shown
from workers.sources.mysql.preparing import call_by_name, prepare, program_of
from workers.sources.mysql.replaying import Changes, Programs, replay
from workers.sources.mysql.target import Target, dress, owner_on_this_machine

UNTIL: Final = "until"
LATEST: Final = "latest"
_HARMLESS: Final = frozenset({"metadata-not-kept"})
_SERVER: Final = "mariadb-server"
_CLIENT: Final = "mariadb-client"


@dataclass(frozen=True, slots=True)
class _Order:
    """What to bring back: the steps, and how far to go on from the last of them (None: not at all)."""

    info: Info
    chain: Sequence[Step]
    until: int | None
    mariabackup: str
    programs: Programs | None

    @property
    def logs(self) -> Sequence[Shipped]:
        """The files of the log of changes that are needed."""
        place = self.chain[-1].binlog
        if self.until is None or place is None:
            return ()
        names = [one.file for one in self.info.binlogs]
        return self.info.binlogs[names.index(place.file) :]


def land_mysql(reader: PointReader, instruction: RestoreInstruction, *, control: Control, folder: str) -> RestoreDone:
    """Bring the point back (see the port). What is built is built in the target; ``folder`` has what programs say."""
    info = _info(reader)
    if info is None or instruction.paths:
        if set(instruction.options) - ({UNTIL} if instruction.options.get(UNTIL) == LATEST else set()):
            raise SkyharborError("bad-request", "files of a point come back as they are: there are no options for that")
        return restore_point(
            reader,
            target=instruction.target,
            paths=instruction.paths,
            conflict=instruction.conflict,
            control=control,
        )
    order = _ordered(info, instruction.options)
    target = Target(instruction.target)
    target.begin()
    try:
        return _land(reader, order, target, control, folder)
    except BaseException:
        target.forget()
        raise


def _info(reader: PointReader) -> Info | None:
    """Return what a physical point says about itself; None for one of dumps."""
    entry = next(reader.entries(INFO), None)
    if entry is None:
        return None
    info = decoded(b"".join(bytes(chunk) for chunk in reader.read_chunks(entry.chunks)))
    if info is None:
        raise SkyharborError("target-invalid", "the point was made by a newer version", hint="Use a newer Skyharbor.")
    return info


# ── what is asked for ────────────────────────────────────────────────────────────────────────────────


def _ordered(info: Info, options: Mapping[str, str]) -> _Order:
    if unknown := sorted(set(options) - {UNTIL}):
        raise SkyharborError("bad-request", f"a MariaDB server is restored without {', '.join(unknown)}")
    mariabackup = program_of(info, "mariabackup", "mariadb-backup", package="mariadb-backup")
    asked = options.get(UNTIL, LATEST)
    if asked == LATEST:
        return _Order(info, info.chain(len(info.steps) - 1), None, mariabackup, None)
    until = second_of(asked)
    number = number_for(info, until)
    if number is None or until > info.last.not_before:
        raise SkyharborError("bad-request", f"{asked} is outside of what the point can bring back: {window_of(info)}")
    programs = Programs(
        server=program_of(info, "mariadbd", "mysqld", package=_SERVER),
        client=program_of(info, "mariadb", "mysql", package=_CLIENT),
        binlog=program_of(info, "mariadb-binlog", "mysqlbinlog", package=_CLIENT, tells=False),
    )
    return _Order(info, info.chain(number), until, mariabackup, programs)


def second_of(text: str) -> int:
    """Read a moment with its time zone, such as 2026-05-01T12:00:00Z, to the second. Raises ``bad-request``."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise SkyharborError(
            "bad-request",
            f"until: {text!r} is no moment with a time zone",
            hint="Write it as 2026-05-01T12:00:00Z or 2026-05-01T14:00:00+02:00, or 'latest'.",
        )
    return int(moment.timestamp())


def window_of(info: Info) -> str:
    """Say which moments can be brought back."""
    if info.window is None:
        return "only its own moment (leave --until away, or say 'latest')"
    first, last = info.window
    return f"from {shown(first)} to {shown(last)}, or 'latest'"


# ── how it is made ───────────────────────────────────────────────────────────────────────────────────


def _land(reader: PointReader, order: _Order, target: Target, control: Control, folder: str) -> RestoreDone:
    work = target.work
    done = _unpacked(reader, order, work, control)
    for step in order.chain:
        call_by_name(os.path.join(work, step.name), step.names)
    _tell(control, "preparing", done)
    data = prepare(order.mariabackup, work, order.chain, folder=folder, check=control.check)
    owner = owner_on_this_machine(order.info.owner)
    place = order.chain[-1].binlog
    if order.until is not None and order.programs is not None and place is not None:
        files = [joined(work, one) for one in order.logs]
        _tell(control, "replaying", done)
        target.lend(owner)
        _let_through(work, data, owner)
        dress(data, owner)
        replay(
            order.programs,
            data,
            Changes(files, place.position, order.until),
            variables=order.info.variables,
            user=owner,
            folder=folder,
            check=control.check,
        )
    target.finish(data, owner)
    done.stats.warnings = len(done.warnings)
    return done


def _unpacked(reader: PointReader, order: _Order, work: str, control: Control) -> RestoreDone:
    logs = [f"/binlog/{one.file}" for one in order.logs]
    done = restore_point(
        reader,
        target=work,
        paths=[*(f"/{step.name}" for step in order.chain), *logs],
        conflict=ConflictRule.OVERWRITE,
        control=control,
    )
    wrong: list[Notice] = [notice for notice in done.warnings if notice.code not in _HARMLESS]
    if wrong:
        # A server must never be started on a folder that lacks something.
        raise SkyharborError("object-damaged", f"{wrong[0].path}: {wrong[0].message}")
    return RestoreDone(stats=done.stats)


def joined(work: str, one: Shipped) -> str:
    """Make one file of the parts of a file of the log, and return its path. Raises ``object-damaged`` for a gap."""
    folder = os.path.join(work, "binlog", one.file)
    whole = f"{folder}.whole"
    end = 0
    with open(whole, "xb") as file:
        for begin, until in one.parts:
            if begin != end:
                raise SkyharborError("object-damaged", f"the log of changes {one.file} has a gap at {end}")
            part = os.path.join(folder, f"{begin:020d}")
            with open(part, "rb") as source:
                shutil.copyfileobj(source, file)
            os.unlink(part)
            end = until
    if os.path.getsize(whole) != end:
        raise SkyharborError("object-damaged", f"the log of changes {one.file} is not of its length")
    return whole


def _let_through(work: str, data: str, owner: tuple[int, int] | None) -> None:
    """Give the folders between the one to work in and the data to the owner, who has to pass through them."""
    at = os.path.dirname(data)
    while owner is not None and len(at) >= len(work):
        os.chown(at, *owner)
        at = os.path.dirname(at)


def _tell(control: Control, phase: str, done: RestoreDone) -> None:
    stats = done.stats
    control.check()
    control.progress(
        Progress(
            phase=phase,
            files_done=stats.files_restored,
            files_total=stats.files_restored,
            bytes_done=stats.bytes_restored,
            bytes_total=stats.bytes_restored,
        )
    )
