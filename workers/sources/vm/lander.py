"""Brings a machine's point back: ``disk0.raw`` or ``disk0.qcow2`` and so on, with the papers beside them.

A disk gets its name when all of it is there, so a restore that was killed leaves nothing that looks like a disk. The
same restore again brings what is missing: with ``skip`` what is there stays.

Rule of the file: what is damaged is a notice and leaves nothing; a target that cannot take it ends the restore.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from shared.contracts.work import Progress, RestoreDone, RestoreInstruction
from shared.errors import SkyharborError
from shared.model.backup import ConflictRule, RestoreStats
from shared.vault.entry import Entry, EntryKind
from shared.vault.reader import PointReader
from workers.disks.paths import restore_by_path
from workers.engine.file_writing import raise_if_full
from workers.engine.landing import is_safe
from workers.engine.notices import Notices, reason
from workers.engine.placing import NewFile, place
from workers.engine.ports import Control
from workers.engine.selection import Selection
from workers.sources.vm.contents import pieces
from workers.sources.vm.qcow2 import CLUSTER, Qcow2Writer

FORMATS: Final = ("raw", "qcow2")
_RAW = b".raw"
_THREADS = 4
_MODE = 0o600
_TELL_EVERY = 64 * 1024 * 1024
_ZEROS = bytes(CLUSTER)
_BAD_OBJECT = frozenset({"object-damaged", "object-missing"})

Write = Callable[[int, memoryview], None]


def restore_machine(
    reader: PointReader,
    instruction: RestoreInstruction,
    *,
    control: Control,
    folder: str,  # noqa: ARG001
) -> RestoreDone:
    """Bring disks and papers back into the folder ``target``, which is made when it is missing, or files out of disks.

    The option ``format`` is ``raw`` (sparse, the default) or ``qcow2``. Raises ``bad-request`` for another one,
    ``path-not-in-point``, ``target-invalid``, ``target-full``, ``Stop`` and the store's errors.
    """
    image_format = instruction.options.get("format", "raw")
    if image_format not in FORMATS:
        raise SkyharborError("bad-request", f"no disk can be restored as {image_format!r}: raw or qcow2")

    def whole(paths: Sequence[str]) -> RestoreDone:
        selection = Selection(reader, paths)
        target = _open_target(instruction.target)
        pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="vm-restore")
        try:
            return _Run(reader, target, instruction.conflict, image_format, control, pool).fly(selection)
        finally:
            pool.shutdown(cancel_futures=True)
            os.close(target)

    return restore_by_path(
        reader,
        target=instruction.target,
        paths=instruction.paths,
        conflict=instruction.conflict,
        control=control,
        outside=whole,
    )


class _Run:
    def __init__(
        self,
        reader: PointReader,
        folder: int,
        rule: ConflictRule,
        image_format: str,
        control: Control,
        pool: ThreadPoolExecutor,
    ) -> None:
        self._reader = reader
        self._folder = folder
        self._rule = rule
        self._format = image_format
        self._control = control
        self._pool = pool
        self._notices = Notices()
        self._stats = RestoreStats()
        self._written = 0

    def fly(self, selection: Selection) -> RestoreDone:
        before = self._reader.bytes_read
        for entry in selection.entries():
            self._control.check()
            if isinstance(entry, SkyharborError):
                self._notices.say(b"", "damaged", f"some entries of the point cannot be read: {entry.detail}")
            elif not is_safe(entry.path) or b"/" in entry.path or entry.kind != EntryKind.FILE:
                self._notices.say(entry.path, "refused-path", "this is no file of a machine; it was not restored")
            else:
                self._land(entry)
        self._stats.bytes_read = self._reader.bytes_read - before
        self._stats.warnings = self._notices.count
        return RestoreDone(stats=self._stats, warnings=self._notices.listed())

    def _land(self, entry: Entry) -> None:
        as_image = self._format == "qcow2" and entry.path.endswith(_RAW)
        name = entry.path.removesuffix(_RAW) + b".qcow2" if as_image else entry.path
        try:
            made = None if self._is_kept(name) else self._make(entry, name, as_image=as_image)
        except SkyharborError as error:
            if error.code not in _BAD_OBJECT:
                raise
            self._notices.say(entry.path, "damaged", error.detail)
            return
        except IsADirectoryError:
            self._notices.say(entry.path, "target-conflict", "a directory of this name is in the way")
            return
        except OSError as error:
            raise_if_full(error)
            raise SkyharborError("target-invalid", f"{name.decode(errors='replace')}: {reason(error)}") from error
        if made is None:
            self._stats.files_skipped += 1
        else:
            self._stats.files_restored += 1
            self._stats.bytes_restored += entry.size
        self._tell()

    def _is_kept(self, name: bytes) -> bool:
        """Tell whether what is there stays, before hours go into what nobody wants."""
        if self._rule is not ConflictRule.SKIP:
            return False
        try:
            os.stat(name, dir_fd=self._folder, follow_symlinks=False)
        except FileNotFoundError:
            return False
        return True

    def _make(self, entry: Entry, name: bytes, *, as_image: bool) -> bytes | None:
        new = NewFile(self._folder)
        try:
            if as_image:
                image = Qcow2Writer(new.fd, entry.size)
                self._fill(entry, image.write)
                image.finish()
            else:
                self._fill(entry, lambda at, data: _write_sparse(new.fd, at, data))
                os.ftruncate(new.fd, entry.size)
            os.fchmod(new.fd, _MODE)
            return place(self._folder, name, self._rule, new.publish)
        finally:
            new.close()

    def _fill(self, entry: Entry, write: Write) -> None:
        told = 0
        for at, data in pieces(entry, self._reader.chunks, self._pool, self._control.check):
            write(at, data)
            self._written += len(data)
            told += len(data)
            if told >= _TELL_EVERY:
                told = 0
                self._tell()

    def _tell(self) -> None:
        stats, body = self._stats, self._reader.body
        self._control.progress(
            Progress(
                phase="restoring",
                files_done=stats.files_restored + stats.files_skipped,
                files_total=body.files,
                bytes_done=self._written,
                bytes_total=body.bytes,
                bytes_transferred=self._reader.bytes_read,
            )
        )


def _open_target(target: str) -> int:
    if not os.path.isabs(target):
        raise SkyharborError("target-invalid", f"{target} is not an absolute path")
    try:
        os.makedirs(target, exist_ok=True)
        return os.open(target, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise_if_full(error)
        raise SkyharborError("target-invalid", f"{target}: {reason(error)}") from error


def _write_sparse(fd: int, at: int, data: memoryview) -> None:
    """Write what is not zeros: disks are full of blocks that were written once and hold nothing."""
    for begin, end in _with_bytes(data):
        view = data[begin:end]
        offset = at + begin
        while len(view):
            done = os.pwrite(fd, view, offset)
            view, offset = view[done:], offset + done


def _with_bytes(data: memoryview) -> Iterator[tuple[int, int]]:
    begin = -1
    for at in range(0, len(data), CLUSTER):
        part = data[at : at + CLUSTER]
        if part == _ZEROS[: len(part)]:
            if begin >= 0:
                yield begin, at
            begin = -1
        elif begin < 0:
            begin = at
    if begin >= 0:
        yield begin, len(data)
