"""A base backup, or an increment, as the server sends it: archives turned into nodes of the tree.

Layout below ``base/<name>``: ``pgdata`` is the data directory, ``tablespaces/<oid>`` what its links in ``pg_tblspc``
lead to, and ``backup_manifest``.

Rule of the file: one command and its answer; it knows no log and no earlier backup but the manifest that it is given.
"""

from __future__ import annotations

from collections.abc import Iterator

from psycopg import pq
from psycopg.pq.abc import PGresult

from shared.errors import SkyharborError
from workers.engine.ports import Pushed
from workers.sources.postgres.lsn import parse_lsn
from workers.sources.postgres.nodes import Folder, Pieces, TarNode, is_known
from workers.sources.postgres.replication import Replication, quoted
from workers.sources.postgres.tar_stream import TarStream

_BASE = "base.tar"


class BaseStream:
    """One ``BASE_BACKUP``. At the end of ``nodes`` its ``start``, ``stop``, ``timeline`` and ``size`` are known."""

    def __init__(self, connection: Replication, name: str, *, label: str) -> None:
        self._connection = connection
        self.name = name
        self._folder = f"base/{name}".encode()
        self._label = label
        self._messages: Iterator[memoryview] = iter(())
        self._ahead: memoryview | None = None
        self.start = self.stop = self.timeline = self.size = 0

    def begin(self, parent_manifest: Iterator[bytes | memoryview] | None = None) -> None:
        """Have the server begin; with its parent's manifest for an increment. Raises ``Refusal``.

        Nothing has been sent when this raises: the connection can be used for something else.
        """
        options = f"LABEL {quoted(self._label)}, CHECKPOINT 'fast', WAIT false, WAL false, MANIFEST 'yes'"
        if parent_manifest is not None:
            self._connection.upload("UPLOAD_MANIFEST", parent_manifest)
            options += ", INCREMENTAL"
        self._connection.send(f"BASE_BACKUP ({options})")
        started = self._connection.expect(pq.ExecStatus.TUPLES_OK)
        self.start, self.timeline = parse_lsn(_text(started, 0)), int(_text(started, 1))
        self._connection.expect(pq.ExecStatus.TUPLES_OK)  # the tablespaces: their archives say the same
        self._connection.expect(pq.ExecStatus.COPY_OUT)
        self._messages = self._connection.messages()

    def nodes(self) -> Iterator[Pushed]:
        """Yield what the server sends. Raises ``source-failed`` when it breaks off or does not end as it should."""
        yield Folder(self._folder)
        spaces = self._folder + b"/tablespaces"
        yield Folder(spaces)
        manifest = False
        while (message := self._next()) is not None:
            kind = bytes(message[:1])
            if kind == b"n":
                name = bytes(message[1:]).split(b"\0")[0].decode()
                place = b"/pgdata" if name == _BASE else b"/tablespaces/" + name.removesuffix(".tar").encode()
                yield from self._archive(self._folder + place)
            elif kind == b"m":
                manifest = True
                yield Pieces(self._folder + b"/backup_manifest", self._pieces())
            elif kind != b"p":
                raise SkyharborError("source-failed", "the server sent a message of a kind that is not known")
        ended = self._connection.expect(pq.ExecStatus.TUPLES_OK)
        self.stop = parse_lsn(_text(ended, 0))
        while (result := self._connection.result()) is not None:
            if result.status != pq.ExecStatus.COMMAND_OK:
                raise SkyharborError("source-failed", f"the backup did not end well: {result.get_error_message()}")
        if not manifest:
            raise SkyharborError("source-failed", "the server sent no manifest of the backup")

    # ── inside ───────────────────────────────────────────────────────────────────────────────────────

    def _archive(self, folder: bytes) -> Iterator[Pushed]:
        yield Folder(folder)
        archive = TarStream(self._more)
        while (member := archive.next()) is not None:
            if not member.name:
                continue
            if not is_known(member):
                raise SkyharborError(
                    "source-failed", f"the backup has a node of a kind that is not known: {member.name!r}"
                )
            yield TarNode(folder + b"/" + member.name, member, archive, self._count)

    def _pieces(self) -> Iterator[memoryview]:
        while (piece := self._more()) is not None:
            yield piece

    def _more(self) -> memoryview | None:
        """Return the next data of the archive that is being sent, None when something else comes."""
        while (message := self._next()) is not None:
            kind = message[0]
            if kind == 0x64:  # d
                return message[1:]
            if kind != 0x70:  # p: how far the server is, which we count ourselves
                self._ahead = message
                return None
        return None

    def _next(self) -> memoryview | None:
        if self._ahead is not None:
            message, self._ahead = self._ahead, None
            return message
        return next(self._messages, None)

    def _count(self, size: int) -> None:
        self.size += size


def _text(result: PGresult, column: int) -> str:
    return (result.get_value(0, column) or b"").decode()
