"""Fences: names of points that will never exist, whatever appears under them.

A worker that was taken for dead may still put the manifest of a point that everybody has given up, long after packs
that it needs are gone. The fence under its name, ``fenced/<machine>/<item>/<point>``, stands before that and makes it
no point at all.

Rule of the file: only the name of a fence counts. Who reads points asks for fences after the manifests: a fence that
stood when a manifest appeared is seen then. Only a collector puts fences, and nobody takes them away.
"""

from __future__ import annotations

import json

from shared.clock import Clock
from shared.storage.object_store import ObjectStore
from shared.vault import layout
from shared.vault.layout import PointName


def put_fence(store: ObjectStore, point: PointName, clock: Clock) -> bool:
    """Put a fence, durably; False when one was there already."""
    said = {"point": layout.point_name(point), "fenced_at": clock.now().isoformat()}
    return store.put(layout.fence_name(point), [json.dumps(said, sort_keys=True).encode()])


def is_fenced(store: ObjectStore, point: PointName) -> bool:
    """Tell whether a point is fenced: one small request."""
    return store.size(layout.fence_name(point)) is not None


def fenced_points(store: ObjectStore, machine_id: str | None = None) -> frozenset[PointName]:
    """Return all fenced points of a machine, or of all: nearly always none, one request."""
    prefix = layout.FENCED if machine_id is None else layout.fences_prefix(machine_id)
    return frozenset(point for info in store.list(prefix) if (point := layout.parse_fence(info.name)))
