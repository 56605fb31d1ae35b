"""The names of objects in a vault: the only file that builds or takes apart a name.

Rule of the file: pure functions; an id is checked before it becomes part of a name; names that do not parse are
foreign objects, which readers ignore.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from shared.errors import SkyharborError

VAULT = "vault.json"
MACHINES = "machines/"
PACKS = "packs/"
INDEX = "index/"
POINTS = "points/"
DAMAGED = "damaged/"
FENCED = "fenced/"

KIND_DATA = 1
KIND_META = 2
_LETTER = {KIND_DATA: "d", KIND_META: "m"}
_KIND = {"d": KIND_DATA, "m": KIND_META}

_ID = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}\Z")
_HEX = re.compile(r"[0-9a-f]{64}\Z")
_PACK = re.compile(r"packs/([dm])/([0-9a-f]{2})/(\2[0-9a-f]{62})\Z")


class PointName(NamedTuple):
    """Which point: sorted by machine, item and then time, because point ids are UUIDv7."""

    machine_id: str
    item_id: str
    point_id: str


def check_id(value: str) -> str:
    """Return ``value`` if it can be part of a name; ``bad-request`` otherwise."""
    if not _ID.match(value):
        raise SkyharborError("bad-request", f"{value!r} is not an id")
    return value


def pack_name(kind: int, sha256: bytes) -> str:
    """Return the name of a pack of ``KIND_DATA`` or ``KIND_META`` whose bytes have this SHA-256."""
    digest = sha256.hex()
    return f"packs/{_LETTER[kind]}/{digest[:2]}/{digest}"


def parse_pack(name: str) -> tuple[int, bytes] | None:
    """Return kind and SHA-256 of a pack's name, None for any other name."""
    found = _PACK.match(name)
    return (_KIND[found[1]], bytes.fromhex(found[3])) if found else None


def damaged_name(pack: str) -> str:
    """Return the name of the mark that says that a pack, given by its name, was proven damaged."""
    return DAMAGED + pack.rsplit("/", 1)[1]


def card_prefix(machine_id: str) -> str:
    """Return how the names of a machine's cards begin; ids have no dot, so no other machine's do."""
    return f"{MACHINES}{check_id(machine_id)}."


def card_name(machine_id: str, slots_hash: str) -> str:
    """Return the name of a machine card."""
    return card_prefix(machine_id) + slots_hash


def index_prefix(machine_id: str) -> str:
    """Return the folder of a machine's index segments."""
    return f"{INDEX}{check_id(machine_id)}/"


def index_name(machine_id: str, sha256: str) -> str:
    """Return the name of an index segment."""
    return index_prefix(machine_id) + sha256


def is_digest(part: str) -> bool:
    """Tell whether the last part of a name is a SHA-256 in hex."""
    return _HEX.match(part) is not None


def points_prefix(machine_id: str, item_id: str | None = None) -> str:
    """Return the folder of the points of a machine, or of one of its items."""
    folder = f"{POINTS}{check_id(machine_id)}/"
    return folder if item_id is None else f"{folder}{check_id(item_id)}/"


def point_name(point: PointName) -> str:
    """Return the name of a point's manifest."""
    return points_prefix(point.machine_id, point.item_id) + check_id(point.point_id)


def parse_point(name: str) -> PointName | None:
    """Return what a manifest's name says, None for any other name."""
    return _parse_in(POINTS, name)


def fences_prefix(machine_id: str) -> str:
    """Return the folder of the fences under names of a machine's points."""
    return f"{FENCED}{check_id(machine_id)}/"


def fence_name(point: PointName) -> str:
    """Return the name of the fence that says that a point will never exist."""
    return FENCED + point_name(point).removeprefix(POINTS)


def parse_fence(name: str) -> PointName | None:
    """Return which point a fence is about, None for any other name."""
    return _parse_in(FENCED, name)


def _parse_in(folder: str, name: str) -> PointName | None:
    parts = name.split("/")
    if len(parts) != 4 or parts[0] + "/" != folder or not all(_ID.match(part) for part in parts[1:]):
        return None
    return PointName(*parts[1:])
