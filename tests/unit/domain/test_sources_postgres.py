"""What a description of a PostgreSQL item must be like."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from orchestrator.domain.sources.checking import checked
from orchestrator.domain.sources.conninfo import parameters
from shared.contracts.sources import PostgresSource
from shared.errors import SkyharborError


def test_a_description_is_kept_in_its_plain_form() -> None:
    given = PostgresSource(dsn=" host=db user=backup ", credentials_file="/etc//keys/db", dumps=("shop", "shop", "*"))
    kept = PostgresSource(dsn="host=db user=backup", credentials_file="/etc/keys/db", dumps=("shop", "*"))
    assert checked(given) == kept


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"dsn": " "}, "it names no server"),
        ({"dsn": "nonsense"}, "NAME=VALUE"),
        ({"dsn": "host=db colour=blue"}, "no parameter 'colour'"),
        ({"dsn": "host='db"}, "NAME=VALUE"),
        ({"dsn": "mysql://me@db"}, "begins with postgresql://"),
        ({"dsn": "postgresql://"}, "it names no server"),
        ({"dsn": "postgresql://me@db:port"}, "a port is a number"),
        ({"dsn": "host=db port=70000"}, "a port is a number"),
        ({"dsn": "postgresql://[::1/db"}, "the DSN is not right"),
        ({"dsn": "host=db sslpassword=x"}, "must not have a password"),
        ({"dsn": "host=db password=x"}, "must not have a password"),
        ({"dsn": "host=db PassWord = 'x'"}, "must not have a password"),
        ({"dsn": "postgresql://me:x@db/postgres"}, "must not have a password"),
        ({"dsn": "postgresql://db/postgres?password=x"}, "must not have a password"),
        ({"credentials_file": "keys"}, "not an absolute path"),
        ({"dumps": ("",)}, "names of databases"),
        ({"physical": False}, "name databases to dump"),
    ],
)
def test_what_cannot_be_meant_is_refused(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(SkyharborError, match=said) as caught:
        checked(PostgresSource(**{"dsn": "host=db", **wrong}))
    assert caught.value.code == "bad-request"


LIBPQ = [
    "host=db",
    "host = db  port= 5433 user='a b'",
    "host=a\\'b",
    "host=a'b",
    "host=a,b port=1,2",
    "host=",
    "service=main",
    "postgresql://me@db:5433/postgres",
    "postgres://a,b:5433/x?sslmode=require",
    "postgresql://[::1]:5433/db",
    "postgresql://%2Frun%2Fpg/db",
    "postgresql:///db?host=/run/pg",
    "host",
    "host=db colour=blue",
    "HOST=db",
    "host='db",
    "mysql://me@db",
    "postgresql://[::1",
    "postgresql://db/x?foo=1",
]


@pytest.mark.parametrize("dsn", LIBPQ)
def test_what_libpq_takes_is_taken_and_what_it_refuses_is_refused(dsn: str) -> None:
    try:
        names = set(conninfo_to_dict(dsn))
    except psycopg.ProgrammingError:
        names = None
    try:
        found = set(parameters(dsn))
    except ValueError:
        found = None
    assert found == names


@pytest.mark.parametrize("dsn", ["postgresql://me@db:5433/postgres", "host=/run/postgresql", "service=main passfile=x"])
def test_what_has_no_password_is_taken(dsn: str) -> None:
    assert checked(PostgresSource(dsn=dsn)) == PostgresSource(dsn=dsn)
