"""What a job does and what it counts."""

from __future__ import annotations

from enum import StrEnum

import msgspec


class BackupType(StrEnum):
    """How much of the source a backup reads; every point restores alone whatever its type."""

    FULL = "full"  # reads everything
    DIFFERENTIAL = "differential"  # reads what differs from the last full
    INCREMENTAL = "incremental"  # reads what differs from the last point


class JobKind(StrEnum):
    """What a job is for."""

    BACKUP = "backup"
    RESTORE = "restore"
    VERIFY = "verify"
    COLLECT = "collect"


class ConflictRule(StrEnum):
    """What a restore does when the target already has something at a path."""

    SKIP = "skip"
    OVERWRITE = "overwrite"
    RENAME = "rename"


class BackupStats(msgspec.Struct, kw_only=True):
    """Counts of one backup. Files are all non-directory entries; bytes are bytes.

    ``bytes_scanned`` is the logical size looked at, ``bytes_read`` what was read from the source,
    ``bytes_transferred`` what went to the vault (packs, index and manifest, compressed and encrypted),
    ``bytes_stored`` what of it stays there. ``excluded`` is how many nodes the item's rules left out; what is below a
    directory that was left out is not looked at, so it is not counted.
    """

    files: int = 0
    directories: int = 0
    files_new: int = 0
    files_changed: int = 0
    files_unchanged: int = 0
    files_removed: int = 0
    bytes_scanned: int = 0
    bytes_read: int = 0
    bytes_transferred: int = 0
    bytes_stored: int = 0
    chunks_new: int = 0
    chunks_reused: int = 0
    excluded: int = 0
    warnings: int = 0


class RestoreStats(msgspec.Struct, kw_only=True):
    """Counts of one restore. ``bytes_read`` is what was fetched from the vault."""

    files_restored: int = 0
    directories_restored: int = 0
    files_skipped: int = 0
    bytes_restored: int = 0
    bytes_read: int = 0
    warnings: int = 0


class VerifyStats(msgspec.Struct, kw_only=True):
    """Counts of one verify. ``problems`` is how many files cannot be restored from what was found."""

    files_checked: int = 0
    packs_checked: int = 0
    chunks_checked: int = 0
    bytes_read: int = 0
    problems: int = 0
    warnings: int = 0


class CollectStats(msgspec.Struct, kw_only=True):
    """Counts of one collection; bytes are stored bytes.

    ``packs_needed`` are packs that some point needs. ``packs_condemned`` were given up by this run, ``packs_revived``
    turned out to be needed after all, ``packs_waiting`` are condemned and not ripe at its end.
    """

    points_expired: int = 0
    points_fenced: int = 0
    packs_needed: int = 0
    packs_condemned: int = 0
    packs_revived: int = 0
    packs_deleted: int = 0
    packs_waiting: int = 0
    bytes_needed: int = 0
    bytes_condemned: int = 0
    bytes_deleted: int = 0
    bytes_waiting: int = 0
    machines_skipped: int = 0
    warnings: int = 0


class Notice(msgspec.Struct, frozen=True):
    r"""One thing that could not be kept or read, that did not stop the job: a warning with its path.

    ``path`` is text for people: undecodable bytes are shown as ``\xNN``.
    """

    path: str
    code: str
    message: str


MAX_NOTICES = 1000
"""At most this many notices travel with an outcome; the count in the stats is always complete."""
