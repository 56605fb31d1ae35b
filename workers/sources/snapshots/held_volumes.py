"""The snapshots of volumes that one backup holds.

Rule of the file: each is told to the guard before it is made; all are made before the first one is mounted, so that
little time is between them.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from shared.errors import SkyharborError
from workers.engine.ports import Guard
from workers.sources.snapshots import lvm
from workers.sources.snapshots.mounting import is_mounted, mount, place_of
from workers.sources.snapshots.volumes import Volume, is_volume, named, volume_of

Trouble = Callable[[int, SkyharborError], None]
"""Is told why there is no snapshot of a device; raises when there has to be one."""


@dataclass(slots=True)
class _Held:
    volume: Volume
    kind: str
    name: str
    number: int
    device: int = -1
    """Of the snapshot, once it is mounted."""


class HeldVolumes:
    """Used by one thread: ``take``, ``confirm``, then ``release`` in any case.

    ``lock`` is the path of a file of the item; ``percent`` as in ``lvm.create``.
    """

    def __init__(self, *, item_id: str, guard: Guard, lock: str, percent: int) -> None:
        self._item_id = item_id
        self._guard = guard
        self._lock = lock
        self._percent = percent
        self._held: dict[int, _Held] = {}

    def sweep(self) -> None:
        """Remove what earlier backups of the item have left behind."""
        if not lvm.trouble():
            lvm.sweep(self._item_id, lock=self._lock)

    def take(self, kinds: Mapping[int, str], trouble: Trouble) -> None:
        """Take snapshots of those volumes that are among these devices, by the kinds of their file systems."""
        for device, kind in kinds.items():
            with self._or_without(device, trouble):
                self._create(device, kind)
        for device in list(self._held):
            with self._or_without(device, trouble):
                self._mount(self._held[device])

    @property
    def taken(self) -> dict[int, str]:
        """By the devices of which there are snapshots, the folders where these are mounted."""
        return {device: place_of(held.name) for device, held in self._held.items()}

    @property
    def devices(self) -> dict[int, int]:
        """By the device number of each snapshot, that of what it is of."""
        return {held.device: device for device, held in self._held.items()}

    def confirm(self) -> None:
        """Raise ``source-failed`` unless every snapshot is what it was: one that has filled up is lost."""
        for held in self._held.values():
            now = named(held.volume.group, held.name)
            if now is not None and now.invalid:
                raise SkyharborError(
                    "source-failed",
                    f"the snapshot of {held.volume.full_name} is full: more than {now.size >> 20} MiB were overwritten"
                    " while it was read",
                    hint="Give it more room with --snapshot-percent, or back up when less is written.",
                )
            if now is None or not now.is_sound or not is_mounted(place_of(held.name), held.device):
                raise SkyharborError("source-failed", f"the snapshot of {held.volume.full_name} was lost meanwhile")

    def release(self) -> None:
        """Remove them all; what cannot be removed is left to the guard and to the next backup. Idempotent."""
        for device in reversed(list(self._held)):
            self._drop(device)

    @contextmanager
    def _or_without(self, device: int, trouble: Trouble) -> Iterator[None]:
        try:
            yield
        except SkyharborError as error:
            self._drop(device)
            trouble(device, error)

    def _create(self, device: int, kind: str) -> None:
        if reason := lvm.trouble():
            raise SkyharborError("source-failed", reason)
        if not is_volume(device):
            raise SkyharborError("source-failed", f"{kind} on a device that is no logical volume")
        volume = volume_of(device)
        if reason := lvm.trouble_with(volume, kind):
            raise SkyharborError("source-failed", reason)
        name = lvm.new_name()
        number = self._guard.arm(lvm.KIND, {"group": volume.group, "name": name, "lock": self._lock})
        self._held[device] = _Held(volume, kind, name, number)
        lvm.create(volume, name, item_id=self._item_id, percent=self._percent, lock=self._lock)

    def _mount(self, held: _Held) -> None:
        held.device = mount(f"/dev/{held.volume.group}/{held.name}", held.kind, place_of(held.name))

    def _drop(self, device: int) -> None:
        held = self._held.pop(device, None)
        if held is not None:
            with suppress(SkyharborError, OSError):
                lvm.remove(held.volume.group, held.name, lock=self._lock)
                self._guard.disarm(held.number)


def lock_in(folder: str) -> str:
    """Return the path of the file that is locked while a program of LVM runs for the item of a folder."""
    return os.path.join(folder, "lvm-lock")
