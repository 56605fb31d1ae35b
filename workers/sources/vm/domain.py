"""The session of a libvirt domain that runs: libvirt's own pull backups, with a checkpoint for each point.

libvirt holds the disks still by a backup job, which would fail the guest's writes when its scratch disk is full: the
scratch files get room for the whole disk beforehand.

What happens when it dies: the guard ends the backup job and deletes the new checkpoint, whose record goes to the one
before it; when the guard is dead as well, the item's next session does.

Rule of the file: the order of a session; each step is another module's.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import structlog

from shared.contracts.sources import VmSource
from shared.errors import SkyharborError
from shared.model.backup import Notice
from workers.engine.ports import SessionOrder
from workers.sources.this_boot import this_boot
from workers.sources.vm import domain_release as releasing
from workers.sources.vm.chain import READ_WHOLE, DiskState, VmState, names_for, state_of, to_text
from workers.sources.vm.description import DiskReading, FileReading, VmReading, block_for, encode
from workers.sources.vm.domain_xml import (
    BackupDisk,
    DomainDefinition,
    DomainDisk,
    backup_xml,
    checkpoint_xml,
    read_definition,
)
from workers.sources.vm.hypervisor import SAFE_IOTHREADS_SINCE
from workers.sources.vm.names import bitmap_of, bitmaps_of, item_tag, new_session_tag
from workers.sources.vm.papers import papers_of_domain
from workers.sources.vm.probing import probe
from workers.sources.vm.qemu_img import make_qcow2
from workers.sources.vm.scratch import Scratch, folder_name, remove_leftovers, scratch_base
from workers.sources.vm.virsh import Virsh, VirshFailed
from workers.sources.vm.wire import Address

log = structlog.get_logger()

_FROZEN_AT_MOST = 90.0  # seconds: the guard thaws after that
_TRY_AGAIN = 60.0
_BITMAP = "changes"
_NO_AGENT = "agent is not connected"


@dataclass(frozen=True, slots=True)
class _Disk:
    """A disk in a session. ``since`` is the checkpoint to compare with, if any."""

    disk: DomainDisk
    name: str
    size: int
    since: str = ""


class DomainSession:
    """The engine's ``Session`` of a domain that runs. Raises ``source-failed`` when it cannot be opened."""

    def __init__(self, order: SessionOrder, spec: VmSource, virsh: Virsh, definition: str) -> None:
        self._order = order
        self._spec = spec
        self._virsh = virsh
        self._definition = definition
        self._checkpoint = bitmap_of(order.item_id, order.point_id)
        self._reference = state_of(order.reference)
        self._notices: list[Notice] = []
        self._deeds: list[int] = []
        self._sealed = False
        self._closed = False
        try:
            self._open()
        except BaseException as error:
            self.close()
            if isinstance(error, OSError | ValueError):
                raise SkyharborError("source-failed", f"the domain {spec.domain}: {error}") from error
            raise

    @property
    def reading(self) -> bytes:
        """How hands and shards read the disks."""
        return self._reading

    @property
    def paths(self) -> tuple[str, ...]:
        """What is protected: everything."""
        return ("/",)

    @property
    def state(self) -> Mapping[str, str]:
        """Which checkpoints have the changes since this point (see ``chain``)."""
        disks = tuple(
            DiskState(
                name=one.name,
                key=one.disk.target,
                size=one.size,
                bitmap=self._checkpoint if one.disk.keeps_bitmaps else "",
            )
            for one in self._disks
        )
        return to_text(VmState(block=self._block, disks=disks, kept=self._kept))

    def notices(self) -> Sequence[Notice]:
        """Return what has to be said of the session."""
        return tuple(self._notices)

    def confirm(self) -> None:
        """Raise ``source-failed`` when QEMU has given the point in time up."""
        probe(self._readings)
        # From here on the checkpoint belongs to a point that may exist: whoever cleans up must leave it.
        self._arm_release("")

    def sealed(self) -> None:
        """Take note of the point: ``close`` leaves its checkpoint, and deletes those that nobody will ask for."""
        self._sealed = True

    def close(self) -> None:
        """End the backup; without ``sealed`` the new checkpoint goes as well. Idempotent."""
        if self._closed or not self._deeds:
            return  # nothing was made
        self._closed = True
        try:
            releasing.end_backup(self._virsh, self._folder)
            self._drop_checkpoints()
        except VirshFailed as error:
            log.warning("vm-not-released", item=self._order.item_id, problems=[str(error)])
            # The guard tries again in a while, and the next session of the item before it begins.
            with contextlib.suppress(SkyharborError):
                self._arm_release("" if self._sealed else self._checkpoint, within=_TRY_AGAIN)
            return
        shutil.rmtree(self._folder, ignore_errors=True)
        for deed in self._deeds:
            self._order.guard.disarm(deed)

    def _drop_checkpoints(self) -> None:
        ours = [name for name in self._virsh.checkpoints() if name.startswith(bitmaps_of(self._order.item_id))]
        keep = {self._checkpoint, *self._kept}
        for name in ours:
            if name not in keep if self._sealed else name == self._checkpoint:
                releasing.drop_checkpoint(self._virsh, name)

    # ── opening ──────────────────────────────────────────────────────────────────────────────────────

    def _open(self) -> None:
        definition = read_definition(self._definition)
        self._refuse_unsafe_iothread(definition)
        if not definition.disks:
            raise SkyharborError("source-failed", f"the domain {self._spec.domain} has no disk that it could write to")
        owner, base = _place(self._spec.scratch, definition.disks)
        self._sweep(base)
        self._plan(definition.disks)
        self._folder = folder_name(base, new_session_tag(self._order.item_id))
        self._arm_release(self._checkpoint)
        self._scratch = Scratch(self._folder, owner=owner)
        self._order.check()
        taken_ns = self._begin(definition)
        self._describe(definition, taken_ns)

    def _refuse_unsafe_iothread(self, definition: DomainDefinition) -> None:
        if definition.has_iothread and (version := self._virsh.hypervisor()) < SAFE_IOTHREADS_SINCE:
            told = ".".join(map(str, version))
            raise SkyharborError(
                "source-failed",
                f"a disk runs in an I/O thread: QEMU {told} may end the guest when a reader goes away",
                hint="Use QEMU 9.0 or newer, or run the guest's disks without iothread.",
            )

    def _sweep(self, base: str) -> None:
        """End what an earlier session of the item has left."""
        tag = item_tag(self._order.item_id)
        if not releasing.end_backup(self._virsh, f"{base}/.{tag}"):
            raise SkyharborError("source-failed", f"another backup of the domain {self._spec.domain} is under way")
        releasing.drop_checkpoint(self._virsh, self._checkpoint)
        remove_leftovers(base, tag)

    def _plan(self, disks: Sequence[DomainDisk]) -> None:
        there = self._virsh.checkpoints() if self._reference is not None else []
        sizes = [self._virsh.capacity(disk.target) for disk in disks]
        self._block = block_for(max(sizes))
        self._disks = []
        for disk, size, name in zip(
            disks, sizes, names_for([disk.target for disk in disks], self._reference), strict=True
        ):
            since = self._since(disk, name, size, there)
            self._disks.append(_Disk(disk, name, size, since))
        first = self._reference.kept[:1] if self._reference is not None else ()
        self._kept = (*first, self._checkpoint)

    def _since(self, disk: DomainDisk, name: str, size: int, there: Sequence[str]) -> str:
        """Return the checkpoint to compare with; say why when there is none that should be there."""
        state = self._reference
        then = state.disk(disk.target) if state is not None else None
        if state is None or then is None or not then.bitmap:
            return ""
        if then.size != size:
            self._say_whole(name, f"its size was {then.size} bytes and is {size}")
        elif state.block != self._block:
            self._say_whole(name, "it is cut into other blocks than before")
        elif then.bitmap not in there:
            self._say_whole(name, "libvirt no longer has the checkpoint of the point to compare with")
        else:
            return then.bitmap
        return ""

    def _say_whole(self, name: str, why: str) -> None:
        self._notices.append(Notice(f"/{name}.raw", READ_WHOLE, f"everything was read: {why}"))

    def _begin(self, definition: DomainDefinition) -> int:
        """Come to the point in time and return when that was."""
        scratches = {one.name: self._new_scratch(one) for one in self._disks}
        with self._quiet_guest(definition):
            try:
                self._begin_backup(scratches)
            except VirshFailed as error:
                if not any(one.since for one in self._disks) or self._virsh.backup_job() is not None:
                    raise
                # A guest that did not stop cleanly has bitmaps that libvirt refuses to use.
                for one in self._disks:
                    if one.since:
                        self._say_whole(one.name, str(error))
                self._disks = [_Disk(one.disk, one.name, one.size) for one in self._disks]
                self._kept = (self._checkpoint,)
                self._begin_backup(scratches)
            return time.time_ns()

    def _begin_backup(self, scratches: Mapping[str, str]) -> None:
        disks = [BackupDisk(one.disk, one.name, scratches[one.name], one.since) for one in self._disks]
        backup = self._write("backup.xml", backup_xml(disks, self._scratch.socket, _BITMAP))
        checkpoint = self._write("checkpoint.xml", checkpoint_xml(self._checkpoint, [one.disk for one in self._disks]))
        self._virsh.begin_backup(backup, checkpoint)

    def _new_scratch(self, one: _Disk) -> str:
        path = f"{self._folder}/{one.name}.scratch"
        make_qcow2(path, one.size)
        self._scratch.reserve(path, one.size)
        return path

    def _write(self, name: str, content: str) -> str:
        path = f"{self._folder}/{name}"
        with open(path, "w", encoding="utf-8") as made:
            made.write(content)
        return path

    @contextlib.contextmanager
    def _quiet_guest(self, definition: DomainDefinition) -> Iterator[None]:
        """Have the guest's file systems at rest meanwhile, where the guest has an agent."""
        if not (definition.has_agent and self._spec.freeze):
            yield
            return
        deed = self._order.guard.arm(releasing.THAW, self._domain(), within=_FROZEN_AT_MOST)
        asked = True
        try:
            try:
                self._virsh.freeze()
            except VirshFailed as error:
                asked = _NO_AGENT not in str(error)
                message = f"the guest's file systems were not brought to rest: {error}"
                self._notices.append(Notice("/", "guest-not-frozen", message))
            yield
        finally:
            if asked:
                self._thaw(deed)
            else:
                self._order.guard.disarm(deed)

    def _thaw(self, deed: int) -> None:
        try:
            self._virsh.thaw()
        except VirshFailed as error:
            # The guard has its deadline still before it, and tries again.
            log.warning("vm-not-thawed", item=self._order.item_id, error=str(error))
        else:
            self._order.guard.disarm(deed)

    def _domain(self) -> dict[str, str]:
        return {"uri": self._spec.libvirt, "domain": self._spec.domain}

    def _arm_release(self, checkpoint: str, *, within: float | None = None) -> None:
        """Have the guard undo this session when this worker dies; in place of what it was told before."""
        details = {**self._domain(), "folder": self._folder, "checkpoint": checkpoint}
        deed = self._order.guard.arm(releasing.RELEASE, details, within=within)
        for before in self._deeds:
            self._order.guard.disarm(before)
        self._deeds = [deed]

    def _describe(self, definition: DomainDefinition, taken_ns: int) -> None:
        self._readings = [
            DiskReading(
                name=f"{one.name}.raw",
                size=one.size,
                inode=1 + int(one.name.removeprefix("disk")),
                mtime_ns=taken_ns,
                ctime_ns=taken_ns,
                address=Address(unix=self._scratch.socket),
                export=one.name,
                bitmap=_BITMAP if one.since else "",
            )
            for one in self._disks
        ]
        papers = papers_of_domain(self._definition, {one.name: one.disk for one in self._disks})
        files = [FileReading(name=name, content=content, time_ns=taken_ns) for name, content in papers.items()]
        files += firmware_of(definition, self._notices)
        self._reading = encode(
            VmReading(block=self._block, boot=this_boot(), disks=tuple(self._readings), files=tuple(files))
        )


def firmware_of(definition: DomainDefinition, notices: list[Notice]) -> list[FileReading]:
    """Return the firmware's variables, where the domain has some; say so when they cannot be read."""
    if not definition.firmware:
        return []
    try:
        with open(definition.firmware, "rb") as opened:
            content, info = opened.read(), os.fstat(opened.fileno())
    except OSError as error:
        notices.append(Notice("/firmware.fd", "unreadable", f"{definition.firmware}: {error.strerror}"))
        return []
    return [FileReading(name="firmware.fd", content=content, time_ns=info.st_mtime_ns)]


def _place(given: str, disks: Sequence[DomainDisk]) -> tuple[int | None, str]:
    """Return who QEMU is, by the owner of the images that it has open, and the folder for scratch folders."""
    images = [disk.source for disk in disks if os.path.isfile(disk.source)]
    owner = os.stat(images[0]).st_uid if images else None
    return owner, scratch_base(given, images)
