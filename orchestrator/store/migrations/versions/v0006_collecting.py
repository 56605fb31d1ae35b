"""Collecting: generations of vaults, points that expire, packs that are condemned, jobs that collect.

Rule of the file: the statements are in ``v0006_collecting.sql``. Who was writing when this came has no generation: he
counts as older than everything, until he ends.
"""

from __future__ import annotations

from importlib.resources import files

from alembic import op

from orchestrator.domain.job_states import TERMINAL

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the tables, the facts of points and jobs, the guards and the indexes."""
    ddl = (files("orchestrator.store.migrations.versions") / "v0006_collecting.sql").read_text(encoding="utf-8")
    ddl = ddl.replace("@TERMINAL_STATES@", ", ".join(f"'{state}'" for state in sorted(TERMINAL)))
    op.get_bind().execution_options(no_parameters=True).exec_driver_sql(ddl)
