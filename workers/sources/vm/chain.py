"""What sessions of an item tell each other through its points: which bitmap has the changes since which point.

A point's ``state`` has the block size, every disk's device, bitmap and size, and what bitmaps must stay: that of the
last full point is kept for differential backups.

Rule of the file: a state that is not understood is none, and the disk is read as a whole; that is said.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from shared.decoders import json_decoder
from shared.model.backup import Notice
from shared.vault.point import PointBody
from workers.sources.vm.description import LEAST_BLOCK
from workers.sources.vm.hypervisor import Disk

READ_WHOLE = "read-whole"


class DiskState(msgspec.Struct, frozen=True, kw_only=True):
    """A disk in a point. ``bitmap`` has what was changed since."""

    name: str
    key: str
    size: int
    bitmap: str = ""


class VmState(msgspec.Struct, frozen=True, kw_only=True):
    """The state of a point; ``kept`` are all bitmaps that must outlive the session after it."""

    block: int
    disks: tuple[DiskState, ...]
    kept: tuple[str, ...] = ()

    def disk(self, key: str) -> DiskState | None:
        """Return the disk that was called so."""
        return next((one for one in self.disks if one.key == key), None)


def to_text(state: VmState) -> dict[str, str]:
    """Return what is sealed in the manifest."""
    return {"vm": msgspec.json.encode(state).decode()}


def state_of(reference: PointBody | None) -> VmState | None:
    """Return the state of the point to compare with, None when there is none that we understand."""
    text: Mapping[str, str] = reference.state if reference is not None and reference.workload == "vm" else {}
    try:
        state = json_decoder(VmState).decode(text.get("vm", ""))
    except msgspec.MsgspecError:
        return None
    sane = state.block >= LEAST_BLOCK and not state.block & (state.block - 1)
    return state if sane else None


def names_for(keys: Sequence[str], state: VmState | None) -> list[str]:
    """Return what disks are called: as before, and new ones by the next number that no disk has."""
    before = {one.key: one.name for one in state.disks} if state is not None else {}
    taken = {before[key] for key in keys if key in before}
    free = (name for number in range(len(keys) + len(taken)) if (name := f"disk{number}") not in taken)
    return [before[key] if key in before else next(free) for key in keys]


def bitmap_since(disk: Disk, name: str, state: VmState | None, *, block: int) -> tuple[str, Notice | None]:
    """Return the bitmap with the changes of a disk since the reference; none, and why, when all has to be read.

    Nothing is said of a disk that the reference does not have.
    """
    then = state.disk(disk.key) if state is not None else None
    if state is None or then is None:
        return "", None
    bitmap = disk.bitmap(then.bitmap)
    if then.size != disk.size:
        why = f"its size was {then.size} bytes and is {disk.size}"
    elif state.block != block:
        why = "it is cut into other blocks than before"
    elif bitmap is None:
        why = "QEMU no longer has its bitmap: it ended without storing it, or somebody has removed it"
    elif not bitmap.usable:
        why = f"its bitmap {bitmap.why_not}"
    else:
        return bitmap.name, None
    return "", Notice(f"/{name}.raw", READ_WHOLE, f"everything was read: {why}")
