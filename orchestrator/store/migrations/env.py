"""Alembic's entry: runs the versions on the connection that ``store.schema`` hands over.

Rule of the file: no configuration of its own, no second connection.
"""

from __future__ import annotations

from alembic import context

connection = context.config.attributes["connection"]
context.configure(connection=connection, transaction_per_migration=True)
with context.begin_transaction():
    context.run_migrations()
