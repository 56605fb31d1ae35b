"""Lists folders of a share over one wire, many at a time.

Rule of the file: an answer that came over a wire that was lost is asked for once more over the next.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from shared.model.backup import Notice
from workers.engine.notices import shown
from workers.sources.shares.listing import Listed, Rows
from workers.sources.shares.stats import FarStat
from workers.sources.smb import messages as smb
from workers.sources.smb import status
from workers.sources.smb.describing import described, open_node
from workers.sources.smb.marks import mark_of, marked_rows
from workers.sources.smb.messages import Request, Row
from workers.sources.smb.nodes import is_elsewhere, stat_of, stat_of_row
from workers.sources.smb.share import Share, unreadable
from workers.sources.smb.status import Refused
from workers.sources.smb.wire import LineLost, Wire

LOOK, LIST = 0x100080, 0x100081
"""Access to attributes, and to those and the names in a folder."""
_ROOM = 65536
_MOST_TIMES = 2


class SmbListing:
    """The walk's line to a share (``workers.sources.shares.listing``)."""

    def __init__(self, share: Share) -> None:
        self._share = share
        self._wire: Wire | None = None

    @property
    def wire(self) -> Wire:
        """The line, dialled when there is none."""
        if self._wire is None or self._wire.lost:
            self._wire = self._share.take()
        return self._wire

    def ask(self, folder: bytes) -> AskedFolder:
        """Ask for the content of a folder."""
        return AskedFolder(self, self._share, folder)

    def finished(self, folder: bytes, rows: Rows) -> Rows:
        """Return rows with marks where the server keeps no change times."""
        setting = self._share.setting
        if not setting.marked:
            return rows
        try:
            return marked_rows(self.wire, folder, rows, setting)
        except LineLost:
            self._share.hang_up()
        try:
            return marked_rows(self.wire, folder, rows, setting)
        except LineLost as error:
            raise self._share.gone(error) from error

    def look(self, path: bytes) -> FarStat:
        """Return the look of one node."""
        setting, options = self._share.setting, smb.FOR_BACKUP

        def looked(wire: Wire) -> FarStat:
            if setting.marked:
                created, answers = open_node(wire, path, setting, access=0, options=options)
                wire.forget(wire.send(smb.close(created.handle)))
                about = described(wire, path, setting, created.look, answers)
                return stat_of(created.look, created.node)._replace(st_ctime_ns=mark_of(created.look, about.xattrs))
            answer, _ = wire.ask(
                smb.create(path, access=LOOK, options=options, moment=setting.moment), smb.close(smb.RELATED)
            )
            created = smb.created(answer.expect())
            return stat_of(created.look, created.node)

        try:
            return self._share.over(looked)
        except Refused as error:
            raise unreadable(path, error) from error

    def close(self) -> None:
        """Hang up: what was asked for and never taken ends with the wire."""
        if self._wire is not None:
            self._wire.close()


class AskedFolder:
    """A folder that was asked for."""

    def __init__(self, listing: SmbListing, share: Share, folder: bytes) -> None:
        self._listing = listing
        self._share = share
        self._folder = folder
        self._wire: Wire | None = None
        self._numbers: list[int] = []
        try:
            self._send()
        except LineLost:
            self._numbers = []  # asked again when it is needed

    def listed(self) -> Listed:
        """Wait for the answer."""
        for last in (False, True):
            try:
                if not self._numbers:
                    self._send()
                return self._understood(self._rows())
            except Refused as error:
                raise unreadable(self._folder, error) from error
            except LineLost as error:
                if last:
                    raise self._share.gone(error) from error
                self._numbers = []
                self._share.hang_up()
        raise AssertionError

    def drop(self) -> None:
        """The answer is passed over when it comes; the handle ends with the line, which is the scan's."""
        if self._wire is not None and not self._wire.lost:
            self._wire.forget(self._numbers)

    def _send(self) -> None:
        wire = self._wire = self._listing.wire
        self._numbers = wire.send(*_asking(self._folder, self._share.setting.moment))

    def _rows(self) -> Iterator[Row]:
        wire = self._wire
        if wire is None or wire.lost:
            raise LineLost("the line was lost")
        return _received(wire, self._numbers)

    def _understood(self, rows: Iterable[Row]) -> Listed:
        found: dict[bytes, FarStat] = {}
        notices: list[Notice] = []
        for row in rows:
            path = self._folder + b"/" + row.name if self._folder else row.name
            if is_elsewhere(row.look.attributes, row.tag):
                notices.append(
                    Notice(shown(path), "reparse-point", f"it stands for something elsewhere (0x{row.tag:08X})")
                )
            elif not row.name or b"/" in row.name or b"\0" in row.name:
                notices.append(Notice(shown(path), "refused-name", "the server gave a name that cannot be one"))
            else:
                found[row.name] = stat_of_row(row)
        return Listed(list(found.items()), notices)


def list_folder(wire: Wire, folder: bytes) -> list[Row]:
    """Return what is in a folder now. Raises ``Refused``."""
    return list(_received(wire, wire.send(*_asking(folder, 0))))


def _asking(folder: bytes, moment: int) -> tuple[Request, Request, Request]:
    create = smb.create(folder, access=LIST, options=smb.IS_DIRECTORY | smb.FOR_BACKUP, moment=moment)
    query = smb.query_directory(smb.RELATED, _ROOM)
    return create, query, query


def _received(wire: Wire, numbers: list[int]) -> Iterator[Row]:
    """Yield the rows that were asked for, and those that are still to be asked for; let go of the folder."""
    first, *pages = [wire.receive(number) for number in numbers]
    handle = smb.created(first.expect()).handle
    try:
        for page in pages:
            if page.status == status.NO_MORE_FILES:
                return
            yield from smb.rows(page.expect())
        while True:
            (page,) = wire.ask(smb.query_directory(handle, wire.most_read))
            if page.status in (status.NO_MORE_FILES, status.NO_SUCH_FILE):
                return
            yield from smb.rows(page.expect())
    finally:
        if not wire.lost:
            wire.forget(wire.send(smb.close(handle)))
