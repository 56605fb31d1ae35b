"""Databases: clusters and servers by a DSN, SQLite by paths.

Rule of the file: no password is ever kept, so none is taken.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from orchestrator.domain.names import check_text
from orchestrator.domain.sources.conninfo import is_secret, parameters
from orchestrator.domain.sources.places import INTO_A_FILE, MOST_PATHS, checked_file, checked_paths
from shared.contracts.sources import MysqlSource, PostgresSource, SqliteSource
from shared.errors import SkyharborError

MOST_DATABASES = 100

_POSTGRES = "Write 'host=db.example port=5432 user=backup', or postgresql://backup@db.example:5432."
_MYSQL = "Write mysql://user@host:port or mysql://user@localhost?socket=/path."


def checked_postgres(spec: PostgresSource) -> PostgresSource:
    """Return the description of a cluster."""
    dsn = check_text(spec.dsn, field="source").strip()
    try:
        told = parameters(dsn)
    except ValueError as error:
        raise SkyharborError("bad-request", f"the DSN is not right: {error}", field="source", hint=_POSTGRES) from error
    if any(is_secret(name) for name in told):
        raise SkyharborError("bad-request", "a DSN must not have a password in it", field="source", hint=INTO_A_FILE)
    if len(spec.dumps) > MOST_DATABASES or not all(spec.dumps):
        raise SkyharborError("bad-request", f"give at most {MOST_DATABASES} names of databases", field="source")
    if not spec.physical and not spec.dumps:
        raise SkyharborError("bad-request", "without a physical backup, name databases to dump, or *", field="source")
    return PostgresSource(
        dsn=dsn,
        credentials_file=checked_file(spec.credentials_file),
        dumps=tuple(dict.fromkeys(check_text(name, field="source", longest=63) for name in spec.dumps)),
        physical=spec.physical,
    )


def checked_mysql(spec: MysqlSource) -> MysqlSource:
    """Return the description of a server."""
    dsn = check_text(spec.dsn.strip(), field="source")
    try:
        url = urlsplit(dsn)
        has_password, _ = url.password is not None, url.port
    except ValueError as error:
        raise SkyharborError("bad-request", f"the DSN is not right: {error}", field="source", hint=_MYSQL) from error
    if has_password:
        raise SkyharborError("bad-request", "a DSN must not have a password in it", field="source", hint=INTO_A_FILE)
    if url.scheme not in ("mysql", "mariadb") or not url.netloc or url.path not in ("", "/"):
        raise SkyharborError("bad-request", "a DSN names a server, and nothing else", field="source", hint=_MYSQL)
    if url.query and not url.query.startswith("socket=/"):
        raise SkyharborError("bad-request", "a DSN has no options but a socket", field="source", hint=_MYSQL)
    if not url.hostname and not url.query:
        raise SkyharborError("bad-request", "a DSN names a server", field="source", hint=_MYSQL)
    if not url.username and not spec.credentials_file:
        raise SkyharborError(
            "bad-request", "neither the DSN nor a credentials file names a user", field="source", hint=_MYSQL
        )
    return MysqlSource(dsn=dsn, credentials_file=checked_file(spec.credentials_file), dump=spec.dump)


def checked_sqlite(spec: SqliteSource) -> SqliteSource:
    """Return the description of files that are databases."""
    if not 1 <= len(spec.paths) <= MOST_PATHS:
        raise SkyharborError("bad-request", f"give 1 to {MOST_PATHS} databases", field="source")
    return SqliteSource(paths=checked_paths(spec.paths))
