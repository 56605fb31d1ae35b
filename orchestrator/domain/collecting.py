"""Collecting garbage (decision 12): what is known of a vault's generations, and how long things rest.

Rule of the file: values and numbers; what is ripe is decided in the statements that doom.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from orchestrator.domain.policy import RetentionSpec

GRACE = timedelta(hours=24)
"""A second belt: against a tower whose database was put back to an earlier time and forgot a writer."""

REST = timedelta(hours=24)
"""How long a vault is left alone by the expirer after a collection that came to its end."""

REST_AFTER_FAILURE = timedelta(hours=1)
"""The same after one that did not."""

LOOK_EVERY = timedelta(hours=24)
"""How often retention looks at an item that has no new point."""


@dataclass(frozen=True, slots=True)
class Listed:
    """A condemned pack, as ``shared.contracts.collect`` means it."""

    name: str
    size: int
    ripe: bool
    doomed: bool


@dataclass(frozen=True, slots=True)
class Amount:
    """A number of packs and their bytes."""

    packs: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Location:
    """Where a point's manifest is: the ids of which its name is made. ``fence``: that name is dead and to be fenced."""

    machine_id: str
    item_id: str
    point_id: str
    fence: bool


@dataclass(frozen=True, slots=True)
class VaultMachine:
    """A machine that has, or had, items in a vault. ``busy``: a backup of it has begun and not ended."""

    id: str
    name: str
    key_slots: tuple[dict[str, str | int], ...]
    busy: bool


@dataclass(frozen=True, slots=True)
class Ruled:
    """An item that retention looks at: its rule (zeros keep everything), and in which zone days are counted.

    ``removed``: the item is not protected any more.
    ``held_back`` is how many points the brake holds back since the last look, None when it does not.
    """

    item_id: str
    rule: RetentionSpec
    zone: str
    held_back: int | None = None
    removed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class LastCollection:
    """The newest collection of a vault."""

    job_id: str
    state: str
    created_at: datetime
    finished_at: datetime | None
    stats: Mapping[str, int] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Garbage:
    """What of a vault is on its way out.

    ``oldest_writer`` is the generation of the oldest backup that may still rely on what is condemned, None without any.
    """

    generation: int
    expiring_points: int
    condemned: Amount
    doomed: Amount
    unsettled: int
    oldest_writer: int | None
    last: LastCollection | None


@dataclass(frozen=True, slots=True)
class Doomed:
    """What one look for points that may go has doomed, by id; ``until`` is how far it looked, None for to the end."""

    ids: tuple[str, ...]
    until: str | None
