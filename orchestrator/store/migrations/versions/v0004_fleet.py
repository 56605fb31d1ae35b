"""Fleets: tenants, locations, tags, promises, and the order of the queue by how urgent a job is.

Rule of the file: the statements are in ``v0004_fleet.sql``; what was there keeps its meaning.
"""

from __future__ import annotations

from importlib.resources import files

from alembic import op

from orchestrator.domain.job_states import TERMINAL

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the tables, columns, guards and indexes."""
    ddl = (files("orchestrator.store.migrations.versions") / "v0004_fleet.sql").read_text(encoding="utf-8")
    terminal = ", ".join(f"'{state}'" for state in sorted(TERMINAL))
    op.get_bind().execution_options(no_parameters=True).exec_driver_sql(ddl.replace("@TERMINAL_STATES@", terminal))
