"""What a lead and the workers that fly its shards tell each other, past a tower that may not see any of it.

Both are sealed with the machine's metadata key and bound to job, epoch and unit, so that nothing told of one shard can
be taken for another's.

Rule of the file: both ends are this program; what does not open or decode is ``object-damaged``.
"""

from __future__ import annotations

import os

import msgspec

from shared.contracts.work import MOST_RESULT, BackupInstruction, Fence
from shared.crypto.domain_keys import SALT_SIZE, DomainKeys
from shared.decoders import msgpack_decoder
from shared.errors import SkyharborError
from shared.model.backup import Notice
from shared.vault.binary import blamed_on
from shared.vault.compression import compress_sized, expand_sized
from shared.vault.point import PointPart
from workers.engine.links import LinkRows
from workers.engine.span import EVERYTHING, Span
from workers.engine.stretch import Stretch
from workers.engine.tally import Counts

_VERSION = 2
"""A worker that knows nothing of stretches would take such an order for one about everything: it cannot open it."""
_LEVEL = 3
_LIMIT = 1024 * 1024 * 1024


class ShardOrder(msgspec.Struct, frozen=True, kw_only=True):
    """A part of a backup: the instruction that the lead itself works by, how its session is read, and what of it.

    That is a span or, where a few large files are all there is, ``stretches`` of these.
    """

    backup: BackupInstruction
    reading: bytes
    span: Span = EVERYTHING
    stretches: tuple[Stretch, ...] = ()


class PartReport(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a part: its pages and the packs behind them, all durable and indexed, and what it counted.

    ``problem`` says why the point to compare with could not be read to the end of the part. Pages of stretches are no
    pages of the point: they have files with what was read of them only.
    """

    part: PointPart
    counts: Counts
    notices: tuple[Notice, ...] = ()
    notice_count: int = 0
    links: LinkRows = LinkRows()
    problem: str | None = None


def seal_order(order: ShardOrder, *, keys: DomainKeys, fence: Fence) -> bytes:
    """Return the order for one unit."""
    return _seal(msgspec.msgpack.encode(order), keys, _binding("order", fence))


def open_order(data: bytes, *, keys: DomainKeys, fence: Fence) -> ShardOrder:
    """Return the order; ``object-damaged`` when it is not this unit's."""
    with blamed_on("the order of a shard"):
        return msgpack_decoder(ShardOrder).decode(_open(data, keys, _binding("order", fence)))


def seal_report(report: PartReport, *, keys: DomainKeys, fence: Fence) -> bytes:
    """Return the report of one unit. Raises ``internal`` for one that the tower would not take."""
    sealed = _seal(msgspec.msgpack.encode(report), keys, _binding("report", fence))
    if len(sealed) > MOST_RESULT:
        raise SkyharborError("internal", f"the report of a shard has {len(sealed)} bytes, {MOST_RESULT} fit")
    return sealed


def open_report(data: bytes, *, keys: DomainKeys, fence: Fence) -> PartReport:
    """Return the report; ``object-damaged`` when it is not this unit's."""
    with blamed_on("the report of a shard"):
        return msgpack_decoder(PartReport).decode(_open(data, keys, _binding("report", fence)))


def _binding(what: str, fence: Fence) -> bytes:
    """Return what ties sealed words to one unit of one attempt, whoever claims it."""
    return f"skyharbor/shard/{_VERSION}/{what}/{fence.job_id}/{fence.epoch}/{fence.unit}".encode()


def _seal(plain: bytes, keys: DomainKeys, binding: bytes) -> bytes:
    salt = os.urandom(SALT_SIZE)
    return salt + keys.metadata_cipher(salt).seal(0, compress_sized(plain, _LEVEL), binding)


def _open(data: bytes, keys: DomainKeys, binding: bytes) -> bytes:
    salt, sealed = data[:SALT_SIZE], memoryview(data)[SALT_SIZE:]
    return expand_sized(keys.metadata_cipher(salt).open(0, sealed, binding), _LIMIT)
