"""What a restore to a far server asks of it.

Rule of the file: Protocols only. Paths are those of the server, raw, without a slash in front.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple, Protocol, runtime_checkable

from shared.errors import SkyharborError
from shared.model.backup import ConflictRule
from shared.vault.entry import Entry

OpenChunks = Callable[[], Iterator[memoryview]]
"""Begins reading a file's content from the vault; may be called again when the connection was lost."""


class NotDone(Exception):
    """The server does not do that for this node; the text says why. The rest may go on."""


class Landed(NamedTuple):
    """Under which name a node landed, None when an existing one was kept, and what it lost, in words."""

    name: bytes | None
    lost: list[str]


class FarTarget(Protocol):
    """A server that is written to. Any thread.

    All raise ``NotDone``, ``target-full``, and what ``as_target`` returns when the server is gone or shuts us out.
    """

    def make_folder(self, path: bytes) -> bool:
        """Make a folder unless it is there; return whether it was made."""
        ...

    def dress_folder(self, path: bytes, entry: Entry) -> list[str]:
        """Give a folder its attributes; return what could not be given, in words."""
        ...

    def exists(self, path: bytes) -> bool:
        """Tell whether there is a node of this name."""
        ...

    def write(
        self,
        folder: bytes,
        name: bytes,
        entry: Entry,
        chunks: OpenChunks,
        rule: ConflictRule,
        check: Callable[[], None],
    ) -> Landed:
        """Write a file; complete under its name, or not at all."""
        ...

    def link(self, folder: bytes, name: bytes, entry: Entry, rule: ConflictRule) -> Landed:
        """Make a symlink."""
        ...


@runtime_checkable
class FarMaker(Protocol):
    """A ``FarTarget`` that makes all that a file system has. Any thread; raises as that does."""

    def special(self, folder: bytes, name: bytes, entry: Entry, rule: ConflictRule) -> Landed:
        """Make a FIFO, a socket or a device."""
        ...

    def further_name(self, first: bytes, folder: bytes, name: bytes, rule: ConflictRule) -> Landed:
        """Give the node at the path ``first``, which this restore made, a further name."""
        ...


def as_target(error: SkyharborError) -> SkyharborError:
    """Return what an error of a server means for a restore: one that is gone may be back at the next attempt."""
    code = {"source-failed": "target-unreachable", "source-denied": "target-invalid"}.get(error.code)
    return SkyharborError(code, error.detail, **error.fields) if code is not None else error
