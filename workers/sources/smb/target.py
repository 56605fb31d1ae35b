"""A share as the target of a restore.

Rule of the file: what is lost on the way is done once more over a new connection; the rest is said in words.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from shared.errors import SkyharborError
from shared.model.backup import ConflictRule
from shared.vault.entry import Entry
from workers.sources.shares.target import Landed, NotDone, OpenChunks, as_target
from workers.sources.smb import status
from workers.sources.smb.share import Share
from workers.sources.smb.status import Refused
from workers.sources.smb.wire import Wire
from workers.sources.smb.writing import FileWriter, dress_folder, exists, make_folder

_T = TypeVar("_T")


class ShareTarget:
    """The landing's ``FarTarget`` on a share."""

    def __init__(self, share: Share) -> None:
        self._share = share

    def make_folder(self, path: bytes) -> bool:
        """Make a folder unless it is there."""
        return self._do(lambda wire: make_folder(wire, path))

    def dress_folder(self, path: bytes, entry: Entry) -> list[str]:
        """Give a folder its descriptor, streams, attributes and times."""
        return self._do(lambda wire: dress_folder(wire, path, entry))

    def exists(self, path: bytes) -> bool:
        """Tell whether there is a node of this name."""
        return self._do(lambda wire: exists(wire, path))

    def write(
        self,
        folder: bytes,
        name: bytes,
        entry: Entry,
        chunks: OpenChunks,
        rule: ConflictRule,
        check: Callable[[], None],
    ) -> Landed:
        """Write a file under a hidden name and give it its own when it is complete."""

        def written(wire: Wire) -> Landed:
            writer = FileWriter(wire, folder, name, entry, check)
            return Landed(writer.write(chunks(), rule), writer.lost)

        return self._do(written)

    def link(self, folder: bytes, name: bytes, entry: Entry, rule: ConflictRule) -> Landed:  # noqa: ARG002
        """Links of a share are kept in the point and not made again."""
        raise NotDone("symlinks and junctions are not made again on a share")

    def _do(self, act: Callable[[Wire], _T]) -> _T:
        try:
            return self._share.over(act)
        except Refused as error:
            if error.status in status.FULL:
                raise SkyharborError("target-full", f"{self._share.address.text}: {error}") from error
            raise NotDone(str(error)) from error
        except UnicodeError as error:
            raise NotDone("its name cannot be one on a share") from error
        except SkyharborError as error:
            raise as_target(error) from error
