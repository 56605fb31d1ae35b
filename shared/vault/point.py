"""What a recovery point says about itself: the values inside a manifest, without any encoding.

Rule of the file: values only; field order and names are part of the format (msgpack maps, so adding one is harmless).
"""

from __future__ import annotations

import msgspec

from shared.model.backup import BackupType, Notice

MOMENTS_FROM, MOMENTS_UNTIL = "moments_from", "moments_until"
"""In a point's state: between which times (RFC 3339, UTC) it can bring its source back as it was at any moment."""


class PointBody(msgspec.Struct, frozen=True, kw_only=True):
    """The description sealed with a point.

    ``stats`` are the fields of ``BackupStats``; the writer overwrites ``bytes_transferred``, ``bytes_stored``,
    ``chunks_new`` and ``chunks_reused`` with what it really did (the manifest's own size cannot be inside itself
    and is left out). ``files`` and ``bytes`` count everything in the point, whatever was transferred. Times are
    RFC 3339 in UTC. ``users`` and ``groups`` give the names that the source had for the numeric owners in its entries,
    as far as it had any: text of the number to name. ``workload`` says what the tree is of, and ``state`` is what the
    source's next session has to know about this point (decision 14).
    """

    machine_name: str
    item_name: str
    paths: tuple[str, ...]
    type: BackupType
    reference: str | None
    job_id: str
    epoch: int
    claim_id: str
    started_at: str
    sealed_at: str
    files: int
    bytes: int
    stats: dict[str, int] = {}
    notices: tuple[Notice, ...] = ()
    policy_version: str | None = None
    users: dict[str, str] = {}
    groups: dict[str, str] = {}
    workload: str = "files"
    state: dict[str, str] = {}


class Sealed(msgspec.Struct, frozen=True, kw_only=True):
    """The result of sealing: ``manifest`` is the object's name, ``body`` what the vault now holds under it.

    ``manifest_size`` is in bytes; the body's own counts cannot contain it. ``created`` is False when a point of this
    name was there already; ``body`` is then that one's.
    """

    created: bool
    manifest: str
    manifest_sha256: str
    manifest_size: int
    body: PointBody


class PackRef(msgspec.Struct, frozen=True, array_like=True):
    """A pack that a point needs: its object name and its exact size in bytes."""

    name: str
    size: int


class PageRef(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A page of entries: the path of its first entry, the ids of its pieces (32 bytes each), its number of entries."""

    first: bytes
    chunks: bytes
    entries: int


class PointPart(msgspec.Struct, frozen=True, array_like=True):
    """A stretch of a point that is written and indexed, and not sealed: ``PointWriter.finish_part`` makes it.

    The rest are counts: bytes that went to the vault, chunks that had to be stored, references to chunks.
    """

    pages: tuple[PageRef, ...]
    packs: tuple[PackRef, ...]
    bytes_transferred: int
    chunks_new: int
    references: int

    def plus(self, other: PointPart) -> PointPart:
        """Return the counts of both, without pages and packs."""
        return PointPart(
            (),
            (),
            self.bytes_transferred + other.bytes_transferred,
            self.chunks_new + other.chunks_new,
            self.references + other.references,
        )
