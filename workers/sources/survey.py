"""A quick look at the upper folders of what is protected: where it may be cut into parts.

Rule of the file: a hint. It lists folders level by level and never looks at a file.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Sequence

from shared.vault.entry import sort_key
from workers.engine.ports import Survey
from workers.sources.excludes import Excludes


def survey(roots: Sequence[bytes], excludes: Excludes, *, most: int) -> Survey:
    """List ``most`` folders at most below the roots (absolute raw paths), upper ones first."""
    waiting = deque(roots)
    listed: list[tuple[bytes, int]] = []
    while waiting and len(listed) < most:
        folder = waiting.popleft()
        entries, below = _listed(folder, excludes)
        listed.append((folder[1:], entries))
        waiting.extend(below)
    met = [*listed, *((folder[1:], 0) for folder in waiting)]
    return Survey(sorted(met, key=lambda one: sort_key(one[0])), cut_off=bool(waiting))


def _listed(folder: bytes, excludes: Excludes) -> tuple[int, list[bytes]]:
    """Return how many entries a folder has, and the folders among them."""
    entries, below = 0, []
    try:
        with os.scandir(folder) as found:
            for node in found:
                directory = node.is_dir(follow_symlinks=False)
                if not excludes.empty and excludes.cover(node.path, directory=directory):
                    continue
                entries += 1
                if directory:
                    below.append(node.path)
    except OSError:
        return entries, []  # the scan will say what is wrong with it
    return entries, sorted(below)
