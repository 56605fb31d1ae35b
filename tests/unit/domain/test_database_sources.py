"""Descriptions of databases: what the tower keeps, and what it refuses before any worker is sent."""

from __future__ import annotations

import pytest

from orchestrator.domain.sources.checking import checked
from orchestrator.domain.sources.places import MOST_PATHS
from shared.contracts.sources import MysqlSource, SqliteSource
from shared.errors import SkyharborError


@pytest.mark.parametrize(
    "dsn",
    [
        "mysql://me@db.example:3307",
        "mysql://db.example",
        "mariadb://me@db.example/",
        "mysql://me@localhost?socket=/run/s.sock",
    ],
)
def test_a_server_is_kept_as_it_is_described(dsn: str) -> None:
    spec = MysqlSource(dsn=f" {dsn} ", credentials_file="/etc/pw", dump=True)
    assert checked(spec) == MysqlSource(dsn=dsn, credentials_file="/etc/pw", dump=True)


@pytest.mark.parametrize(
    "dsn",
    [
        "",
        "db.example",
        "postgres://me@db",
        "mysql://me:secret@db",
        "mysql://me:@db",
        "mysql://me@db:port",
        "mysql://me@db/database",
        "mysql://me@db?socket=relative",
        "mysql://me@db?ssl=1",
        "mysql://me@[db",
        "mysql:///path",
        "mysql://me@",
        "mysql://db.example",
    ],
)
def test_what_names_no_server_or_a_password_is_refused_without_repeating_it(dsn: str) -> None:
    with pytest.raises(SkyharborError) as caught:
        checked(MysqlSource(dsn=dsn))
    assert caught.value.code == "bad-request"
    assert "secret" not in f"{caught.value} {caught.value.fields}"


def test_a_credentials_file_is_an_absolute_path() -> None:
    with pytest.raises(SkyharborError, match="absolute"):
        checked(MysqlSource(dsn="mysql://me@db", credentials_file="pw"))


def test_databases_are_kept_once_each() -> None:
    assert checked(SqliteSource(paths=("/a.db", "/b.db", "/a.db"))) == SqliteSource(paths=("/a.db", "/b.db"))


@pytest.mark.parametrize("paths", [(), ("a.db",), ("/a/../b.db",), tuple(f"/{n}" for n in range(MOST_PATHS + 1))])
def test_databases_are_some_and_their_paths_are_absolute(paths: tuple[str, ...]) -> None:
    with pytest.raises(SkyharborError) as caught:
        checked(SqliteSource(paths=paths))
    assert caught.value.code == "bad-request"
