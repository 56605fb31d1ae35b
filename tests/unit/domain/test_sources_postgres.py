"""What a description of a PostgreSQL item must be like."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator.domain.sources.checking import checked
from shared.contracts.sources import PostgresSource
from shared.errors import SkyharborError


def test_a_description_is_kept_in_its_plain_form() -> None:
    given = PostgresSource(dsn=" host=db user=backup ", credentials_file="/etc//keys/db", dumps=("shop", "shop", "*"))
    kept = PostgresSource(dsn="host=db user=backup", credentials_file="/etc/keys/db", dumps=("shop", "*"))
    assert checked(given) == kept


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"dsn": " "}, "give a DSN"),
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


@pytest.mark.parametrize("dsn", ["postgresql://me@db:5433/postgres", "host=/run/postgresql", "service=main passfile=x"])
def test_what_has_no_password_is_taken(dsn: str) -> None:
    assert checked(PostgresSource(dsn=dsn)) == PostgresSource(dsn=dsn)
