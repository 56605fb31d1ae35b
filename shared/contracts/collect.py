"""The collector's part of the work protocol (decision 12), and what a writer asks of it.

Every verb is ``POST /work/v1/<verb>`` and fenced like the others: 409 ``stale-claim`` means stop and touch nothing.
All are idempotent. Lists come in pages of ``MOST_LISTED`` at most, ascending; ``after`` is the last name or id of the
page before, and ``more`` says that there is another one. Packs are given by their object names.

``condemned``  a writer or the collector: which packs are condemned or doomed      → ``CondemnedPacks``
``condemn``    the collector: give packs up; take others back                      → {}
``doom``       the collector: may these ripe packs be deleted now?                 → ``Doomed``
``deleted``    the collector: these doomed packs are gone                          → {}
``doom-points``  the collector: which expiring points may be deleted now?          → ``DoomedPoints``
``expired``    the collector: the manifests of these doomed points are gone        → {}
``unsettled``  the collector: which jobs had leave to seal and ended without a point?  → ``UnsettledPoints``
``settled``    the collector: which of them were found, which not, which are fenced → {}

Settling goes like this: look for the manifest of every unsettled point that has no ``fence``; say ``found`` or
``missing`` (the tower's first answer is final: found counts as a point, missing is given up); ask ``unsettled`` again,
put a fence for every point that now has ``fence``, without looking, delete whatever manifest is there, and say
``fenced``. Only then is the point settled.
"""

from __future__ import annotations

import msgspec

from shared.contracts.work import Fence

MOST_LISTED = 10_000


class AskCondemned(msgspec.Struct, frozen=True, kw_only=True):
    """Ask for condemned packs by name. The fence is a backup's (any unit) or a collector's."""

    fence: Fence
    after: str = ""


class CondemnedPack(msgspec.Struct, frozen=True, array_like=True):
    """A pack that no writer may rely on.

    ``ripe``: condemned, all older writers have ended and the grace has passed, as of this answer. ``doomed``: its
    deletion has been allowed, perhaps to an earlier collector; it is never taken back.
    """

    name: str
    size: int
    ripe: bool
    doomed: bool


class CondemnedPacks(msgspec.Struct, frozen=True, kw_only=True):
    """A page of condemned packs, by name."""

    packs: tuple[CondemnedPack, ...]
    more: bool = False


class GivenUp(msgspec.Struct, frozen=True, array_like=True):
    """A pack to condemn: its name and size in bytes."""

    name: str
    size: int


class Condemn(msgspec.Struct, frozen=True, kw_only=True):
    """Give up packs that no manifest needs, and take back condemned ones that one does: one transaction.

    Together ``MOST_LISTED`` at most. Condemning what is condemned already changes nothing, also not its generation;
    doomed packs are not taken back (``conflict``: a defect, for it cannot happen if the protocol holds).
    """

    fence: Fence
    packs: tuple[GivenUp, ...] = ()
    revive: tuple[str, ...] = ()


class Doom(msgspec.Struct, frozen=True, kw_only=True):
    """Ask leave to delete these packs, ``MOST_LISTED`` at most."""

    fence: Fence
    packs: tuple[str, ...]


class Doomed(msgspec.Struct, frozen=True, kw_only=True):
    """Those of the packs asked for that may be deleted: they were ripe, or doomed already. The others wait."""

    packs: tuple[str, ...]


class Deleted(msgspec.Struct, frozen=True, kw_only=True):
    """These packs are gone from the vault; only doomed ones count."""

    fence: Fence
    packs: tuple[str, ...]


class PointIds(msgspec.Struct, frozen=True, array_like=True):
    """Which point: the parts of its manifest's name.

    ``fence``: the name is dead for good. Put its fence before anything else, without looking, and leave it for ever.
    """

    machine: str
    item: str
    point: str
    fence: bool = False


class AskDoomedPoints(msgspec.Struct, frozen=True, kw_only=True):
    """Doom the expiring points that may go, and name them, by point id."""

    fence: Fence
    after: str = ""


class DoomedPoints(msgspec.Struct, frozen=True, kw_only=True):
    """A page of doomed points: delete their manifests, then say ``expired``.

    ``waiting``: how many expiring points may not go yet.
    """

    points: tuple[PointIds, ...]
    more: bool = False
    waiting: int = 0


class Expired(msgspec.Struct, frozen=True, kw_only=True):
    """The manifests of these points are gone; only doomed ones count."""

    fence: Fence
    points: tuple[str, ...]


class AskUnsettled(msgspec.Struct, frozen=True, kw_only=True):
    """Ask for points whose jobs had leave to seal and ended without one, and that are not settled yet, by point id."""

    fence: Fence
    after: str = ""


class UnsettledPoints(msgspec.Struct, frozen=True, kw_only=True):
    """A page of them: fence each, or find it."""

    points: tuple[PointIds, ...]
    more: bool = False


class Settled(msgspec.Struct, frozen=True, kw_only=True):
    """Points by id. ``found``: the manifest is there, whole, without a catalog row; it counts as a point from now on.

    ``missing``: it is not there; the point is given up, and its job still counts as a writer until it is ``fenced``.
    ``fenced`` is also how a collector asks about a manifest that it meets behind a fence: it deletes it only when this
    is taken. ``conflict`` for what was decided otherwise before (the collector then asks again and obeys), and for
    ``fenced`` of any name that the tower has not declared dead: given up, or of a point that is doomed or expired.
    Otherwise whoever can put an object could have points deleted by putting fences on them.
    """

    fence: Fence
    found: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    fenced: tuple[str, ...] = ()
