"""Opens what an item describes: the session of a backup, the source that it reads, the lander of a restore.

Rule of the file: the one list of workloads of the data plane; every line of it is one adapter. Those that need a
library of their own are imported when they are asked for.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import assert_never

import msgspec

from shared.contracts.sources import (
    FilesSource,
    MysqlSource,
    NfsSource,
    PostgresSource,
    SftpSource,
    SmbSource,
    SqliteSource,
    SystemSource,
    VmSource,
)
from shared.contracts.work import RestoreDone, RestoreInstruction
from shared.decoders import msgpack_decoder
from shared.vault.reader import PointReader
from workers.engine.plain_session import PlainSession
from workers.engine.ports import Control, Elsewhere, Guard, Lander, Session, SessionOrder, Source
from workers.sources.files import FilesAdapter, FilesReading
from workers.sources.freezing.here import NOTHING_HERE, Here
from workers.sources.freezing.session import FilesSession
from workers.sources.mysql.landing import land_mysql
from workers.sources.mysql.session import open_mysql
from workers.sources.nfs.lander import land as land_nfs
from workers.sources.nfs.reading import NfsReading
from workers.sources.nfs.source import NfsAdapter
from workers.sources.optional import adapter
from workers.sources.postgres.lander import land_cluster
from workers.sources.sftp.address import sftp_address
from workers.sources.sftp.reading import SftpReading
from workers.sources.smb.reading import SmbReading
from workers.sources.sqlite.landing import land_sqlite
from workers.sources.sqlite.session import open_sqlite
from workers.sources.system.session import SystemSession
from workers.sources.vm.adapter import VmAdapter
from workers.sources.vm.borrowing import borrowed
from workers.sources.vm.description import VmReading
from workers.sources.vm.lander import restore_machine
from workers.sources.vm.opening import open_vm

Reading = FilesReading | VmReading | SmbReading | SftpReading | NfsReading
"""Whatever a session may say about how its source is read."""


def open_session(order: SessionOrder, here: Here = NOTHING_HERE) -> Session:
    """Hold the source for one backup. Raises ``source-failed``, ``source-missing``, ``bad-request``, ``Stop``.

    When it raises nothing is held. ``here`` is what this worker's machine gives to sessions of files.
    """
    session: Session
    match order.spec:
        case FilesSource():
            return FilesSession(order, order.spec, here).hold()
        case VmSource():
            return open_vm(order, order.spec)
        case PostgresSource():
            session = adapter("workers.sources.postgres.opening", "open_postgres", extra="postgres")(order)
            return session
        case MysqlSource():
            return open_mysql(order, order.spec)
        case SqliteSource():
            return open_sqlite(order, order.spec)
        case SmbSource():
            session = adapter("workers.sources.smb.session", "SmbSession", extra="shares")(order)
            return session
        case SftpSource():
            folder = "/" + os.fsdecode(sftp_address(order.spec.url).folder)
            return PlainSession(described(SftpReading(spec=order.spec)), paths=(folder,))
        case NfsSource():
            return PlainSession(described(NfsReading(spec=order.spec)), paths=("/",))
        case SystemSource():
            return SystemSession(order)
        case _:
            assert_never(order.spec)


def open_source(reading: bytes) -> Source:
    """Open the source that a session of this machine holds, or that was borrowed from another worker's."""
    told: Reading = msgpack_decoder(Reading).decode(reading)
    source: Source
    match told:
        case FilesReading():
            return FilesAdapter(
                told.source,
                leave_out=told.leave_out,
                changes=told.changes,
                shown=told.shown,
                snapshots=told.snapshots,
            )
        case VmReading():
            return VmAdapter(told)
        case SmbReading():
            source = adapter("workers.sources.smb.source", "SmbAdapter", extra="shares")(told)
            return source
        case SftpReading():
            source = adapter("workers.sources.sftp.source", "SftpAdapter", extra="shares")(told)
            return source
        case NfsReading():
            return NfsAdapter(told)
        case _:
            assert_never(told)


@contextlib.contextmanager
def borrow(reading: bytes, guard: Guard) -> Iterator[bytes]:
    """Return how this worker opens the source that another worker's session holds, for as long as it is borrowed.

    Raises ``Elsewhere`` when it cannot read the very same. Files and shares are taken to be the same at the same paths,
    but not the snapshots in which files are read: they are mounted where the session is, and nowhere else.
    """
    told: Reading = msgpack_decoder(Reading).decode(reading)
    if isinstance(told, FilesReading) and told.held is not None and not told.held.seen():
        raise Elsewhere("the snapshots of this backup are mounted elsewhere")
    if not isinstance(told, VmReading):
        yield reading
        return
    with borrowed(told, guard) as own:
        yield described(own)


def described(reading: Reading) -> bytes:
    """Return the description by which hands and shards open a source."""
    return msgspec.msgpack.encode(reading)


def _share_lander(workload: str) -> Lander:
    def land(reader: PointReader, instruction: RestoreInstruction, *, control: Control, folder: str) -> RestoreDone:
        lander = adapter(f"workers.sources.{workload}.lander", "land", extra="shares")
        done: RestoreDone = lander(reader, instruction, control=control, folder=folder)
        return done

    return land


LANDERS: dict[str, Lander] = {
    "vm": restore_machine,
    "postgres": land_cluster,
    "mysql": land_mysql,
    "sqlite": land_sqlite,
    "smb": _share_lander("smb"),
    "sftp": _share_lander("sftp"),
    "nfs": land_nfs,
}
"""What brings points of a workload back, by its name; the tree as it is where there is none."""
