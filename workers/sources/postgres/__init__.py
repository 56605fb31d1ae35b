"""The PostgreSQL source: physical base backups, WAL and increments by the replication protocol, dumps beside them."""
