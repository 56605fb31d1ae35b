"""How transactions begin and end on the connections of the pool, on a real PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest
from sqlalchemy import Engine
from sqlalchemy.engine import make_url
from sqlalchemy.exc import IntegrityError

from orchestrator.store import connections
from orchestrator.store.base import Rows, inline
from orchestrator.store.connections import open_engine
from orchestrator.store.schema import upgrade
from orchestrator.store.unit_of_work import SqlUnitOfWork
from shared.errors import SkyharborError
from tests.support.postgres import database_url, postgres_server  # noqa: F401


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:  # noqa: F811
    """A pool of one connection, so that the next transaction is on the same one."""
    upgrade(database_url)
    engine = open_engine(database_url, connections=1)
    yield engine
    engine.dispose()


@pytest.fixture
def other(database_url: str) -> Iterator[psycopg.Connection[tuple[object, ...]]]:  # noqa: F811
    """Somebody else's connection to the same database."""
    dsn = make_url(database_url).set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(dsn, autocommit=True) as connection:
        yield connection


def ask(uow: SqlUnitOfWork, sql: str) -> object:
    """The one value of a statement, in this transaction."""
    [row] = Rows(uow._db)._all(inline(sql))
    return next(iter(row.values()))


def setting(uow: SqlUnitOfWork) -> object:
    return ask(uow, "SHOW synchronous_commit")


def test_relaxing_is_for_one_transaction(engine: Engine) -> None:
    with SqlUnitOfWork(engine) as uow:
        uow.relax()
        relaxed = setting(uow)
        uow.commit()
        assert (relaxed, setting(uow)) == ("off", "on")


def test_relaxing_late_counts_too(engine: Engine) -> None:
    with SqlUnitOfWork(engine) as uow:
        before = setting(uow)
        uow.relax()
        assert (before, setting(uow)) == ("on", "off")


@pytest.mark.parametrize("left", ["at once", "after a statement", "by an error"])
def test_a_transaction_that_was_left_hands_nothing_on(
    engine: Engine, other: psycopg.Connection[tuple[object, ...]], left: str
) -> None:
    other.execute("LISTEN skyharbor_tower")
    with SqlUnitOfWork(engine) as uow:
        uow.relax()
        uow.wake()
        if left != "at once":
            uow.now()
        if left == "by an error":
            with pytest.raises(IntegrityError):
                Rows(uow._db)._run(inline("INSERT INTO tenant (name) VALUES ('default')"))
    with SqlUnitOfWork(engine) as uow:
        assert setting(uow) == "on"
        uow.commit()
    other.execute("NOTIFY skyharbor_tower, 'the test itself'")
    assert [notice.payload for notice in other.notifies(timeout=10, stop_after=1)] == ["the test itself"]


def test_the_loops_hear_of_a_commit_when_it_can_be_seen(
    engine: Engine, other: psycopg.Connection[tuple[object, ...]]
) -> None:
    other.execute("LISTEN skyharbor_tower")
    with SqlUnitOfWork(engine) as uow:
        uow.tenants.set("t", weight=2)
        uow.wake()
        uow.commit()
    assert [notice.payload for notice in other.notifies(timeout=10, stop_after=1)] == [""]
    assert other.execute("SELECT weight FROM tenant WHERE name = 't'").fetchone() == (2,)


def test_what_was_prepared_outlives_a_transaction_that_was_not_committed(engine: Engine) -> None:
    for _ in range(10):
        with SqlUnitOfWork(engine) as uow:
            uow.tenants.all()
    with SqlUnitOfWork(engine) as uow:
        assert ask(uow, "SELECT count(*) FROM pg_prepared_statements WHERE statement LIKE '%FROM tenant%'") == 1


def end(other: psycopg.Connection[tuple[object, ...]]) -> None:
    """End every other connection to the database, as a restart of the server does."""
    ended = other.execute(
        "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
    ).fetchall()
    assert ended == [(True,)]


def test_a_connection_that_died_while_it_rested_is_lent_to_nobody(
    engine: Engine, other: psycopg.Connection[tuple[object, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    with SqlUnitOfWork(engine) as uow:
        uow.now()
    monkeypatch.setattr(connections, "_FRESH_SECONDS", 0.0)
    end(other)
    with SqlUnitOfWork(engine) as uow:
        uow.now()


def test_a_connection_that_dies_in_use_is_told_as_that_and_replaced(
    engine: Engine, other: psycopg.Connection[tuple[object, ...]]
) -> None:
    def die() -> None:
        with SqlUnitOfWork(engine) as uow:
            uow.now()
            end(other)
            uow.tenants.all()

    with pytest.raises(SkyharborError) as caught:
        die()
    assert caught.value.code == "server-unreachable"
    with SqlUnitOfWork(engine) as uow:
        uow.tenants.all()
