"""What operators missed: what the worker of a failed attempt knew to do about it, and removed items by their name.

Rule of the file: the statements are in ``v0009_by_hand.sql``; what was there keeps its meaning.
"""

from __future__ import annotations

from importlib.resources import files

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column and the index."""
    ddl = (files("orchestrator.store.migrations.versions") / "v0009_by_hand.sql").read_text(encoding="utf-8")
    op.get_bind().execution_options(no_parameters=True).exec_driver_sql(ddl)
