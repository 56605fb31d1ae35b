"""The processes below a process, as they are now, and what they use.

Workers may have children that come and go, so the tree is found by parent at every look and never remembered.

Rule of the file: it reads /proc; a process that ends meanwhile is no error.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Mapping

_TICKS = os.sysconf("SC_CLK_TCK")
_GONE = (FileNotFoundError, ProcessLookupError)


def tree_of(root: int) -> list[int]:
    """Return the process ids of a tree, root first; empty when the root is gone."""
    parents = _parents()
    return descendants(root, parents) if root in parents else []


def descendants(root: int, parents: Mapping[int, int]) -> list[int]:
    """Return root and everything below it; ``parents`` maps each process to its parent."""
    children: dict[int, list[int]] = defaultdict(list)
    for pid, parent in parents.items():
        children[parent].append(pid)
    found = [root]
    for pid in found:
        found += children[pid]
    return found


def cpu_of_tree(root: int) -> float:
    """Return CPU seconds that a tree has used so far, its dead and reaped processes included."""
    return sum(_cpu_of(pid) for pid in tree_of(root))


def memory_of_tree(root: int) -> int:
    """Return the bytes that a tree occupies now: the sum of proportional set sizes, so shared pages count once."""
    return sum(_memory_of(pid) for pid in tree_of(root))


def _parents() -> dict[int, int]:
    found = {}
    for name in os.listdir("/proc"):
        if name.isdecimal():
            fields = _stat(int(name))
            if fields:
                found[int(name)] = int(fields[1])
    return found


def _cpu_of(pid: int) -> float:
    fields = _stat(pid)
    return sum(int(field) for field in fields[11:15]) / _TICKS


def _stat(pid: int) -> list[str]:
    """Return the fields of a process after its name: state, parent, …; empty when it is gone."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
            return file.read().rsplit(")", 1)[1].split()
    except _GONE:
        return []


def _memory_of(pid: int) -> int:
    try:
        with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
            for line in file:
                if line.startswith("Pss:"):
                    return int(line.split()[1]) * 1024
    except _GONE:
        pass
    return 0  # gone, or a zombie that has no memory any more
