"""The same on a real folder, with a real SIGKILL between two calls to the operating system."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from typing import IO

import pytest

from shared.model.ids import new_id
from shared.storage.local import LocalStore
from shared.storage.names import TEMPORARY
from tests.faults.dying import MOMENTS
from tests.faults.invariants import dangling_manifests, dangling_rows, not_proven, unrestorable
from tests.faults.scene import SECURE_OFTEN, Scene, first, make_scene, rig_on, second
from tests.support.counts import Tally

MATRIX = "kill -9 in the local store"


class Executioner:
    """Has backups killed, by a process that is there for all of them."""

    def __init__(self, orders: IO[str], answers: IO[str]) -> None:
        self._orders, self._answers = orders, answers

    def kill(self, *, vault: str, tree: str, point: str, moment: str, nth: int) -> bool:
        """Back up and be killed at the n-th time of a moment; False when the backup ended before."""
        order = {"vault": vault, "tree": tree, "point": point, "moment": moment, "nth": nth}
        self._orders.write(json.dumps(order) + "\n")
        self._orders.flush()
        answer = self._answers.readline().strip()
        assert answer in ("killed", "survived"), answer
        return answer == "killed"


@pytest.fixture(scope="module")
def executioner() -> Iterator[Executioner]:
    program = [sys.executable, "-m", "tests.faults.dying"]
    one_thread = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
    with subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=one_thread) as process:
        assert process.stdin
        assert process.stdout
        yield Executioner(process.stdin, process.stdout)
        process.stdin.close()


@pytest.fixture(scope="module")
def scene(place: str) -> Scene:
    """One point, and the source has changed since."""
    return make_scene(f"{place}/local", first, second)


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_backup_killed_inside_the_local_store_harms_nothing_and_the_next_attempt_completes(
    executioner: Executioner, scene: Scene, place: str, moment: str, tally: Tally
) -> None:
    for nth in itertools.count(1):
        vault, point = f"{place}/vault", new_id()
        store = LocalStore.create(vault)
        for info in scene.store.list():
            store.put(info.name, [scene.store.get(info.name)])
        killed = executioner.kill(vault=vault, tree=scene.tree, point=point, moment=moment, nth=nth)
        with tally.cell(f"{moment}, time {nth}") as found:
            oracles = dict(scene.oracles)
            rig = rig_on(store)
            if point in rig.points():
                oracles[point] = scene.now
            found += unrestorable(rig, oracles, scene.tree, place)
            found += dangling_manifests(rig, oracles) + dangling_rows(rig, before_dropping=True)
            found += [f"{info.name} is listed" for info in store.list() if info.name.startswith(TEMPORARY)]
            rig.backup(scene.tree, point_id=point, options=SECURE_OFTEN)
            found += unrestorable(rig, {**oracles, point: scene.now}, scene.tree, place) + not_proven(rig, point)
        store.close()
        shutil.rmtree(vault)
        if not killed:
            break
        tally.add("backups killed")
    tally.judge(least=5)
