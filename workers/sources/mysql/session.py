"""The session of a MariaDB or MySQL server: finds it, decides how it is backed up, and refuses what would go wrong.

The hold itself is mariabackup's, or the dump program's, and lasts as long as it runs.

Rule of the file: nothing is begun here, so there is nothing to undo: a program ends with the stream that it sends.
"""

from __future__ import annotations

import grp
import os
import pwd
import stat
from collections.abc import Mapping, Sequence
from contextlib import suppress

from shared.contracts.sources import MysqlSource
from shared.errors import SkyharborError
from shared.model.backup import Notice
from workers.engine.notices import reason
from workers.engine.ports import SessionOrder
from workers.sources.mysql.chain import Owner
from workers.sources.mysql.dumping import DumpStream, dump_program
from workers.sources.mysql.endpoint import Endpoint, endpoint_of
from workers.sources.mysql.physical import PhysicalStream, Site, named
from workers.sources.mysql.planning import plan_for
from workers.sources.mysql.programs import program, series_of, version_of
from workers.sources.mysql.server import Facts, Server


class MysqlSession:
    """The engine's ``Session`` over a stream."""

    paths = ("/",)

    def __init__(self, reading: PhysicalStream | DumpStream, said: Sequence[Notice]) -> None:
        self.reading = reading
        self._said = tuple(said)

    @property
    def state(self) -> Mapping[str, str]:
        """Where the point ends; nothing before the stream has."""
        return self.reading.state

    def notices(self) -> Sequence[Notice]:
        """Return what is not in the point, or not as good as it could be."""
        return (*self._said, *self.reading.notices)

    def confirm(self) -> None:
        """A stream that came to its end is of one point in time: the program that sent it has said so."""

    def sealed(self) -> None:
        """Nothing has to be remembered."""

    def close(self) -> None:
        """End the stream's program, if it has not ended."""
        self.reading.close()


def open_mysql(order: SessionOrder, source: MysqlSource) -> MysqlSession:
    """Find the server. Raises ``source-failed`` and ``bad-request`` with what to do about it; nothing is held."""
    endpoint = endpoint_of(source)
    facts = Server(endpoint).facts()
    if source.dump:
        dumps = DumpStream(endpoint, facts, dump_program(facts), folder=order.folder, check=order.check)
        return MysqlSession(dumps, _about_dumps(endpoint, facts))
    site = _site(endpoint, facts)
    plan = plan_for(None if order.reference is None else order.reference.state, facts, inode=site.inode)
    # What stays as it is from increment to increment is said with every full.
    said = _about_files(facts) if plan.from_lsn == 0 else []
    return MysqlSession(PhysicalStream(site, plan, folder=order.folder, check=order.check), said)


def _site(endpoint: Endpoint, facts: Facts) -> Site:
    if not facts.is_mariadb:
        raise SkyharborError(
            "bad-request",
            f"{endpoint.place} is MySQL {facts.version}, of which there are only dumps",
            hint="Protect it with: skyharbor item add mysql NAME … --dump",
        )
    # The path of the data folder is the server's word, and only means something on the server's own machine.
    if not endpoint.is_local or facts.hostname != os.uname().nodename:
        raise SkyharborError(
            "bad-request",
            f"the server at {endpoint.place} runs on {facts.hostname}, and its files can only be read there",
            hint="Run a worker on that machine, or protect the server with --dump.",
        )
    try:
        folder = os.stat(facts.datadir)
        inode = os.stat(facts.system_tablespace).st_ino
        os.listdir(facts.datadir)
    except OSError as error:
        raise SkyharborError(
            "source-failed",
            f"the server's data folder {facts.datadir}: {reason(error)}",
            hint="Run the worker as root, or as the user that the server runs as.",
        ) from error
    mariabackup = program("mariabackup", "mariadb-backup", package="mariadb-backup")
    ours = version_of(mariabackup)
    if series_of(ours) != facts.series:
        raise SkyharborError(
            "source-failed",
            f"{mariabackup} is of the series {series_of(ours)}, the server of {facts.series}",
            hint="Install mariadb-backup of the server's series: a copy by another one cannot be relied on.",
        )
    return Site(endpoint, facts, _owner(folder), inode, mariabackup)


def _owner(info: os.stat_result) -> Owner:
    user, group = str(info.st_uid), str(info.st_gid)
    with suppress(KeyError):
        user = pwd.getpwuid(info.st_uid).pw_name
    with suppress(KeyError):
        group = grp.getgrgid(info.st_gid).gr_name
    return Owner(user, group, info.st_uid, info.st_gid, stat.S_IMODE(info.st_mode))


def _about_files(facts: Facts) -> list[Notice]:
    if facts.binlog:
        return []
    words = f"there is no log of changes to be had ({facts.no_binlog})"
    return [Notice(facts.datadir, "no-window", f"{words}: only the moments of the points themselves can be restored")]


def _about_dumps(endpoint: Endpoint, facts: Facts) -> list[Notice]:
    others = Server(endpoint).tables_besides_innodb()
    said = []
    if others:
        words = f"a dump is not of one moment for tables that are not InnoDB's: {named(others)}"
        said.append(Notice(endpoint.place, "not-one-moment", words))
    if not facts.is_mariadb:
        words = f"dumps of MySQL (this one is {facts.version}) have not been tested: try a restore"
        said.append(Notice(endpoint.place, "untested-server", words))
    return said
