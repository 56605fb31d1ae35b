"""What a worker and its hands say to each other.

Rule of the file: both ends are the same program on the same machine, so a message that cannot be decoded is a defect.
"""

from __future__ import annotations

import msgspec

from shared.model.backup import ConflictRule, Notice
from shared.model.bandwidth import BandwidthPlan
from shared.vault.entry import Entry
from shared.vault.vault import VaultHeader
from workers.engine.file_writing import Job, Written


class BackupWork(msgspec.Struct, frozen=True, kw_only=True, tag=True, array_like=True):
    """The first message to a hand: read from a source into this vault. ``dek`` never leaves the machine.

    ``reading`` is how the session's source is opened (``workers.sources.opening``).
    ``throttle`` is the path of the vault's throttle on this machine, ``bandwidth`` the plan until its file says more.
    """

    vault_url: str
    throttle: str
    bandwidth: BandwidthPlan
    vault: VaultHeader
    dek: bytes
    reading: bytes
    zstd_level: int


class RestoreWork(msgspec.Struct, frozen=True, kw_only=True, tag=True, array_like=True):
    """The first message to a hand of a restore: write from this vault into this target, the folder of that node."""

    vault_url: str
    throttle: str
    bandwidth: BandwidthPlan
    vault: VaultHeader
    dek: bytes
    target: str
    node: tuple[int, int]
    rule: ConflictRule


class WriteBatch(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """Write these files; ``table`` is ``index_segment.table_bytes`` of where their chunks are."""

    number: int
    jobs: list[Job]
    table: bytes


class ReadBatch(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """Read these nodes."""

    number: int
    entries: list[Entry]


class ReadPart(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """Read a range of a large file, or what can have changed of it."""

    number: int
    entry: Entry
    offset: int
    length: int
    changed: bool = False


class Reserved(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """The answer to ``Reserve``: one byte per id, 1 for those to store."""

    wanted: bytes


class Flush(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """Make everything durable that was read for messages before this one."""

    number: int


ToHand = BackupWork | RestoreWork | ReadBatch | ReadPart | Reserved | Flush | WriteBatch


class Here(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """The first message of a hand: its process, for a worker that has to end it by force."""

    pid: int


class Reserve(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """May I store these chunks? Ids, 32 bytes each."""

    ids: bytes


class PackDurable(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """A pack is in the vault; ``table`` is ``index_segment.table_bytes`` of what it holds."""

    table: bytes


class BatchRead(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """The result of ``ReadBatch``.

    ``ids`` has the one chunk of every plain file in order (none for an empty one). ``others`` are (place in the batch,
    entry or None) of everything else: nodes that are no files, files with several chunks, holes, xattrs or flags, those
    that were lost or are not what the scan met. ``young`` lists plain files whose change time cannot be trusted.
    """

    number: int
    ids: bytes
    others: list[tuple[int, Entry | None]]
    young: list[int]
    notices: list[Notice]
    bytes_read: int


class PartRead(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """The result of ``ReadPart``."""

    number: int
    entry: Entry
    ids: bytes
    data: tuple[tuple[int, int], ...]
    ended: bool
    young: bool


class BatchWritten(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """The result of ``WriteBatch``."""

    number: int
    written: Written


class Done(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """The result of ``Flush``."""

    number: int


class Trouble(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """A call failed. ``notice`` is of an unreadable node, otherwise it is an error of the registry."""

    number: int
    code: str
    detail: str
    notice: Notice | None = None


FromHand = Here | Reserve | PackDurable | BatchRead | PartRead | BatchWritten | Done | Trouble
