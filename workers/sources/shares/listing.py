"""How the walk of a far tree asks for folders: many at a time, for every answer takes a round trip.

Rule of the file: Protocols only.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

from shared.model.backup import Notice
from workers.sources.shares.stats import FarStat

Rows = list[tuple[bytes, FarStat]]


class Listed(NamedTuple):
    """What is in a folder: names with their looks, in any order, none twice; and what has to be said of some."""

    rows: Rows
    notices: list[Notice]


class Asked(Protocol):
    """A folder that was asked for."""

    def listed(self) -> Listed:
        """Wait for the answer. Raises ``Unreadable`` for this folder, ``source-failed`` when the server is gone."""
        ...

    def drop(self) -> None:
        """Nobody wants the answer any more."""
        ...


class Listing(Protocol):
    """A line to the server for one scan. Used by one thread."""

    def ask(self, folder: bytes) -> Asked:
        """Ask for the content of a folder (by its path in the point) and do not wait."""
        ...

    def finished(self, folder: bytes, rows: Rows) -> Rows:
        """Return rows of a folder with all that is compared; only of those that the scan is about is it asked.

        Raises ``source-failed`` when the server is gone.
        """
        ...

    def look(self, path: bytes) -> FarStat:
        """Return the look of one node. Raises ``Unreadable``; ``source-failed`` when the server is gone."""
        ...

    def close(self) -> None:
        """Hang up."""
        ...
