"""The point in time of a running guest: all its disks at once, held still while the guest goes on.

A filter between guest and disk copies away what is about to be overwritten (``copy-before-write``); through it the
disk is seen as it was (``snapshot-access``). When the scratch disk is full, or too slow, the filter gives the view up
and never the guest's write. Where QEMU has no such filter, or there is no device to put it under, a backup job does the
same, which would fail the guest's write: its scratch file gets room for the whole disk beforehand.

What was changed since an earlier point is in that point's bitmap, which goes on recording all the time; what is read
is a copy of it made at the point in time. So nothing that fails here can lose a change.

Rule of the file: the order of commands; all that is made is named by the session's tag: ``release`` undoes it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from workers.sources.vm.hypervisor import Disk
from workers.sources.vm.names import frozen
from workers.sources.vm.qemu_img import make_qcow2
from workers.sources.vm.qmp import Command, Qmp
from workers.sources.vm.scratch import Scratch

_GRANULARITY = 64 * 1024
_FILTER_PATIENCE = 10  # seconds that a guest's write waits for a slow scratch disk before the view is given up
_CLIENTS = 1000  # hands of all workers on this machine, each with a connection to every disk


@dataclass(frozen=True, slots=True)
class Held:
    """A disk in a session: what it is called in the point, its new bitmap, and the one to compare with, if any."""

    disk: Disk
    name: str
    tag: str
    bitmap: str
    since: str = ""

    @property
    def scratch(self) -> str:
        """The node, and file, for what the guest overwrites."""
        return f"{self.tag}s{self.name}"

    @property
    def filter(self) -> str:
        """The node between guest and disk."""
        return f"{self.tag}f{self.name}"

    @property
    def view(self) -> str:
        """The node that shows the disk as it was."""
        return f"{self.tag}v{self.name}"

    @property
    def export(self) -> str:
        """The export, and the job where there is one."""
        return f"{self.tag}x{self.name}"


class Moment:
    """Makes one point in time. Every method raises ``QmpFailed``, or ``source-failed`` for the scratch disk."""

    def __init__(self, qmp: Qmp, disks: Sequence[Held], scratch: Scratch, *, filtered: bool) -> None:
        self._qmp = qmp
        self._disks = disks
        self._scratch = scratch
        self._filtered = filtered

    def prepare(self) -> None:
        """Make what takes time: nothing of it touches the guest's way to its disks."""
        for one in self._disks:
            if self._filtered:
                self._add_filter(one)
            else:
                self._add_overlay(one)

    def take(self, *, halt: bool) -> None:
        """Hold the disks still from now on. ``halt``: stop the guest's processors for it, so that it is one moment."""
        if not self._filtered:
            # One transaction is one moment.
            self._qmp.transaction([*self._new_bitmaps(), *self._copies(), *self._jobs()])
            return
        # The new bitmaps begin before, the copies are made after: what falls between is in both, and only read twice.
        commands: list[Command] = [
            _transaction(self._new_bitmaps()),
            *(("qom-set", {"path": one.disk.device, "property": "drive", "value": one.filter}) for one in self._disks),
        ]
        copies = self._copies()
        if copies:
            commands.append(_transaction(copies))
        self._qmp.execute_all([("stop", {}), *commands, ("cont", {})] if halt else commands)

    def serve(self) -> None:
        """Let readers in."""
        address = {"type": "unix", "data": {"path": self._scratch.socket}}
        self._qmp.execute("nbd-server-start", {"addr": address, "max-connections": _CLIENTS})
        for one in self._disks:
            node = one.scratch
            bitmaps: list[Any] = [frozen(one.since)] if one.since else []
            if self._filtered:
                node = one.view
                self._qmp.execute(
                    "blockdev-add", {"driver": "snapshot-access", "node-name": one.view, "file": one.filter}
                )
                bitmaps = [{"node": one.disk.node, "name": bitmap} for bitmap in bitmaps]
            export = {"type": "nbd", "id": one.export, "node-name": node, "name": one.name, "bitmaps": bitmaps}
            self._qmp.execute("block-export-add", export)

    # ── inside ───────────────────────────────────────────────────────────────────────────────────────

    def _add_filter(self, one: Held) -> None:
        path = self._scratch.sparse(one.scratch, one.disk.size)
        file = {"driver": "file", "filename": path, "discard": "unmap"}
        self._qmp.execute("blockdev-add", {"driver": "raw", "node-name": one.scratch, "file": file})
        self._qmp.execute(
            "blockdev-add",
            {
                "driver": "copy-before-write",
                "node-name": one.filter,
                "file": one.disk.node,
                "target": one.scratch,
                "on-cbw-error": "break-snapshot",
                "cbw-timeout": _FILTER_PATIENCE,
            },
        )

    def _add_overlay(self, one: Held) -> None:
        path = f"{self._scratch.path}/{one.scratch}"
        make_qcow2(path, one.disk.size)
        self._scratch.reserve(path, one.disk.size)
        file = {"driver": "file", "filename": path}
        self._qmp.execute(
            "blockdev-add", {"driver": "qcow2", "node-name": one.scratch, "backing": one.disk.node, "file": file}
        )

    def _new_bitmaps(self) -> list[Command]:
        return [
            (
                "block-dirty-bitmap-add",
                {
                    "node": one.disk.node,
                    "name": one.bitmap,
                    "persistent": one.disk.keeps_bitmaps,
                    "granularity": _GRANULARITY,
                },
            )
            for one in self._disks
        ]

    def _copies(self) -> list[Command]:
        actions: list[Command] = []
        for one in self._disks:
            if not one.since:
                continue
            copy = {"node": one.disk.node, "name": frozen(one.since)}
            actions.append(("block-dirty-bitmap-add", {**copy, "disabled": True, "granularity": _GRANULARITY}))
            merged = {"node": one.disk.node, "target": copy["name"], "bitmaps": [one.since]}
            actions.append(("block-dirty-bitmap-merge", merged))
        return actions

    def _jobs(self) -> list[Command]:
        return [
            (
                "blockdev-backup",
                {
                    "job-id": one.export,
                    "device": one.disk.node,
                    "target": one.scratch,
                    "sync": "none",
                    "filter-node-name": one.filter,
                },
            )
            for one in self._disks
        ]


def _transaction(actions: Sequence[Command]) -> Command:
    return ("transaction", {"actions": [{"type": kind, "data": data} for kind, data in actions]})
