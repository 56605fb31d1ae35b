"""Which session a PostgreSQL item gets: that of a physical backup, or of dumps alone.

Rule of the file: a choice; the sessions are elsewhere.
"""

from __future__ import annotations

from shared.contracts.sources import PostgresSource
from shared.errors import SkyharborError
from workers.engine.plain_session import PlainSession
from workers.engine.ports import Session, SessionOrder
from workers.sources.postgres.access import Access
from workers.sources.postgres.dumps import DumpStream
from workers.sources.postgres.session import ClusterSession


def open_postgres(order: SessionOrder) -> Session:
    """Hold a cluster for one backup."""
    if not isinstance(order.spec, PostgresSource):
        raise SkyharborError("bad-request", "this is no PostgreSQL item")
    if order.spec.physical:
        return ClusterSession(order)
    access = Access(order.spec.dsn, order.spec.credentials_file)
    return PlainSession(DumpStream(access, order.spec.dumps, order.check), paths=("/",))
