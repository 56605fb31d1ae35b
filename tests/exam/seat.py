"""What a workload brings to the exam: a real source, somebody who writes to it, and a way to use what was restored."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from shared.contracts.sources import SourceSpec
from shared.vault.reader import PointReader


class Seat(Protocol):
    """A source that runs for real, on this machine, for one test.

    Truths are values that compare: what a person would look at to say that it is all there.
    """

    name: str
    """The row of the table: the workload, and the version of the server when there are several."""

    spec: SourceSpec

    def truth(self) -> object:
        """Return what is in the source now."""
        ...

    def change(self) -> None:
        """Change a little of it: less than a twentieth of its bytes."""
        ...

    def restored(self, reader: PointReader, target: Path) -> object:
        """Bring the point back into an empty folder with the product's own means, use it, and return its truth."""
        ...

    def left_behind(self) -> Sequence[str]:
        """Name what a backup that ended badly has left at the source. Empty when the source is clean.

        Asked again for some seconds: a guard may be at work.
        """
        ...

    def wrong(self) -> Sequence[tuple[SourceSpec, str]]:
        """Return descriptions that must be refused, each with words that the error has to have."""
        ...

    def write_on(self) -> None:
        """Change something while a backup reads: called many times during it, so it is quick.

        The truth of the point is then that of a moment between begin and end: ``is_of_one_moment`` tells.
        """
        ...

    def is_of_one_moment(self, truth: object) -> bool:
        """Tell whether such a truth was there at any one moment."""
        ...

    def die(self) -> bool:
        """End the server at once, by SIGKILL; False when nothing stands between us and the source."""
        ...

    def close(self) -> None:
        """Stop what was started."""
        ...
