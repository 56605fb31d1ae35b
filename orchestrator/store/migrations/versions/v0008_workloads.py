"""Workloads besides files: what a restore is asked for besides its paths, and which moments a point can bring back.

Rule of the file: the statements are in ``v0008_workloads.sql``; what was there keeps its meaning.
"""

from __future__ import annotations

from importlib.resources import files

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns."""
    ddl = (files("orchestrator.store.migrations.versions") / "v0008_workloads.sql").read_text(encoding="utf-8")
    op.get_bind().execution_options(no_parameters=True).exec_driver_sql(ddl)
