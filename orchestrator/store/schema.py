"""The schema's version: what the database has, what this program needs, and how to get there.

Rule of the file: forward only. Two programs that upgrade at once wait for each other.
"""

from __future__ import annotations

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, create_engine, pool, text
from sqlalchemy.exc import ArgumentError, OperationalError

from shared.errors import SkyharborError

LOCK = 0x736B7968  # "skyh": any number that nobody else uses


def head() -> str:
    """Return the newest schema version that this program knows."""
    newest = ScriptDirectory.from_config(_config()).get_current_head()
    if newest is None:
        raise AssertionError("no schema version is shipped")
    return newest


def current(url: str) -> str | None:
    """Return the database's schema version, None for an empty database.

    ``server-unreachable`` when it does not answer.
    """
    with _connect(url) as connection:
        return MigrationContext.configure(connection).get_current_revision()


def upgrade(url: str) -> str:
    """Bring the database to ``head()`` and return it; nothing happens when it is there already.

    ``home-newer`` when the database was written by a newer program (nothing is changed), ``server-unreachable`` when it
    does not let us in. Killed in between, a version is there whole or not at all.
    """
    with _connect(url) as connection:
        connection.execute(text("SELECT pg_advisory_lock(:lock)"), {"lock": LOCK})
        connection.commit()
        try:
            have = MigrationContext.configure(connection).get_current_revision()
            connection.commit()
            if have is not None and have not in _known():
                raise SkyharborError("home-newer", f"the database has schema {have}, this program knows up to {head()}")
            config = _config()
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
            connection.commit()
        finally:
            connection.rollback()
            connection.execute(text("SELECT pg_advisory_unlock(:lock)"), {"lock": LOCK})
            connection.commit()
    return head()


def _known() -> set[str]:
    return {script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions()}


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", "orchestrator.store:migrations")
    return config


def _connect(url: str) -> Connection:
    try:
        engine = create_engine(url, poolclass=pool.NullPool, connect_args={"connect_timeout": 10})
    except (ArgumentError, ValueError) as error:
        hint = "Write postgresql://user@host:5432/database."
        raise SkyharborError("bad-request", "SKYHARBOR_DATABASE_URL is not the URL of a database", hint=hint) from error
    try:
        return engine.connect()
    except OperationalError as error:
        raise SkyharborError(
            "server-unreachable",
            f"the database does not let us in: {_reason(error)}",
            hint="Check SKYHARBOR_DATABASE_URL, and that the database runs and takes this user.",
        ) from error


def _reason(error: OperationalError) -> str:
    """Return what the client library says, on one line; it names the server and the user and never a password."""
    return " ".join(str(error.orig).split())[:300]
