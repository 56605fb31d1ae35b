"""Lines that fall silent without breaking: every wait for the other end has an end, and afterwards all is well."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from orchestrator.dispatch import celery_bell
from orchestrator.dispatch.celery_bell import CeleryBell
from orchestrator.store import connections
from orchestrator.store.base import inline
from orchestrator.store.connections import open_engine
from orchestrator.store.notify import Listener
from orchestrator.store.unit_of_work import SqlUnitOfWork
from shared.contracts.work import Doorbell, Hello
from shared.errors import SkyharborError
from tests.support.brokers import Valkey
from tests.support.control import ControlPlane
from tests.support.postgres import database_url, postgres_server  # noqa: F401 - fixtures
from tests.support.served import free_port
from tests.support.silent_line import SilentLine
from workers.session.tower import TowerClient

SILENCE = 1.0
LONG = 20.0
"""Seconds: far beyond any patience that is set here, far below for ever."""


@pytest.fixture
def plane(database_url: str) -> Iterator[ControlPlane]:  # noqa: F811
    control = ControlPlane(database_url)
    yield control
    control.close()


@pytest.fixture
def line(plane: ControlPlane, database_url: str) -> Iterator[SilentLine]:  # noqa: F811
    query = parse_qs(urlsplit(database_url.replace("+psycopg", "")).query)
    with SilentLine(f"{unquote(query['host'][0])}/.s.PGSQL.{query['port'][0]}") as one:
        yield one


def through(line: SilentLine, url: str) -> str:
    """The URL of the database at the other end of the line."""
    parts = urlsplit(url.replace("+psycopg", ""))
    return f"postgresql+psycopg://{parts.username}:{parts.password}@127.0.0.1:{line.port}{parts.path}"


def in_time(act: object, *, seconds: float = LONG) -> BaseException | None:
    """Run something that must end; return how it failed, if it did."""
    ended: list[BaseException | None] = []

    def run() -> None:
        try:
            act()  # type: ignore[operator]
        except BaseException as error:
            ended.append(error)
        else:
            ended.append(None)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    assert ended, f"it still waits after {seconds:.0f} s"
    return ended[0]


# ── tower and PostgreSQL ─────────────────────────────────────────────────────────────────────────


def code_of(error: BaseException | None) -> str:
    assert isinstance(error, SkyharborError), error
    return error.code


def test_a_transaction_whose_line_falls_silent_ends_and_the_next_one_works(
    line: SilentLine,
    database_url: str,  # noqa: F811
) -> None:
    engine = open_engine(through(line, database_url), silence=SILENCE)

    def in_the_middle() -> None:
        with SqlUnitOfWork(engine) as uow:
            uow.now()
            line.fall_silent()
            uow.now()

    assert code_of(in_time(in_the_middle)) == "server-unreachable"
    line.speak()
    with SqlUnitOfWork(engine) as uow:
        assert uow.now().year > 2000
    engine.dispose()


def test_a_commit_that_is_never_answered_ends(line: SilentLine, database_url: str) -> None:  # noqa: F811
    engine = open_engine(through(line, database_url), silence=SILENCE)

    def commit() -> None:
        with SqlUnitOfWork(engine) as uow:
            uow.wake()
            line.fall_silent()
            uow.commit()

    assert code_of(in_time(commit)) == "server-unreachable"
    engine.dispose()


def test_connections_that_lay_in_the_pool_when_the_line_fell_silent_are_replaced(
    line: SilentLine,
    database_url: str,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connections, "_FRESH_SECONDS", 0.0)
    engine = open_engine(through(line, database_url), connections=3, silence=SILENCE)
    units = [SqlUnitOfWork(engine) for _ in range(3)]
    for unit in units:
        unit.__enter__()
    for unit in units:
        unit.__exit__(None, None, None)
    line.fall_silent()
    line.speak()
    before = line.connections

    def look() -> None:
        for _ in range(3):
            with SqlUnitOfWork(engine) as uow:
                uow.now()

    assert (in_time(look), line.connections > before) == (None, True)
    engine.dispose()


def test_a_server_that_is_slow_within_its_limit_is_waited_for(
    line: SilentLine,
    database_url: str,  # noqa: F811
) -> None:
    engine = open_engine(through(line, database_url), silence=LONG)
    with engine.connect() as connection:
        connection.execute(inline("SELECT pg_sleep(1.5)"))
    engine.dispose()


def test_the_listener_finds_out_that_nobody_speaks_and_hears_again(
    line: SilentLine,
    plane: ControlPlane,
    database_url: str,  # noqa: F811
) -> None:
    listener = Listener(through(line, database_url), silence=SILENCE, ask_every=SILENCE)
    assert listener.wait(1.0), "a new connection may have missed something"
    assert not listener.wait(0.1)
    line.fall_silent()
    line.speak()
    before = line.connections

    def until_connected() -> None:
        while line.connections == before:
            listener.wait(0.2)

    assert in_time(until_connected) is None
    with plane.uow() as uow:
        uow.wake()
        uow.commit()
    deadline = time.monotonic() + LONG
    while not listener.wait(0.5):
        assert time.monotonic() < deadline, "it does not hear"
    listener.close()


# ── tower and broker ─────────────────────────────────────────────────────────────────────────────


def test_a_ring_into_a_silent_line_fails_in_its_time_and_the_next_one_arrives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(celery_bell, "PUBLISH_SECONDS", SILENCE)
    broker = Valkey(tmp_path / "valkey")
    broker.start()
    address = urlsplit(broker.url)
    try:
        with SilentLine(("127.0.0.1", address.port or 0)) as line:
            bell = CeleryBell(f"redis://:{address.password}@127.0.0.1:{line.port}/0")
            bell.ring(Doorbell(job_id="j", epoch=1, unit=0))
            line.fall_silent()
            assert code_of(in_time(lambda: bell.ring(Doorbell(job_id="j", epoch=2, unit=0)))) == "server-unreachable"
            line.speak()
            bell.ring(Doorbell(job_id="j", epoch=3, unit=0))
            bell.close()
            assert broker.waiting() == 2
    finally:
        broker.client.close()
        broker.kill()


# ── worker and tower ─────────────────────────────────────────────────────────────────────────────


def test_a_tower_that_answers_nothing_is_unreachable_in_time() -> None:
    with SilentLine(("127.0.0.1", free_port())) as line:
        line.fall_silent()
        tower = TowerClient(f"http://127.0.0.1:{line.port}", "token", timeout=SILENCE)
        hello = Hello(worker="w", session="s", version="0", concurrency=1, clock="2026-01-01T00:00:00Z")

        assert code_of(in_time(lambda: tower.hello(hello))) == "server-unreachable"
        tower.close()
