"""Asks a server what it is: version, where its files are, what its log of changes is.

Rule of the file: questions only; every one has a timeout, and every refusal becomes an error that says what to do.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Final

from shared.clock import SystemClock
from shared.errors import SkyharborError
from workers.sources.mysql.endpoint import Endpoint
from workers.sources.mysql.programs import series_of

_CONNECTING: Final = 10
_ANSWERING: Final = 60
_DENIED: Final = frozenset({1044, 1045, 1698})
_NOT_GRANTED: Final = frozenset({1142, 1227})
_TOO_MANY: Final = 1040

GRANTS: Final = "RELOAD, PROCESS, LOCK TABLES, BINLOG MONITOR"
_KEPT: Final = (
    "lower_case_table_names",
    "character_set_server",
    "collation_server",
    "innodb_page_size",
    "max_allowed_packet",
)
"""Variables that a server needs to be given again to understand the files and the log of this one."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What a server said about itself. ``started_before`` is in seconds of this machine's clock, ``lsn`` InnoDB's.

    ``binlog`` is where the log of changes is, without the number at the end of its files' names; empty when there is
    none, or none that can be used, which ``no_binlog`` then explains.
    """

    version: str
    is_mariadb: bool
    hostname: str
    datadir: str
    system_tablespace: str
    lsn: int
    started_before: float
    binlog: str
    no_binlog: str
    variables: dict[str, str]

    @property
    def series(self) -> str:
        """The release series, such as 10.11: files and programs fit together within one."""
        return series_of(self.version)


class Server:
    """A server that can be asked."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint

    def facts(self) -> Facts:
        """Ask for everything at once. Raises ``source-failed``."""
        now = SystemClock().now().timestamp()
        version, hostname, datadir, log_bin = self._ask("SELECT @@version, @@hostname, @@datadir, @@log_bin")[0]
        told = {str(name): str(value) for name, value in self._ask("SHOW GLOBAL VARIABLES")}
        asked = "SHOW GLOBAL STATUS WHERE Variable_name IN ('Uptime', 'Innodb_lsn_current')"
        status = {str(name): int(value) for name, value in self._ask(asked)}
        is_mariadb = "mariadb" in str(version).lower()
        encrypted = told.get("encrypt_binlog") == "ON"
        return Facts(
            version=str(version),
            is_mariadb=is_mariadb,
            hostname=str(hostname),
            datadir=str(datadir),
            system_tablespace=os.path.join(
                str(datadir),
                told.get("innodb_data_home_dir", ""),
                told.get("innodb_data_file_path", "ibdata1").split(":")[0],
            ),
            lsn=status.get("Innodb_lsn_current", 0),
            started_before=now - status.get("Uptime", 0),
            binlog=told.get("log_bin_basename", "") if int(log_bin) and not encrypted else "",
            no_binlog="" if int(log_bin) and not encrypted else "it is encrypted" if encrypted else "log_bin is off",
            variables={name: told[name] for name in _KEPT if name in told},
        )

    def databases(self) -> list[str]:
        """Return the databases that people made."""
        rows = self._ask(
            "SELECT SCHEMA_NAME FROM information_schema.SCHEMATA WHERE SCHEMA_NAME NOT IN "
            "('information_schema', 'performance_schema', 'sys', 'mysql') ORDER BY SCHEMA_NAME"
        )
        return [str(row[0]) for row in rows]

    def tables_besides_innodb(self) -> list[str]:
        """Return tables of people that InnoDB does not keep."""
        rows = self._ask(
            "SELECT CONCAT(TABLE_SCHEMA, '.', TABLE_NAME) FROM information_schema.TABLES "
            "WHERE TABLE_TYPE = 'BASE TABLE' AND ENGINE IS NOT NULL AND ENGINE NOT IN ('InnoDB', 'MEMORY') "
            "AND TABLE_SCHEMA NOT IN ('information_schema', 'performance_schema', 'sys', 'mysql') ORDER BY 1"
        )
        return [str(row[0]) for row in rows]

    def binlogs(self) -> list[str]:
        """Return the names of the files of the log of changes that the server still has, oldest first."""
        return [str(row[0]) for row in self._ask("SHOW BINARY LOGS")]

    def _ask(self, question: str) -> Sequence[Sequence[Any]]:
        place, pymysql = self._endpoint, _driver()
        try:
            with (
                closing(
                    pymysql.connect(
                        user=place.user,
                        password=place.password.encode(),  # as text it would be taken for Latin-1
                        host=place.host,
                        port=place.port,
                        unix_socket=place.socket or None,
                        connect_timeout=_CONNECTING,
                        read_timeout=_ANSWERING,
                        write_timeout=_ANSWERING,
                        charset="utf8mb4",
                    )
                ) as connection,
                connection.cursor() as cursor,
            ):
                cursor.execute(question)
                return list(cursor.fetchall())
        except (pymysql.MySQLError, OSError, RuntimeError) as error:
            raise self._refused(error) from error

    def _refused(self, error: Exception) -> SkyharborError:
        code = error.args[0] if error.args else 0
        words = str(error.args[1]) if len(error.args) > 1 else str(error)
        who, where = f"{self._endpoint.user!r}", self._endpoint.place
        if code in _DENIED:
            return SkyharborError(
                "source-denied",
                f"the server at {where} does not let {who} in: {words}",
                hint="Check user and password in the item's credentials file, and that the account may come from here.",
            )
        if code in _NOT_GRANTED:
            return SkyharborError(
                "source-failed",
                f"{who} lacks a right at {where}: {words}",
                hint=f"Grant it: GRANT {GRANTS} ON *.* TO the account of the item.",
            )
        return SkyharborError(
            "source-failed",
            f"the server at {where} does not answer: {words}",
            hint="Check that it runs, and the host, port or socket of the item's DSN.",
        )


def _driver() -> ModuleType:
    try:
        return importlib.import_module("pymysql")
    except ImportError as error:
        raise SkyharborError(
            "source-failed",
            "this worker lacks what it needs to ask a MariaDB or MySQL server",
            hint="Install skyharbor with its extra 'mysql': pip install 'skyharbor[mysql]'.",
        ) from error
