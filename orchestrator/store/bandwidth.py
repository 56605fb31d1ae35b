"""A bandwidth plan in a jsonb column.

Rule of the file: no limits at all are NULL, so that a vault that was never limited looks like one that no longer is.
"""

from __future__ import annotations

import msgspec

from orchestrator.store.base import to_json
from shared.decoders import converted
from shared.model.bandwidth import UNLIMITED, BandwidthPlan


def read_plan(column: object) -> BandwidthPlan:
    """Return the plan of a column."""
    return UNLIMITED if column is None else converted(column, BandwidthPlan)


def write_plan(plan: BandwidthPlan) -> str | None:
    """Return the JSON text of a plan."""
    return None if plan == UNLIMITED else to_json(msgspec.to_builtins(plan))
