"""Bandwidth plans of vaults.

Rule of the file: one nullable column; NULL is no limit, which is what every vault had before.
"""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column."""
    op.execute("ALTER TABLE vault ADD COLUMN bandwidth jsonb")
