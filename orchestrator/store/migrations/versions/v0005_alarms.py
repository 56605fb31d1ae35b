"""Oversight: alarms, the messages about them, how far the auditor has looked, and what a compliance view reads.

Rule of the file: the statements are in ``v0005_alarms.sql``; what was there keeps its meaning.
"""

from __future__ import annotations

from importlib.resources import files

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the tables, the estimate of every item, and the indexes."""
    ddl = (files("orchestrator.store.migrations.versions") / "v0005_alarms.sql").read_text(encoding="utf-8")
    op.get_bind().execution_options(no_parameters=True).exec_driver_sql(ddl)
