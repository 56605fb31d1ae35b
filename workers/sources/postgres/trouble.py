"""What can be wrong with a server or the way to it, in words that say what to do.

Rule of the file: PostgreSQL's message is kept as it is; the hint is ours.
"""

from __future__ import annotations

from shared.errors import SkyharborError

_HINTS = (
    ("password authentication failed", "Correct user= and password= in the item's credentials file, on the worker."),
    ("no password supplied", "Give the item a credentials file with password= (--credentials-file), or a .pgpass."),
    (
        "no pg_hba.conf entry",
        "Allow the worker in the server's pg_hba.conf: 'host replication USER ADDRESS scram-sha-256', then reload.",
    ),
    (
        "permission denied to start wal sender",
        "Give the role the right to replicate: ALTER ROLE name REPLICATION.",
    ),
    (
        "must be superuser or replication role",
        "Give the role the right to replicate: ALTER ROLE name REPLICATION.",
    ),
    (
        "exceeds max_wal_senders",
        "Raise max_wal_senders (with wal_level = replica) and restart the server; a backup takes one connection.",
    ),
    ("all replication slots are in use", "Raise max_replication_slots and restart, or drop a slot that nobody uses."),
    (
        "has already been removed",
        "Raise max_slot_wal_keep_size: the server threw away log that is written during a backup or between two.",
    ),
    (
        "terminating connection due to administrator command",
        "The server was stopped, or its max_slot_wal_keep_size is less than the log that is written during a backup.",
    ),
    ("wal_level", "Set wal_level = replica in postgresql.conf and restart the server."),
    (
        "is active for pid",
        "Another backup of this item is running; a slot that a dead one holds is free within a minute.",
    ),
    ("does not exist", "Correct the user or the database in the item's DSN or credentials file."),
    ("connection refused", "Check that the server runs and listens at the item's host and port."),
    ("no such file or directory", "Check that the server runs, and the socket's folder in the item's DSN."),
    ("could not translate host name", "Check the host in the item's DSN."),
    ("timeout expired", "Check the network and firewalls between the worker and the server."),
    ("certificate", "Check sslmode, sslrootcert and the server's name in the item's DSN."),
    ("the database system is", "Wait until the server has started, then try again."),
    ("insufficient privilege", "Give the role the rights that the message names."),
    ("permission denied", "Give the role the rights that the message names."),
)
_DENIED = ("password authentication failed", "no password supplied", "no pg_hba.conf entry")
_ANY = "The message is the server's; its log says more."


def failed(what: str, message: str = "") -> SkyharborError:
    """Return ``source-failed``, or ``source-denied`` for whom the server does not let in, in its (or libpq's) words."""
    said = " ".join(message.split())
    # What a second try can only make worse: accounts get locked.
    code = "source-denied" if any(words in said.lower() for words in _DENIED) else "source-failed"
    return SkyharborError(code, f"{what}: {said}" if said else what, hint=hint_for(said))


def hint_for(message: str) -> str:
    """Return what a person can do about a message."""
    lower = message.lower()
    return next((hint for words, hint in _HINTS if words in lower), _ANY)
