"""One granted unit, from its instruction to its outcome.

Rule of the file: every way an engine can end becomes a value here: done, failed with a registered code, cancelled,
or nothing at all when the unit is no longer ours. Exceptions stop here.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import assert_never

import structlog

from shared.clock import Clock
from shared.contracts.work import (
    BackupInstruction,
    Cancelled,
    CollectInstruction,
    Failed,
    Granted,
    Outcome,
    PointRef,
    RestoreInstruction,
    ShardDone,
    ShardInstruction,
    VaultRef,
    VerifyInstruction,
)
from shared.crypto.domain_keys import DomainKeys
from shared.crypto.keyring import Keyring
from shared.errors import SkyharborError
from shared.storage.open import local_folder
from shared.storage.throttle import Throttle
from shared.vault import layout
from shared.vault.chunk_finder import ChunkFinder
from shared.vault.index import ChunkIndex
from shared.vault.point import PointBody
from shared.vault.reader import PointReader
from shared.vault.vault import Vault, open_vault
from shared.vault.writer import PointWriter
from workers.crew.messages import BackupWork, RestoreWork
from workers.engine.backup import BackupOptions, run_backup
from workers.engine.collect import run_collect
from workers.engine.condemned import forget_condemned
from workers.engine.crew import ReadingCrew, WritingCrew
from workers.engine.desk import CollectionDesk
from workers.engine.doors import Doors
from workers.engine.part import Gear, Muster
from workers.engine.ports import (
    Control,
    Elsewhere,
    Formation,
    Guard,
    Lander,
    Session,
    SessionOrder,
    Source,
    Stop,
    StopReason,
)
from workers.engine.restore import restore_point
from workers.engine.shard import run_shard, shard_order
from workers.engine.sharding import SHARD_ENTRIES, Sharding
from workers.engine.unit_store import unit_store
from workers.engine.verify import verify_named

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Hangar:
    """What every flight of this process needs: the keys, a place for caches, the ways to sources, the throttles.

    ``open_session`` and ``open_source`` are the sources' own list, ``landers`` what brings points of a workload back;
    the ``muster``s bring crews. ``folder`` is where sources keep what they need between an item's backups.
    ``borrow`` returns how a source that another worker's session holds is opened here, or raises ``Elsewhere``.
    ``throttle`` returns the one of a vault, under the plan that came with the vault.
    Backups of at least ``shard_entries`` entries are shared with other workers.
    """

    keyring: Keyring
    cache: str
    folder: str
    open_session: Callable[[SessionOrder], Session]
    open_source: Callable[[bytes], Source]
    borrow: Callable[[bytes], AbstractContextManager[bytes]]
    landers: Mapping[str, Lander]
    guard: Guard
    clock: Clock
    muster_readers: Callable[[BackupWork, PointWriter], ReadingCrew]
    muster_writers: Callable[[RestoreWork, ChunkFinder], WritingCrew]
    throttle: Callable[[VaultRef], Throttle]
    shard_entries: int = SHARD_ENTRIES


@dataclass(frozen=True, slots=True, kw_only=True)
class Ties:
    """What ties a unit to the tower besides its control: the other workers, and the desk for condemned packs."""

    desk: CollectionDesk
    formation: Formation | None = None


def fly(granted: Granted, control: Control, hangar: Hangar, ties: Ties) -> Outcome | None:
    """Run the instruction and return its outcome; None when the unit was lost and nobody may be told.

    A large backup is shared with the formation.

    Raises ``Stop`` with reason ``DRAIN`` only, and ``Elsewhere`` for a shard of what this worker cannot read: the
    caller releases the unit.
    """
    fence = granted.fence
    try:
        return _run(granted, control, hangar, ties)
    except Stop as stop:
        if stop.reason is StopReason.DRAIN:
            raise
        log.info("unit-stopped", job=fence.job_id, unit=fence.unit, reason=stop.reason.value)
        return Cancelled() if stop.reason is StopReason.CANCELLED else None
    except Elsewhere:
        raise
    except SkyharborError as error:
        log.warning("unit-failed", job=fence.job_id, unit=fence.unit, code=error.code, detail=error.detail)
        return _told(error)
    except Exception as error:
        log.exception("unit-crashed", job=fence.job_id, unit=fence.unit)
        return Failed(code="internal", message=f"{type(error).__name__}: {error}")


def _told(error: SkyharborError) -> Outcome | None:
    """What the tower is told of an error; its own refusals come back as what they mean."""
    if error.code == "stale-claim":
        return None
    if error.code == "cancelled":
        return Cancelled()
    # What to do about this very failure is known here only: the tower knows what the code means.
    return Failed(code=error.code, message=error.detail, hint="" if error.hint == error.kind.hint else error.hint)


def _run(granted: Granted, control: Control, hangar: Hangar, ties: Ties) -> Outcome:
    instruction = granted.instruction
    match instruction:
        case BackupInstruction():
            return _backup(granted, instruction, control, hangar, ties)
        case ShardInstruction():
            return _shard(granted, instruction, control, hangar, ties)
        case RestoreInstruction():
            return _restore(instruction, control, hangar)
        case VerifyInstruction():
            with _opened(instruction.point.vault, control, hangar) as vault:
                point = instruction.point
                return verify_named(lambda: _open_point(vault, point, hangar), full=instruction.full, control=control)
        case CollectInstruction():
            with _opened(instruction.vault, control, hangar) as vault:
                open_key = hangar.keyring.get
                return run_collect(instruction, vault=vault, open_key=open_key, desk=ties.desk, control=control)
        case _:
            assert_never(instruction)


def _backup(granted: Granted, instruction: BackupInstruction, control: Control, hangar: Hangar, ties: Ties) -> Outcome:
    keys = DomainKeys.derive(hangar.keyring.get(instruction.machine.id))
    with _opened(instruction.vault, control, hangar) as vault, _kept_folder(instruction, hangar) as folder:
        index = ChunkIndex.load(vault, instruction.machine.id, keys, cache_dir=_cache(hangar, vault))
        _forget_condemned(granted, index, ties.desk)
        return run_backup(
            doors=Doors(
                lambda reference: _session(instruction, reference, folder, control, hangar), hangar.open_source
            ),
            vault=vault,
            keys=keys,
            index=index,
            instruction=instruction,
            fence=granted.fence,
            control=control,
            clock=hangar.clock,
            options=_options(hangar),
            muster=_muster(instruction, vault, hangar),
            formation=ties.formation,
        )


def _shard(granted: Granted, instruction: ShardInstruction, control: Control, hangar: Hangar, ties: Ties) -> Outcome:
    keys = DomainKeys.derive(hangar.keyring.get(instruction.backup.machine.id))
    order = shard_order(instruction, granted.fence, keys)
    backup = order.backup
    with (
        hangar.borrow(order.reading) as reading,
        _opened(backup.vault, control, hangar) as vault,
        contextlib.closing(hangar.open_source(reading)) as source,
    ):
        gear = Gear(
            source=source,
            reading=reading,
            vault=vault,
            keys=keys,
            index=ChunkIndex.load(vault, backup.machine.id, keys, cache_dir=_cache(hangar, vault)),
            clock=hangar.clock,
            options=_options(hangar),
            muster=_muster(backup, vault, hangar),
        )
        _forget_condemned(granted, gear.index, ties.desk)
        return ShardDone(result=run_shard(gear, order, granted.fence, control=control))


@contextlib.contextmanager
def _kept_folder(instruction: BackupInstruction, hangar: Hangar) -> Iterator[str]:
    """Lend the folder for what has to be kept between an item's backups; gone again when its session kept nothing."""
    folder = os.path.join(hangar.folder, layout.check_id(instruction.item.id))
    os.makedirs(folder, mode=0o700, exist_ok=True)
    try:
        yield folder
    finally:
        with contextlib.suppress(OSError):  # most items keep nothing; what is not empty stays
            os.rmdir(folder)


def _session(
    instruction: BackupInstruction, reference: PointBody | None, folder: str, control: Control, hangar: Hangar
) -> Session:
    return hangar.open_session(
        SessionOrder(
            spec=instruction.source,
            item_id=instruction.item.id,
            point_id=instruction.point_id,
            reference=reference,
            leave_out=_not_to_enter(instruction.vault.url),
            folder=folder,
            guard=hangar.guard,
            check=control.check,
        )
    )


def _muster(instruction: BackupInstruction, vault: Vault, hangar: Hangar) -> Muster:
    """Return what brings a crew of hands."""

    def muster(reading: bytes, writer: PointWriter) -> ReadingCrew:
        work = BackupWork(
            vault_url=instruction.vault.url,
            throttle=hangar.throttle(instruction.vault).path,
            bandwidth=instruction.vault.bandwidth,
            vault=vault.header,
            dek=hangar.keyring.get(instruction.machine.id),
            reading=reading,
            zstd_level=instruction.zstd_level,
        )
        return hangar.muster_readers(work, writer)

    return muster


def _options(hangar: Hangar) -> BackupOptions:
    return BackupOptions(sharding=Sharding(entries=hangar.shard_entries))


def _forget_condemned(granted: Granted, index: ChunkIndex, desk: CollectionDesk) -> None:
    """Before anything is compared: what may be deleted beside us is stored again (decision 12)."""
    if granted.condemned:
        forget_condemned(index, desk)


def _restore(instruction: RestoreInstruction, control: Control, hangar: Hangar) -> Outcome:
    point = instruction.point
    with _opened(point.vault, control, hangar, read_only=True) as vault:

        def muster(finder: ChunkFinder, target: str, node: tuple[int, int]) -> WritingCrew:
            work = RestoreWork(
                vault_url=point.vault.url,
                throttle=hangar.throttle(point.vault).path,
                bandwidth=point.vault.bandwidth,
                vault=vault.header,
                dek=hangar.keyring.get(point.machine.id),
                target=target,
                node=node,
                rule=instruction.conflict,
            )
            return hangar.muster_writers(work, finder)

        reader = _open_point(vault, point, hangar)
        lander = hangar.landers.get(reader.body.workload)
        if lander is not None:
            return lander(reader, instruction, control=control, folder=hangar.folder)
        return restore_point(
            reader,
            target=instruction.target,
            paths=instruction.paths,
            conflict=instruction.conflict,
            control=control,
            muster=muster,
        )


def _not_to_enter(vault_url: str) -> Sequence[str]:
    """A vault inside what it protects would grow by itself, run after run."""
    folder = local_folder(vault_url)
    return () if folder is None else (folder,)


@contextlib.contextmanager
def _opened(ref: VaultRef, control: Control, hangar: Hangar, *, read_only: bool = False) -> Iterator[Vault]:
    with unit_store(ref.url, throttle=hangar.throttle(ref), check=control.check, read_only=read_only) as store:
        vault = open_vault(store)
        if vault.id != ref.id:
            raise SkyharborError("vault-swapped", f"{store.describe()} holds the vault {vault.id}, not {ref.id}")
        yield vault


def _open_point(vault: Vault, point: PointRef, hangar: Hangar) -> PointReader:
    keys = DomainKeys.derive(hangar.keyring.get(point.machine.id))
    return PointReader.open(
        vault,
        keys,
        machine_id=point.machine.id,
        item_id=point.item.id,
        point_id=point.point_id,
        index=ChunkIndex.load(vault, point.machine.id, keys, cache_dir=_cache(hangar, vault)),
    )


def _cache(hangar: Hangar, vault: Vault) -> str:
    return os.path.join(hangar.cache, vault.header.id)
