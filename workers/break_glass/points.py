"""The points of a machine: all of them, and the one that was meant.

Rule of the file: names of items are only inside the manifests, so they are known only to those who hold the key.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from shared.errors import SkyharborError
from shared.vault.index import ChunkIndex
from shared.vault.layout import PointName, point_name
from shared.vault.manifest import read_manifest
from shared.vault.point import PointBody
from shared.vault.reader import PointReader
from workers.break_glass.unlock import Unlocked

LATEST = "latest"
_MIN_PREFIX = 8
_SHOWN = 5
_AT_ONCE = 8  # over a network a manifest is mostly waiting


@dataclass(frozen=True, slots=True)
class Listed:
    """A point and what it says about itself."""

    point: PointName
    body: PointBody

    def document(self) -> dict[str, object]:
        """Return the point as ``list --json`` prints it. The keys are stable."""
        body = self.body
        return {
            "id": self.point.point_id,
            "item": body.item_name,
            "item_id": self.point.item_id,
            "machine": body.machine_name,
            "machine_id": self.point.machine_id,
            "type": body.type.value,
            "reference": body.reference,
            "sealed_at": body.sealed_at,
            "files": body.files,
            "bytes": body.bytes,
            "warnings": body.stats.get("warnings", 0),
        }

    def line(self) -> str:
        """Return the point as one line for people."""
        body = self.body
        return (
            f"{self.point.point_id}  {body.item_name:<20} {body.type.value:<12} {body.sealed_at[:19]}  "
            f"{body.files:>10,} files  {body.bytes:>16,} bytes"
        )


@dataclass(frozen=True, slots=True)
class Found:
    """All points that can be read, oldest first, and what is wrong with the others."""

    points: list[Listed]
    problems: list[SkyharborError]


def list_points(unlocked: Unlocked, *, item: str | None) -> Found:
    """Read the description of every point of the machine, or of one item given by its name or id.

    Raises ``not-found`` when there is no such item, ``object-damaged`` when it may be among those that cannot be read.
    """
    found = Found([], [])
    names = unlocked.vault.points(unlocked.machine_id)
    with ThreadPoolExecutor(_AT_ONCE) as threads:
        for outcome in threads.map(lambda name: _describe(unlocked, name), names):
            if isinstance(outcome, SkyharborError):
                found.problems.append(outcome)
            elif item is None or item in (outcome.point.item_id, outcome.body.item_name):
                found.points.append(outcome)
    if item is not None and not found.points:
        raise _no_item(unlocked, item, found.problems)
    return found


def open_point(unlocked: Unlocked, *, item: str | None, point: str, index: ChunkIndex | None = None) -> PointReader:
    """Open the point with this id or unique beginning of one, or the latest of the item.

    Raises ``not-found``, also for a point of another item; ``bad-request`` when it is not clear which one is meant;
    ``object-damaged`` when the latest cannot be read: an older one is never taken in its place silently.
    """
    chosen = _latest(unlocked, item) if point == LATEST else _by_id(unlocked, point)
    reader = PointReader.open(
        unlocked.vault,
        unlocked.keys,
        machine_id=chosen.machine_id,
        item_id=chosen.item_id,
        point_id=chosen.point_id,
        index=index,
    )
    if point != LATEST and item is not None and item not in (chosen.item_id, reader.body.item_name):
        raise _not_found(f"point {chosen.point_id} is of item {reader.body.item_name}, not of {item}")
    return reader


def _describe(unlocked: Unlocked, point: PointName) -> Listed | SkyharborError:
    try:
        body = read_manifest(unlocked.vault, point, unlocked.keys).body
    except SkyharborError as error:
        if error.code not in ("object-damaged", "object-missing"):
            raise
        return SkyharborError(error.code, f"{point_name(point)}: {error.detail}")
    return Listed(point, body)


def _by_id(unlocked: Unlocked, wanted: str) -> PointName:
    points = unlocked.vault.points(unlocked.machine_id)
    exact = [point for point in points if point.point_id == wanted]
    begins = [point for point in points if len(wanted) >= _MIN_PREFIX and point.point_id.startswith(wanted)]
    found = exact or begins
    if len(found) > 1:
        raise SkyharborError("bad-request", f"several points begin with {wanted}")
    if not found:
        raise _not_found(f"machine {unlocked.machine_name} has no point {wanted} in this vault")
    return found[0]


def _latest(unlocked: Unlocked, item: str | None) -> PointName:
    points = unlocked.vault.points(unlocked.machine_id)
    newest = {point.item_id: point for point in points}
    if not newest:
        raise _not_found(f"machine {unlocked.machine_name} has no point in this vault")
    if item is None and len(newest) == 1:
        return points[-1]
    if item in newest:
        return newest[item]
    names, problems = _item_names(unlocked, points)
    if item is None:
        # An item of which nothing can be read is still there, by its id.
        listed = ", ".join(sorted({names.get(item_id, item_id) for item_id in newest}))
        raise SkyharborError("bad-request", f"the latest of which item? Give --item with one of: {listed}")
    # An item that was removed and added again has one name and two ids: the newest point decides.
    named = [point for item_id, point in newest.items() if names.get(item_id) == item]
    if not named:
        raise _no_item(unlocked, item, problems)
    return max(named, key=lambda point: point.point_id)


def _item_names(unlocked: Unlocked, points: Sequence[PointName]) -> tuple[dict[str, str], list[SkyharborError]]:
    """Return the name of every item as its newest readable point has it, and what could not be read on the way.

    One manifest is read per item as long as they are sound.
    """
    names: dict[str, str] = {}
    problems: list[SkyharborError] = []
    for point in reversed(points):
        if point.item_id not in names:
            outcome = _describe(unlocked, point)
            if isinstance(outcome, Listed):
                names[point.item_id] = outcome.body.item_name
            else:
                problems.append(outcome)
    return names, problems


def _no_item(unlocked: Unlocked, item: str, problems: Sequence[SkyharborError]) -> SkyharborError:
    if not problems:
        return _not_found(f"no item {item} among the points of machine {unlocked.machine_name}")
    more = f" and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
    listed = "; ".join(problem.detail for problem in problems[:_SHOWN]) + more
    return SkyharborError(
        "object-damaged",
        f"no point of item {item} can be read; it may be among the {len(problems)} that are damaged: {listed}",
        hint="Give --point with the id of a point, or the item's id; the names of items are in the manifests only.",
    )


def _not_found(detail: str) -> SkyharborError:
    return SkyharborError("not-found", detail, hint="Look with 'break-glass list' for what is there.")
