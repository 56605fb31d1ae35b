"""What writers and the collector ask of the tower about packs and points that are to go (decision 12).

Rule of the file: Protocols; ``shared.contracts.collect`` says what each message means.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from shared.contracts.collect import CondemnedPacks, DoomedPoints, GivenUp, UnsettledPoints


class CondemnedList(Protocol):
    """What a writer asks of the tower before it compares anything.

    Every method insists while the tower does not answer, for as long as the unit may go on: ``Stop`` after that.
    """

    def condemned(self, after: str) -> CondemnedPacks:
        """Return the page of condemned packs behind this name."""
        ...


class CollectionDesk(CondemnedList, Protocol):
    """The collector's desk at the tower.

    All may be repeated. Raises ``stale-claim`` when somebody else collects now: stop, and touch nothing.
    """

    def condemn(self, packs: Sequence[GivenUp], revive: Sequence[str]) -> None:
        """Give packs up, and take others back, ``MOST_LISTED`` together at most."""
        ...

    def doom(self, packs: Sequence[str]) -> Sequence[str]:
        """Return those of these packs that may be deleted, for good."""
        ...

    def deleted(self, packs: Sequence[str]) -> None:
        """Say that these doomed packs are gone."""
        ...

    def doomed_points(self, after: str) -> DoomedPoints:
        """Return the page behind this id of points whose manifests must go."""
        ...

    def expired(self, points: Sequence[str]) -> None:
        """Say that the manifests of these doomed points are gone."""
        ...

    def unsettled(self, after: str) -> UnsettledPoints:
        """Return the page behind this id of points that may still come from somebody who was given up."""
        ...

    def settled(self, *, found: Sequence[str] = (), missing: Sequence[str] = (), fenced: Sequence[str] = ()) -> None:
        """Say what became of such points. Raises ``conflict`` for what was decided otherwise before: ask again."""
        ...
