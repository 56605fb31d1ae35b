"""A real PostgreSQL for tests: one private server per session, an empty database per test.

Usage in a ``conftest.py`` or a test module::

    from tests.support.postgres import database_url, postgres_server  # noqa: F401
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import psycopg
import pytest

from orchestrator.embedded.postgres import PrivatePostgres

_numbers = itertools.count(1)

FAST = {"fsync": "off", "full_page_writes": "off"}
"""A test's cluster need not survive a power cut, but what a kill must not lose is kept."""


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivatePostgres]:
    """One server for the whole session, in a temporary folder."""
    with PrivatePostgres(tmp_path_factory.mktemp("pg"), settings=FAST) as server:
        yield server


@pytest.fixture
def database_url(postgres_server: PrivatePostgres) -> Iterator[str]:
    """The SQLAlchemy URL of a new, empty database of this test's own."""
    name = f"test_{next(_numbers)}"
    with psycopg.connect(postgres_server.dsn, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')
    yield postgres_server.url.replace("/postgres?", f"/{name}?")
    with psycopg.connect(postgres_server.dsn, autocommit=True) as connection:
        connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
