"""What must hold in a vault whatever has happened to it, each as a question that answers with sentences.

Rule of the file: it looks from outside: at names and sizes in the store, at manifests, and at what a restore brings
back, compared with an oracle copy by ``tests.support.compare``. No sentence means that all is well.
"""

from __future__ import annotations

import ast
import os
import shutil
import threading
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from shared.contracts.work import RestoreDone, VerifyDone
from shared.errors import SkyharborError
from tests.support.compare import differences
from tests.support.uncontrolled import Uncontrolled
from tests.unit.engine.rig import Rig
from workers.engine.verify import verify_point


@dataclass(frozen=True)
class Restored:
    """What a restore has brought back.

    ``lost`` are the paths, as in the source, of the oracle's nodes that are not there; ``wrong`` are sentences about
    what is there and is not as in the oracle.
    """

    done: RestoreDone
    lost: frozenset[str]
    wrong: tuple[str, ...]

    @property
    def named(self) -> frozenset[str]:
        """The paths that the restore itself says are damaged."""
        return named(self.done)


def named(done: RestoreDone | VerifyDone) -> frozenset[str]:
    """Return the paths that an outcome says are damaged; not those that it has no name for."""
    return frozenset(notice.path for notice in done.warnings if notice.code == "damaged" and notice.path != NAMELESS)


NAMELESS = "/"
"""The path of a notice about entries that nobody can name any more."""


def restored(rig: Rig, point: str, tree: str, oracle: str, place: str, *, forgotten: Collection[str] = ()) -> Restored:
    """Restore a point into an empty folder and compare. Raises what opening the point raises.

    ``forgotten`` are paths that the vault can no longer describe: what they look like is not compared.
    """
    out = f"{place}/out"
    try:
        done = rig.restore(out, point_id=point)
        if not os.path.isdir(f"{out}{tree}"):
            return Restored(done, everything(tree, oracle), ())
        lines = differences(oracle, f"{out}{tree}", ignore=["holes"])
    finally:
        shutil.rmtree(out, ignore_errors=True)
    missing = [ast.literal_eval(line[len(_MISSING) :]) for line in lines if line.startswith(_MISSING)]
    excused = [_MISSING, *(f"{os.fsencode(os.path.relpath(path, tree))!r}: " for path in forgotten)]
    if missing:
        excused.append("hard links: ")  # the other names of a node with a lost name are fewer
    wrong = [line for line in lines if not line.startswith(tuple(excused))]
    lost = frozenset(os.fsdecode(os.path.join(os.fsencode(tree), path)) for path in missing)
    return Restored(done, lost, tuple(wrong))


_MISSING = "missing: "


def everything(tree: str, oracle: str) -> frozenset[str]:
    """Return the paths of all nodes of an oracle copy but its root, as in the source."""
    return frozenset(
        f"{tree}{os.path.join(folder, name)[len(oracle) :]}"
        for folder, folders, files in os.walk(oracle)
        for name in [*folders, *files]
    )


def unrestorable(
    rig: Rig, oracles: Mapping[str, str], tree: str, place: str, *, but: Collection[str] = ()
) -> list[str]:
    """Say which sealed points do not restore identical to their oracle copy, or are not known; ``but`` these."""
    found = []
    for point in rig.points():
        if point in but:
            continue
        if point not in oracles:
            found.append(f"{point} is sealed and nobody knows it")
            continue
        try:
            outcome = restored(rig, point, tree, oracles[point], place)
        except SkyharborError as error:
            found.append(f"{point} cannot be opened: {error}")
            continue
        found += [f"{point} restores other things: {line}" for line in outcome.wrong]
        found += [f"{point} has lost {path}" for path in sorted(outcome.lost)]
        found += [f"{point} restores with a warning: {notice}" for notice in outcome.done.warnings]
    found += [f"{point} was sealed and is gone" for point in oracles.keys() - rig.points()]
    return found


def dangling_manifests(rig: Rig, points: Iterable[str]) -> list[str]:
    """Say which of these points name a pack that is not in the store with exactly its size."""
    sizes = {info.name: info.size for info in rig.store.list("packs/")}
    return [
        f"{point} names {pack.name} with {pack.size} bytes, and the store has {sizes.get(pack.name)}"
        for point in points
        for pack in rig.reader(point).packs
        if sizes.get(pack.name) != pack.size
    ]


def dangling_rows(rig: Rig, *, before_dropping: bool) -> list[str]:
    """Say which packs that are not in the store a fresh index names, once the missing ones were dropped.

    With ``before_dropping`` even without that: so it must be while nothing but crashes has happened.
    """
    there = {info.name for info in rig.store.list("packs/")}
    index = rig.index()
    found = [f"the index names {name}" for name in index.pack_names() - there] if before_dropping else []
    index.drop_missing_packs(rig.vault)
    return found + [f"the index still names {name}" for name in index.pack_names() - there]


def verified(rig: Rig, point: str | None = None) -> VerifyDone:
    """Verify a point, the last one by default, with everything read."""
    return verify_point(rig.reader(point), full=True, control=Uncontrolled())


def not_proven(rig: Rig, point: str | None = None) -> list[str]:
    """Say what a full verify has against a point, the last one by default."""
    return [f"verify: {notice}" for notice in verified(rig, point).warnings]


def threads_left() -> list[str]:
    """Say which threads of the engine still live: a run that has ended must have ended all of them."""
    names = [thread.name for thread in threading.enumerate()]
    return [
        f"thread {name} still lives" for name in names if name.startswith(("read", "vault-put", "restore", "write"))
    ]
