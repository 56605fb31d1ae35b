"""Opens what an item describes: the session of a backup, the source that it reads, the lander of a restore.

Rule of the file: the one list of workloads of the data plane; every line of it is one adapter.
"""

from __future__ import annotations

import msgspec

from shared.contracts.sources import (
    FilesSource,
    MysqlSource,
    PostgresSource,
    SqliteSource,
    VmSource,
    workload_of,
)
from shared.errors import SkyharborError
from workers.engine.plain_session import PlainSession
from workers.engine.ports import Lander, Session, SessionOrder, Source
from workers.sources.files import FilesAdapter, FilesReading
from workers.sources.mysql.landing import land_mysql
from workers.sources.mysql.session import open_mysql
from workers.sources.postgres.lander import land_cluster
from workers.sources.sqlite.landing import land_sqlite
from workers.sources.sqlite.session import open_sqlite
from workers.sources.vm.adapter import VmAdapter
from workers.sources.vm.description import VmReading
from workers.sources.vm.lander import restore_machine
from workers.sources.vm.opening import open_vm

Reading = FilesReading | VmReading
"""Whatever a session may say about how its source is read."""

LANDERS: dict[str, Lander] = {
    "vm": restore_machine,
    "postgres": land_cluster,
    "mysql": land_mysql,
    "sqlite": land_sqlite,
}
"""What brings points of a workload back, by its name; the tree as it is where there is none."""


def open_session(order: SessionOrder) -> Session:
    """Hold the source for one backup. Raises ``source-failed``, ``source-missing``, ``bad-request``, ``Stop``.

    When it raises nothing is held.
    """
    match order.spec:
        case FilesSource():
            reading = FilesReading(source=order.spec, leave_out=tuple(order.leave_out))
            return PlainSession(described(reading), paths=order.spec.paths)
        case VmSource():
            return open_vm(order, order.spec)
        case PostgresSource():
            return _postgres(order)
        case MysqlSource():
            return open_mysql(order, order.spec)
        case SqliteSource():
            return open_sqlite(order, order.spec)
        case _:
            raise SkyharborError("bad-request", f"this worker does not know the workload {workload_of(order.spec)!r}")


def open_source(reading: bytes) -> Source:
    """Open the source that a session of this machine holds."""
    told: Reading = msgspec.msgpack.decode(reading, type=Reading)
    match told:
        case FilesReading():
            return FilesAdapter(told.source, leave_out=told.leave_out)
        case VmReading():
            return VmAdapter(told)


def described(reading: Reading) -> bytes:
    """Return the description by which hands and shards open a source."""
    return msgspec.msgpack.encode(reading)


def _postgres(order: SessionOrder) -> Session:
    try:
        from workers.sources.postgres.opening import open_postgres
    except ImportError as error:
        hint = "Install Skyharbor on the worker with the extra 'postgres'."
        raise SkyharborError("source-failed", f"this worker cannot talk to PostgreSQL: {error}", hint=hint) from error
    return open_postgres(order)
