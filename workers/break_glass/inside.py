"""What is inside of the disks of a machine's point, for listing and for restoring.

Rule of the file: it decides what a path means; reading disks and restoring out of them is ``workers.disks``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from shared.contracts.work import RestoreDone
from shared.errors import SkyharborError
from shared.model.backup import ConflictRule
from shared.vault.entry import Entry, EntryKind
from shared.vault.reader import PointReader
from workers.disks.browser import MACHINE, Area, Browser, Found, disks_of
from workers.disks.parser import UNREADABLE
from workers.disks.paths import restore_by_path
from workers.engine.notices import shown
from workers.engine.ports import Control
from workers.engine.restore import restore_point


class Inside(NamedTuple):
    """An entry out of a disk. ``holds`` is what a part of a disk has in it, ``note`` why something cannot be read."""

    entry: Entry
    holds: str = ""
    note: str = ""


Outcome = Inside | SkyharborError


def parts_of_disks(reader: PointReader) -> Iterator[Outcome]:
    """Yield the parts of all disks of a machine's point, or why they cannot be had; nothing for other points."""
    if reader.body.workload != MACHINE:
        return
    disks = disks_of(reader)
    try:
        if disks:
            yield from inside_of(reader, [b"disk%d" % number for number in sorted(disks)])
    except SkyharborError as error:
        if error.code != UNREADABLE:
            raise
        yield error


def inside_of(
    reader: PointReader, paths: Sequence[bytes], *, say: Callable[[str], None] = lambda _: None
) -> Iterator[Outcome]:
    """Yield the parts of a disk for the path of one, and for longer ones the nodes there and below; streams.

    What cannot be read is an error in its place, and the rest follows. ``say`` is told what people should know of a
    file system as a whole.
    """
    with Browser(reader) as browser:
        for path in paths:
            if b"/" not in path:
                for area in browser.areas_at(path):
                    yield Inside(_folder(area), area.info.holds, area.info.trouble)
                continue
            top = browser.find(path)[-1]
            for text in browser.notes(top.area):
                say(f"note: {shown(top.area.path)}: {text}")
            for one in browser.walk(top, full=False):
                if isinstance(one, Found):
                    yield Inside(one.entry, note=one.trouble)
                else:
                    yield SkyharborError(UNREADABLE, f"{shown(one.path)}: {one.text}")


def restore(
    reader: PointReader, *, target: str, paths: Sequence[str], conflict: ConflictRule, control: Control
) -> RestoreDone:
    """Restore paths of a point and paths inside of its disks, as they are given."""
    return restore_by_path(
        reader,
        target=target,
        paths=paths,
        conflict=conflict,
        control=control,
        outside=lambda others: restore_point(reader, target=target, paths=others, conflict=conflict, control=control),
    )


def _folder(area: Area) -> Entry:
    return Entry(area.path, int(EntryKind.DIRECTORY), 0o755, 0, 0, area.info.size, 0, 0, area.number, 0)
