"""The session of a virtual machine that runs: all its disks at one point in time, read while the guest goes on.

What happens when it dies: the guard takes everything out of QEMU again and lets the guest's file systems go on; when
the guard is dead as well, the item's next session does. Bitmaps go on recording whatever happens here.

Rule of the file: the order of a session; each step is another module's.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence

import structlog

from shared.contracts.sources import VmSource
from shared.errors import SkyharborError
from shared.model.backup import Notice
from workers.engine.ports import SessionOrder
from workers.sources.this_boot import this_boot
from workers.sources.vm import release as releasing
from workers.sources.vm.agent import Agent, NoAgent
from workers.sources.vm.chain import DiskState, VmState, bitmap_since, names_for, state_of, to_text
from workers.sources.vm.description import DiskReading, FileReading, VmReading, block_for, encode
from workers.sources.vm.hypervisor import Disk, disks_of, has_filter, refuse_unsafe_iothreads
from workers.sources.vm.moment import Held, Moment
from workers.sources.vm.names import bitmap_of, bitmaps_of, frozen, is_frozen, item_tag, new_session_tag
from workers.sources.vm.papers import firmware_file, papers_of
from workers.sources.vm.probing import probe
from workers.sources.vm.qmp import QemuGone, Qmp, QmpFailed
from workers.sources.vm.scratch import Scratch, folder_name, remove_leftovers, scratch_base
from workers.sources.vm.wire import Address

log = structlog.get_logger()

_FROZEN_AT_MOST = 90.0  # seconds: the guard thaws after that, whatever this process is doing
_HALTED_AT_MOST = 20.0
_FREEZE_PATIENCE = 60.0
_TRY_AGAIN = 60.0


class RunningSession:
    """The engine's ``Session`` of a guest with a QMP socket. Raises ``source-failed`` when it cannot be opened."""

    def __init__(self, order: SessionOrder, spec: VmSource) -> None:
        self._order = order
        self._spec = spec
        self._notices: list[Notice] = []
        self._deeds: list[int] = []
        self._tag = new_session_tag(order.item_id)
        self._bitmap = bitmap_of(order.item_id, order.point_id)
        self._reference = state_of(order.reference)
        self._sealed = False
        self._closed = False
        self._held: list[Held] = []
        self._scratch: Scratch | None = None
        try:
            with Qmp.connect(spec.qmp) as qmp:
                self._open(qmp)
            order.check()  # not before: nobody may keep us while we hold the monitor
        except BaseException as error:
            self.close()
            if isinstance(error, OSError):
                raise SkyharborError(
                    "source-failed",
                    f"the virtual machine: {error}",
                    hint="Check that it runs, and that the item names the socket of its QMP monitor.",
                ) from error
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
        """Which bitmaps have the changes since this point (see ``chain``)."""
        disks = (
            DiskState(name=one.name, key=one.disk.key, size=one.disk.size, bitmap=self._bitmap) for one in self._held
        )
        return to_text(VmState(block=self._block, disks=tuple(disks), kept=self._kept))

    def notices(self) -> Sequence[Notice]:
        """Return what has to be said of the session."""
        return tuple(self._notices)

    def confirm(self) -> None:
        """Raise ``source-failed`` when QEMU has given the point in time up: its view of a disk fails from then on."""
        probe(self._disks)
        # From here on the bitmap belongs to a point that may exist: whoever cleans up must leave it.
        self._arm_release(bitmaps=())

    def sealed(self) -> None:
        """Take note of the point: ``close`` leaves its bitmap, and removes those that nobody will ask for any more."""
        self._sealed = True

    def close(self) -> None:
        """Take everything out of QEMU again; without ``sealed`` the new bitmaps as well. Idempotent."""
        if self._closed or not self._deeds:
            return  # nothing was made
        self._closed = True
        try:
            with Qmp.connect(self._spec.qmp) as qmp:
                problems = releasing.release(qmp, self._tag, bitmaps=() if self._sealed else self._own_bitmaps())
                if self._sealed and not problems:
                    releasing.drop_bitmaps(qmp, self._ours(qmp) - {self._bitmap, *self._kept})
        except QemuGone:
            problems = []
        except OSError as error:
            problems = [str(error)]
        if problems:
            log.warning("vm-not-released", item=self._order.item_id, problems=problems)
            # The guard tries again in a while, and the next session of the item before it begins.
            with contextlib.suppress(SkyharborError):
                self._arm_release(bitmaps=() if self._sealed else (self._bitmap,), within=_TRY_AGAIN)
            return
        shutil.rmtree(self._folder, ignore_errors=True)
        for deed in self._deeds:
            self._order.guard.disarm(deed)

    def _own_bitmaps(self) -> list[str]:
        return [self._bitmap, *(frozen(one.since) for one in self._held if one.since)]

    # ── opening ──────────────────────────────────────────────────────────────────────────────────────

    def _open(self, qmp: Qmp) -> None:
        refuse_unsafe_iothreads(qmp)
        self._sweep(qmp)
        found = disks_of(qmp)
        disks = [disk for disk in found if not disk.firmware]
        if not disks:
            raise SkyharborError("source-failed", "the virtual machine has no disk that it could write to")
        self._block = block_for(max(disk.size for disk in disks))
        self._plan(disks)
        base = scratch_base(self._spec.scratch, [disk.image for disk in disks])
        remove_leftovers(base, item_tag(self._order.item_id))
        self._folder = folder_name(base, self._tag)
        self._arm_release(bitmaps=(self._bitmap,))
        self._scratch = Scratch(self._folder, owner=qmp.peer_uid())
        moment = Moment(qmp, self._held, self._scratch, filtered=has_filter(qmp))
        moment.prepare()
        taken_ns = self._take(qmp, moment)
        moment.serve()
        self._describe(qmp, found, taken_ns)

    def _sweep(self, qmp: Qmp) -> None:
        """Remove what earlier sessions of the item have left: a machine that lost its power, a guard that died."""
        problems = releasing.release(qmp, item_tag(self._order.item_id))
        if problems:
            raise SkyharborError(
                "source-failed", f"what an earlier backup has left cannot be removed: {'; '.join(problems)}"
            )
        # Others stay until there is a newer point: the next backup may be of another type, with another reference.
        leftover = {name for name in self._ours(qmp) if name == self._bitmap or is_frozen(name)}
        releasing.drop_bitmaps(qmp, leftover)

    def _ours(self, qmp: Qmp) -> set[str]:
        ours = bitmaps_of(self._order.item_id)
        names = {bitmap.name for disk in disks_of(qmp) for bitmap in disk.bitmaps}
        return {name for name in names if name.startswith(ours)}

    def _plan(self, disks: Sequence[Disk]) -> None:
        for disk, name in zip(disks, names_for([disk.key for disk in disks], self._reference), strict=True):
            since, notice = bitmap_since(disk, name, self._reference, block=self._block)
            if notice is not None:
                self._notices.append(notice)
            self._held.append(Held(disk=disk, name=name, tag=self._tag, bitmap=self._bitmap, since=since))
        # The bitmap of the last full point stays for differential backups, as long as there is no newer full one.
        first = self._reference.kept[:1] if self._reference is not None else ()
        self._kept = (*first, self._bitmap)

    def _take(self, qmp: Qmp, moment: Moment) -> int:
        """Come to the point in time and return when that was."""
        halt = len(self._held) > 1 and qmp.execute("query-status")["running"] if has_filter(qmp) else False
        with self._quiet_guest():
            deed = None
            if halt:
                deed = self._order.guard.arm(releasing.RESUME, {"qmp": self._spec.qmp}, within=_HALTED_AT_MOST)
            moment.take(halt=halt)
            if deed is not None:
                self._order.guard.disarm(deed)
            return time.time_ns()

    @contextlib.contextmanager
    def _quiet_guest(self) -> Iterator[None]:
        """Have the guest's file systems at rest meanwhile, where the guest has an agent."""
        if not (self._spec.agent and self._spec.freeze):
            yield
            return
        agent = Agent(self._spec.agent, patience=_FREEZE_PATIENCE)
        deed = self._order.guard.arm(releasing.THAW, {"agent": self._spec.agent}, within=_FROZEN_AT_MOST)
        asked = True
        try:
            try:
                agent.freeze()
            except QmpFailed as error:
                asked = not isinstance(error, NoAgent | QemuGone)
                message = f"the guest's file systems were not brought to rest: {error}"
                self._notices.append(Notice("/", "guest-not-frozen", message))
            yield
        finally:
            if asked:
                self._thaw(agent, deed)
            else:
                self._order.guard.disarm(deed)

    def _thaw(self, agent: Agent, deed: int) -> None:
        try:
            agent.thaw()
        except QmpFailed as error:
            # The guard has its deadline still before it, and tries again.
            log.warning("vm-not-thawed", item=self._order.item_id, error=str(error))
        else:
            self._order.guard.disarm(deed)

    def _arm_release(self, *, bitmaps: Sequence[str], within: float | None = None) -> None:
        """Have the guard undo this session when this worker dies; in place of what it was told before."""
        copies = [frozen(one.since) for one in self._held if one.since]
        details = {
            "qmp": self._spec.qmp,
            "tag": self._tag,
            "folder": self._folder,
            "bitmaps": json.dumps([*bitmaps, *copies]),
        }
        deed = self._order.guard.arm(releasing.RELEASE, details, within=within)
        for before in self._deeds:
            self._order.guard.disarm(before)
        self._deeds = [deed]

    def _describe(self, qmp: Qmp, found: Sequence[Disk], taken_ns: int) -> None:
        self._disks = [
            DiskReading(
                name=f"{one.name}.raw",
                size=one.disk.size,
                inode=1 + int(one.name.removeprefix("disk")),
                mtime_ns=taken_ns,
                ctime_ns=taken_ns,
                address=Address(unix=self._require_scratch().socket),
                export=one.name,
                bitmap=frozen(one.since) if one.since else "",
            )
            for one in self._held
        ]
        files = [FileReading(name="vm.json", content=papers_of(qmp, self._held), time_ns=taken_ns)]
        for disk in found:
            if disk.firmware:
                files += firmware_file(disk, self._folder, taken_ns)
        self._reading = encode(
            VmReading(block=self._block, boot=this_boot(), disks=tuple(self._disks), files=tuple(files))
        )

    def _require_scratch(self) -> Scratch:
        if self._scratch is None:
            raise RuntimeError("there is no scratch folder yet")
        return self._scratch
