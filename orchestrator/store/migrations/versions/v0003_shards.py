"""Shards: units of an attempt beside its lead.

Rule of the file: only the table ``unit`` grows; what was there stays what it was, units with the number 0.
"""

from __future__ import annotations

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add what a shard has and a lead has not, and the guards that keep both apart."""
    op.execute(
        """
        ALTER TABLE unit
            ADD COLUMN epoch bigint,
            ADD COLUMN payload bytea,
            ADD COLUMN result bytea,
            ADD COLUMN losses integer NOT NULL DEFAULT 0 CHECK (losses >= 0),
            ADD COLUMN error_code text,
            ADD COLUMN error_message text,
            ADD CONSTRAINT lead_or_shard CHECK (
                (no = 0) = (stage = 'main') AND (no = 0) = (epoch IS NULL) AND (no = 0) = (payload IS NULL)
            ),
            ADD CONSTRAINT done_is_in_no_hands CHECK (result IS NULL OR (no > 0 AND claim_id IS NULL))
        """
    )
    op.execute("CREATE INDEX unit_free_shard ON unit (job_id, no) WHERE no > 0 AND claim_id IS NULL AND result IS NULL")
