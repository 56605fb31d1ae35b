"""A restore of which some paths reach into disks and others name what the point itself holds.

Rule of the file: each path goes to whom it concerns; what was done is told as one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from shared.contracts.work import RestoreDone
from shared.model.backup import MAX_NOTICES, ConflictRule, RestoreStats
from shared.vault.reader import PointReader
from workers.disks.restoring import restore_out_of_disks, split
from workers.engine.ports import Control


def restore_by_path(
    reader: PointReader,
    *,
    target: str,
    paths: Sequence[str],
    conflict: ConflictRule,
    control: Control,
    outside: Callable[[Sequence[str]], RestoreDone],
) -> RestoreDone:
    """Restore paths as they are given; ``outside`` is called with those that reach into no disk, or with none of none.

    Raises what ``restore_out_of_disks`` and ``outside`` raise.
    """
    inside, others = split(reader, paths)
    done = RestoreDone(stats=RestoreStats())
    if inside:
        done = restore_out_of_disks(reader, target=target, paths=inside, conflict=conflict, control=control)
    if others or not inside:
        done = _sum(done, outside(others))
    return done


def _sum(one: RestoreDone, other: RestoreDone) -> RestoreDone:
    first, second = msgspec.structs.asdict(one.stats), msgspec.structs.asdict(other.stats)
    return RestoreDone(
        stats=RestoreStats(**{name: value + second[name] for name, value in first.items()}),
        warnings=(one.warnings + other.warnings)[:MAX_NOTICES],
    )
