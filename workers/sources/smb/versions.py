"""Previous versions of a share: which there are, and which one a backup reads.

A previous version is a consistent state of the whole share, kept by the server (a shadow copy).

Rule of the file: listing them is one request; choosing one is a function of values.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from shared.errors import SkyharborError
from workers.sources.smb import messages as smb
from workers.sources.smb import status
from workers.sources.smb.listing import LIST
from workers.sources.smb.status import Refused
from workers.sources.smb.wire import Wire

CHOICES = ("auto", "newest", "none")
FRESH = timedelta(hours=1)

_FORM = "@GMT-%Y.%m.%d-%H.%M.%S"
_BEGINNING = datetime(1601, 1, 1, tzinfo=UTC)


def previous_versions(wire: Wire, folder: bytes) -> list[datetime]:
    """Return when the previous versions of a folder were made, oldest first; none where the server has none.

    Raises ``Refused`` when the folder cannot be opened.
    """
    opening, telling, _ = wire.ask(
        smb.create(folder, access=LIST, options=smb.IS_DIRECTORY | smb.FOR_BACKUP),
        smb.ioctl(smb.RELATED, smb.FSCTL_ENUMERATE_SNAPSHOTS, room=wire.most_read),
        smb.close(smb.RELATED),
    )
    opening.expect()
    if telling.status != status.OK:
        return []
    return parsed(smb.told(telling.message))


def parsed(data: bytes) -> list[datetime]:
    """Return the times in an answer to FSCTL_SRV_ENUMERATE_SNAPSHOTS ([MS-SMB2] 2.2.32.2); others are passed over."""
    found = []
    for name in data[12:].decode("utf-16-le", "replace").split("\0"):
        try:
            found.append(datetime.strptime(name, _FORM).replace(tzinfo=UTC))
        except ValueError:
            continue
    return sorted(found)


def chosen(choice: str, there: Sequence[datetime], *, now: datetime, after: datetime | None) -> datetime | None:
    """Return the version to read, None for the share as it is. ``after`` is when the last point was made.

    Raises ``source-failed`` when one is asked for and there is none.
    """
    newest = there[-1] if there else None
    if choice == "none":
        return None
    if choice == "newest":
        if newest is None:
            raise SkyharborError(
                "source-failed",
                "the share offers no previous version",
                hint="Have the server make shadow copies, or add the item with --previous-versions none.",
            )
        return newest
    if newest is None or now - newest > FRESH or (after is not None and newest <= after):
        return None
    return newest


def moment_of(version: datetime | None) -> int:
    """Return a version's time as FILETIME, 0 for none."""
    return (version - _BEGINNING) // timedelta(microseconds=1) * 10 if version is not None else 0


__all__ = ["CHOICES", "FRESH", "Refused", "chosen", "moment_of", "parsed", "previous_versions"]
