"""The one act of most fidelity tests: a tree goes into a point and comes out of it."""

from __future__ import annotations

import os

import pytest

from tests.support.compare import differences
from tests.support.trees import IS_ROOT
from tests.unit.engine.rig import Rig

needs_root = pytest.mark.skipif(not IS_ROOT, reason="only root can make such nodes")


def comes_back(tree: str, out: os.PathLike[str] | str) -> list[object]:
    """Back up, restore, compare; return everything that was said: nothing, if all is well."""
    rig = Rig()
    done = rig.backup(tree)
    restored = rig.restore(out)
    return [*done.warnings, *restored.warnings, *differences(tree, f"{out}{tree}")]
