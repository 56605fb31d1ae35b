"""What people ask of a fleet as they write it: restores and verifies.

Rule of the file: which keys there are and what they mean; the rest of the document is ``fleet_text``'s.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from orchestrator.domain.marked_yaml import Mistakes, Node, mapping, sequence, value
from orchestrator.domain.names import check_name
from orchestrator.domain.readings import duration, whole_number
from orchestrator.simulation.fleet import ItemGroup, Restores, Spread, Verifies
from orchestrator.simulation.fleet_values import number_above_zero, one_of, share, spread

MOST_WISHES = 1_000
_RESTORE_KEYS = ("name", "items", "location", "vault", "per_day", "at", "count", "share", "within")
_VERIFY_KEYS = ("name", "items", "part", "every", "share")
_WHOLE = Spread(1.0, 1.0)


@dataclass(frozen=True, slots=True)
class Places:
    """What a wish may name: groups of items, locations and vaults."""

    groups: Mapping[str, ItemGroup]
    locations: Mapping[str, object]
    vaults: Mapping[str, object]


def read_restores(node: Node | None, places: Places, mistakes: Mistakes) -> tuple[Restores, ...]:
    """Read ``restores:``: so many a day, or so many at once."""
    found: list[Restores] = []
    hint = "restores: is a list, such as - {name: flood, location: oslo, at: 50h, count: 200, within: 8h}"
    for each in sequence(node, mistakes, most=MOST_WISHES, hint=hint):
        keys = mapping(each, _RESTORE_KEYS, mistakes)
        if ("per_day" in keys) == ("at" in keys) or ("at" in keys) != ("count" in keys):
            mistakes.add(each, "restores come per_day: N, or at: TIME (from the start on) with count: N")
        restores = Restores(
            name=value(keys.get("name"), f"restores-{len(found) + 1}", _name, mistakes),
            group=value(keys.get("items"), "", one_of(places.groups, "group of items"), mistakes),
            location=value(keys.get("location"), "", one_of(places.locations, "location"), mistakes),
            vault=value(keys.get("vault"), "", one_of(places.vaults, "vault"), mistakes),
            per_day=value(keys.get("per_day"), 0.0, number_above_zero, mistakes),
            at=value(keys.get("at"), None, duration("366d"), mistakes),
            count=value(keys.get("count"), 0, whole_number(1, 1_000_000), mistakes),
            share=spread(keys.get("share"), share, _WHOLE, mistakes),
            within=value(keys.get("within"), None, duration("366d"), mistakes),
        )
        if not any(restores.is_of(group) for group in places.groups.values()):
            mistakes.add(each, "no items of this fleet are of that group, location and vault")
        if restores.name in {other.name for other in found}:
            mistakes.add(each, f"there are two kinds of restores named {restores.name!r}")
        found.append(restores)
    return tuple(found)


def read_verifies(node: Node | None, places: Places, mistakes: Mistakes) -> tuple[Verifies, ...]:
    """Read ``verifies:``: which part of the items in which time."""
    found: list[Verifies] = []
    hint = "verifies: is a list, such as - {name: weekly, items: web, part: 10%, every: 7d}"
    for each in sequence(node, mistakes, most=MOST_WISHES, hint=hint):
        keys = mapping(each, _VERIFY_KEYS, mistakes)
        if "part" not in keys or "every" not in keys:
            mistakes.add(each, "verifies need part: (of the items) and every: (a time), such as part: 10%, every: 7d")
        verifies = Verifies(
            name=value(keys.get("name"), f"verifies-{len(found) + 1}", _name, mistakes),
            group=value(keys.get("items"), "", one_of(places.groups, "group of items"), mistakes),
            part=value(keys.get("part"), 1.0, share, mistakes),
            every=max(1, value(keys.get("every"), 86400, duration("366d"), mistakes)),
            share=spread(keys.get("share"), share, _WHOLE, mistakes),
        )
        if verifies.name in {other.name for other in found}:
            mistakes.add(each, f"there are two kinds of verifies named {verifies.name!r}")
        found.append(verifies)
    return tuple(found)


def _name(text: str) -> str:
    return check_name(text, noun="kind of request")
