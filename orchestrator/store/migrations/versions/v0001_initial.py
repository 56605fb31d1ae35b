"""The first schema.

Rule of the file: the tables are in ``v0001_initial.sql``; states and transitions come from the transition table module.
"""

from __future__ import annotations

from enum import StrEnum
from importlib.resources import files

from alembic import op

from orchestrator.domain.job_states import TERMINAL, TRANSITIONS, FireState, JobState, PointState
from orchestrator.domain.slots import GLOBAL_CAPACITY, GLOBAL_RESTORE_FLOOR

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def _list(values: list[str]) -> str:
    return ", ".join(f"'{value}'" for value in values)


def _members(kind: type[StrEnum]) -> str:
    return _list([member.value for member in kind])


def upgrade() -> None:
    """Make every table, guard and index."""
    ddl = (files("orchestrator.store.migrations.versions") / "v0001_initial.sql").read_text(encoding="utf-8")
    moves = [f"{before}>{after}" for before, row in TRANSITIONS.items() for after in sorted(row.to)]
    for name, value in {
        "JOB_STATES": _members(JobState),
        "TERMINAL_STATES": _list(sorted(TERMINAL)),
        "JOB_MOVES": _list(moves),
        "POINT_STATES": _members(PointState),
        "FIRE_STATES": _members(FireState),
        "GLOBAL_CAPACITY": str(GLOBAL_CAPACITY),
        "GLOBAL_FLOOR": str(GLOBAL_RESTORE_FLOOR),
    }.items():
        ddl = ddl.replace(f"@{name}@", value)
    op.get_bind().execution_options(no_parameters=True).exec_driver_sql(ddl)
