"""What the search leaves out makes no difference: held against every state of small worlds."""

from __future__ import annotations

import pytest

from tests.models import laws
from tests.models.clauses import PROTOCOL
from tests.models.reduced import reduced
from tests.models.scenes import Scene, first_world
from tests.models.search import steps
from tests.models.world import World

ALONE = Scene("one job that may store late", stores=True, late_stores=True, hold=True)
PAIR = Scene("two jobs beside garbage", jobs=2, sealed=False, stores=True, late_stores=True)
TRIES = Scene("two attempts that may store late", attempts=2, sealed=False, stores=True, late_stores=True)
MOST = 5_000


def _reached(scene: Scene) -> list[World]:
    """Return states as they come, not reduced: the first of each kind."""
    start = first_world(scene)
    seen = {reduced(start, PROTOCOL)}
    layer, every = [start], [start]
    while layer and len(every) < MOST:
        following = []
        for world in layer:
            for _, after in steps(world, scene, PROTOCOL):
                if (like := reduced(after, PROTOCOL)) not in seen:
                    seen.add(like)
                    following.append(after)
        layer = following
        every += following
    return every[-MOST:]


@pytest.mark.parametrize("scene", [ALONE, PAIR, TRIES], ids=lambda scene: scene.name)
def test_a_reduced_state_has_the_same_future(scene: Scene) -> None:
    for world in _reached(scene):
        like = reduced(world, PROTOCOL)
        assert reduced(like, PROTOCOL) == like
        assert laws.broken(like) == laws.broken(world)
        assert _futures(world, like, scene) <= _futures(like, like, scene), world


def _futures(world: World, like: World, scene: Scene) -> set[World]:
    """Return what can follow, also after steps that change nothing that counts."""
    found, same = set(), [world]
    seen = {world}
    while same:
        for _, after in steps(same.pop(), scene, PROTOCOL):
            kind = reduced(after, PROTOCOL)
            if kind != like:
                found.add(kind)
            elif after not in seen:
                seen.add(after)
                same.append(after)
    return found
