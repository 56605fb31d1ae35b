"""PostgreSQL: the only truth about jobs. SQLAlchemy, Alembic and psycopg live here and nowhere else.

Rule of the package: every statement that takes locks is a file of its own in ``sql/``. One lock order for
everybody: job, unit,
slot scopes (the global one first, so it orders the rest), outbox, idempotency key, audit. Leases run by
``clock_timestamp()``.
"""
