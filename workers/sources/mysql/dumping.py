"""Databases as SQL: a file for each, made by the dump program of MariaDB or MySQL, and one for the accounts.

Every database is of one moment (a transaction that sees nothing later), and each of its own.

Rule of the file: a dump whose program did not end well never ends: it is an error, so there is no point.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Final

from shared.errors import SkyharborError
from shared.model.backup import Notice
from shared.vault.reader import PointReader
from workers.engine.ports import Kept, Pushed
from workers.sources.mysql.chain import Owner
from workers.sources.mysql.child import Check, Child, OptionFile, last_words
from workers.sources.mysql.endpoint import Endpoint
from workers.sources.mysql.programs import program
from workers.sources.mysql.pushed import Tree
from workers.sources.mysql.server import Facts, Server

GRANTS: Final = "SELECT, SHOW VIEW, TRIGGER, EVENT, LOCK TABLES, PROCESS"
_STALL: Final = 900.0
_OURS: Final = ("SHOW VIEW", "denied", "privilege")
_OPTIONS: Final = (
    "--single-transaction",
    "--quick",
    "--routines",
    "--events",
    "--triggers",
    "--hex-blob",
    "--skip-dump-date",  # what did not change must look as it did
    "--default-character-set=utf8mb4",
    "--max-allowed-packet=1G",
)

_ACCOUNTS: Final = (
    "--system=users",
    "--insert-ignore",  # a server that takes them back has some of them already
    "--skip-dump-date",
)


def dump_program(facts: Facts) -> str:
    """Return the path of the program. Raises ``source-failed`` where there is none."""
    if facts.is_mariadb:
        return program("mariadb-dump", "mysqldump", package="mariadb-client")
    return program("mysqldump", "mariadb-dump", package="mysql-client")


class DumpStream:
    """The engine's ``StreamSource`` over dumps, one after the other."""

    def __init__(self, endpoint: Endpoint, facts: Facts, program: str, *, folder: str, check: Check) -> None:
        self.state: dict[str, str] = {}
        self.notices: list[Notice] = []
        self._endpoint = endpoint
        self._facts = facts
        self._program = program
        self._folder = folder
        self._check = check
        self._child: Child | None = None

    def close(self) -> None:
        """End the program of a dump that nobody reads any more."""
        if self._child is not None:
            self._child.close()

    def stream(self, reference: PointReader | None) -> Iterator[Pushed | Kept | Notice]:  # noqa: ARG002 - all is sent
        """Yield a file for every database, and one for the accounts (see the port)."""
        tree = Tree(Owner("", "", os.geteuid(), os.getegid(), 0o700))
        names = Server(self._endpoint).databases()
        wanted = [(b"dump/" + file_name(name) + b".sql", [*_OPTIONS, "--databases", "--", name]) for name in names]
        if self._facts.is_mariadb:
            wanted.append((b"users.sql", [*_ACCOUNTS]))
        else:
            self.notices.append(Notice(self._endpoint.place, "no-accounts", "accounts of MySQL are not in the point"))
        for path, arguments in wanted:
            with ExitStack() as stack:
                options = self._endpoint.option_file()
                stack.callback(options.close)
                folders, node = tree.file(path, self._dump(arguments, options, stack))
                yield from folders
                yield node

    def _dump(self, arguments: list[str], options: OptionFile, stack: ExitStack) -> _Dump:
        child = self._child = Child(
            [self._program, *options.arguments, *arguments],
            check=self._check,
            folder=self._folder,
            stall=_STALL,
            options=options,
            cwd="/",
        )
        stack.callback(child.close)
        return _Dump(child)


def file_name(database: str) -> bytes:
    """Return a database's name as one of a file."""
    name = database.replace("%", "%25").replace("/", "%2F")
    return name.encode() if not name.startswith(".") else b"%2E" + name[1:].encode()


class _Dump:
    """What one program writes. The end is one only when the program says that it has done all."""

    def __init__(self, child: Child) -> None:
        self._child = child

    def read_into(self, buffer: memoryview) -> int:
        got = self._child.read_into(buffer)
        if not got and self._child.wait():
            said = self._child.said()
            raise SkyharborError(
                "source-failed",
                f"a database could not be dumped; {last_words(said)}",
                **({"hint": f"Grant {GRANTS} ON *.* to the account of the item."} if _is_a_right(said) else {}),
            )
        return got


def _is_a_right(said: str) -> bool:
    return any(word in said for word in _OURS)
