"""What a search begins with: who takes part, and what may happen to them.

Rule of the file: a scene that begins in the middle of something begins with a state that the protocol reaches, and says
how.
"""

from __future__ import annotations

from dataclasses import dataclass

from tests.models import tower
from tests.models.clauses import PROTOCOL, Clauses
from tests.models.world import (
    ABSENT,
    DOOMED,
    LIVE,
    SEALED,
    WAITING,
    Collector,
    Job,
    World,
    Writer,
    put,
)


@dataclass(frozen=True, slots=True)
class Scene:
    """Who takes part, and what may happen to them. Pack 0 is in storage; point 0 needs it, if ``sealed``."""

    name: str
    jobs: int = 1
    attempts: int = 1
    sealed: bool = True  # otherwise pack 0 is garbage that an index segment speaks of
    empty: bool = False  # not even that
    beside: bool = False  # pack 0 is garbage, and point 0 needs another one, the last
    frozen: bool = False  # a collector and the first attempt are frozen, each in the middle of its work on pack 1
    stale: bool = False  # a collector is frozen that may doom garbage; another one has taken it back since
    condemned: bool = False  # pack 0 was condemned before point 0, by an older writer, was sealed: no sweep since then
    stores: bool = False  # a writer may store a new pack although it knows an old one
    late_stores: bool = False  # a lost attempt may still store and index
    expires: bool = True
    fails: bool = False  # a manifest may not be deleted although it should be
    hold: bool = False
    read: bool = False


def first_world(scene: Scene, clauses: Clauses = PROTOCOL) -> World:
    """Return the state that a scene begins with."""
    world = _quiet(scene)
    if scene.stale:
        return world._replace(ghost=Collector("revive", ripe=1))
    return _frozen(world, clauses) if scene.frozen else world


def _quiet(scene: Scene) -> World:
    packs = 1 + scene.jobs * scene.attempts + scene.beside
    points = 1 + scene.jobs
    there = int(not scene.empty) | scene.beside << packs - 1
    return World(
        present=there,
        indexed=there,
        manifests=((1 << packs - 1 if scene.beside else 1) * scene.sealed, *[0] * (points - 1)),
        fenced=0,
        generation=1,
        packs=(1 if scene.condemned else LIVE, *[LIVE] * (packs - 1)),
        remembered=0,
        points=(SEALED if scene.sealed else ABSENT, *[ABSENT] * (points - 1)),
        held=0,
        reading=0,
        jobs=(Job(),) * scene.jobs,
        writers=((None,) * scene.attempts,) * scene.jobs,
        collector=None,
        ghost=None,
    )


def _frozen(world: World, clauses: Clauses) -> World:
    """An attempt was lost while it stored a pack; that was condemned and doomed; its collector was lost as well."""
    return tower.supersede(
        world._replace(
            present=world.present | 2,
            packs=put(world.packs, 1, DOOMED),
            jobs=(Job(WAITING, 1), *world.jobs[1:]),
            writers=((Writer("store", 0), *world.writers[0][1:]), *world.writers[1:]),
            ghost=Collector("delete-packs", left=2),
        ),
        clauses,
    )
