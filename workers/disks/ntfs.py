"""NTFS through libfsntfs (the ``disks`` extra): the port of ``file_system``.

Owners and rights of Windows have no place in a tree of Unix: a file's security descriptor is kept as the xattr
``user.ntfs.security``, its attributes as ``user.ntfs.attributes``, and further streams as ``user.<name>``.

Rule of the file: the file system's own files are not shown; what is not stored in plain (encrypted, moved elsewhere
by a reparse point) is named instead of handed out.
"""

from __future__ import annotations

import os
import struct
from collections import OrderedDict
from collections.abc import Iterator
from typing import Any

from shared.vault.entry import EntryKind
from workers.disks.file_system import NOBODY, Child, Node, Piece
from workers.disks.volume import Damaged, Unsupported, Volume

_ROOT, _LOG = 5, 2
_OWN_FILES = 24
_INDEX = (1 << 48) - 1
_READ_ONLY, _SYSTEM, _REPARSE, _ENCRYPTED = 0x1, 0x4, 0x400, 0x4000
_REPARSE_ATTRIBUTE, _NAME_ATTRIBUTE, _DATA_ATTRIBUTE = 0xC0, 0x30, 0x80
_EPOCH = 116_444_736_000_000_000  # 1970 in tenths of microseconds since 1601
_LARGEST_STREAM = 64 * 1024
_INTERIX = 2048
_KEPT = 4096
_LOG_HEAD = 128 * 1024  # more than two pages of any size
_NO_CLIENT = 0xFFFF
_CLEAN = 0x2

MISSING = "files of NTFS need the library libfsntfs, which is not installed here"


def is_ntfs(volume: Volume) -> bool:
    """Tell whether the first sector says so."""
    return volume.read(3, 8) == b"NTFS    "


class _FileObject:
    """A volume as the library wants it: a file object."""

    def __init__(self, volume: Volume) -> None:
        self._volume, self._at = volume, 0

    def read(self, size: int = -1) -> bytes:
        data = self._volume.read(self._at, self._volume.size - self._at if size < 0 else size)
        self._at += len(data)
        return data

    def seek(self, offset: int, whence: int = 0) -> None:
        self._at = offset + (0, self._at, self._volume.size)[whence]

    def tell(self) -> int:
        return self._at

    get_offset = tell

    def get_size(self) -> int:
        return self._volume.size


class Ntfs:
    """NTFS. Raises ``Damaged``, and ``Unsupported`` without the library."""

    root = _ROOT

    def __init__(self, volume: Volume) -> None:
        try:
            import pyfsntfs
        except ImportError:
            raise Unsupported(MISSING) from None
        self.notes: list[str] = []
        self._volume = pyfsntfs.volume()
        self._entries: OrderedDict[int, Any] = OrderedDict()
        try:
            self._volume.open_file_object(_FileObject(volume))
            self._entry(_ROOT)
            if not _is_at_rest(self.read(_LOG, 0, _LOG_HEAD)):
                self.notes.append("the file system was in use: what only its log has, the last seconds, is missing")
        except OSError as error:
            raise Damaged(_first_words(error)) from None

    def children(self, number: int) -> Iterator[Child]:
        """See the port."""
        try:
            yield from self._children(number)
        except OSError as error:
            raise Damaged(_first_words(error)) from None

    def node(self, number: int, *, full: bool) -> Node:
        """See the port."""
        try:
            return self._node(number, full=full)
        except OSError as error:
            raise Damaged(_first_words(error)) from None

    def pieces(self, number: int) -> Iterator[Piece] | None:  # noqa: ARG002 - the library reads what is compressed, too
        """See the port."""
        return None

    def read(self, number: int, offset: int, length: int) -> bytes:
        """See the port."""
        entry = self._entry(number)
        try:
            entry.seek(offset)
            return bytes(entry.read(length))
        except OSError as error:
            raise Damaged(_first_words(error)) from None

    # ── inside ───────────────────────────────────────────────────────────────────────────────────────

    def _entry(self, number: int) -> Any:
        entry = self._entries.get(number)
        if entry is None:
            try:
                entry = self._volume.get_file_entry(number)
            except OSError as error:
                raise Damaged(_first_words(error)) from None
            if entry is None or not entry.is_allocated():
                raise Damaged(f"file {number} is not in use")
            self._entries[number] = entry
            if len(self._entries) > _KEPT:
                self._entries.popitem(last=False)
        return entry

    def _children(self, number: int) -> Iterator[Child]:
        entry = self._entry(number)
        if not entry.has_directory_entries_index():
            raise Damaged(f"file {number} is no directory")
        for place in range(entry.number_of_sub_file_entries):
            try:
                below = entry.get_sub_file_entry(place)
                index = below.file_reference & _INDEX
                if index < _OWN_FILES:
                    continue
                name = below.name.encode("utf-8", "surrogatepass")
            except OSError:
                yield Child(b"", 0)
                continue
            self._entries[index] = below
            if len(self._entries) > _KEPT:
                self._entries.popitem(last=False)
            yield Child(name, index)

    def _node(self, number: int, *, full: bool) -> Node:
        entry = self._entry(number)
        flags = entry.file_attribute_flags or 0
        is_folder = bool(entry.has_directory_entries_index())
        mode = 0o755 if is_folder else 0o644 & ~(0o222 if flags & _READ_ONLY else 0)
        node = Node(
            number, int(EntryKind.DIRECTORY if is_folder else EntryKind.FILE), mode, NOBODY, NOBODY,
            0 if is_folder else entry.size or 0,
            _moment(entry.get_modification_time_as_integer()), _moment(entry.get_entry_modification_time_as_integer()),
        )  # fmt: skip
        if full or flags & (_REPARSE | _SYSTEM):
            self._refine(node, entry, flags)
        if full:
            self._dress(node, entry, flags)
        return node

    def _refine(self, node: Node, entry: Any, flags: int) -> None:
        kinds = [attribute.attribute_type for attribute in entry.attributes]
        if node.kind == EntryKind.FILE:
            # A short name for DOS is a name as well, and makes no hard link: one too many costs a look-up.
            node.links = max(1, kinds.count(_NAME_ATTRIBUTE))
        if flags & _REPARSE or _REPARSE_ATTRIBUTE in kinds:
            target = entry.symbolic_link_target
            node.kind, node.size = (int(EntryKind.SYMLINK), 0) if target else (node.kind, node.size)
            node.target = _target(target) if target else b""
            node.trouble = "" if target else "it is a reparse point: its content is elsewhere, or in a form of its own"
        elif flags & _ENCRYPTED and node.kind == EntryKind.FILE:
            node.trouble = "it is encrypted by Windows, and its key is not in the point"
        elif flags & _SYSTEM and node.kind == EntryKind.FILE and 16 <= node.size <= _INTERIX * 2:
            self._interix(node, entry)

    def _interix(self, node: Node, entry: Any) -> None:
        """Know what ntfs-3g makes of links and devices of Unix."""
        entry.seek(0)
        data = bytes(entry.read(node.size))
        if data.startswith(b"IntxLNK\1"):
            node.kind, node.size = int(EntryKind.SYMLINK), 0
            node.target = data[8:].decode("utf-16-le", "surrogatepass").encode("utf-8", "surrogatepass")
        elif data[:8] in (b"IntxCHR\0", b"IntxBLK\0") and len(data) >= 24:
            kind = EntryKind.CHAR_DEVICE if data[4:7] == b"CHR" else EntryKind.BLOCK_DEVICE
            major, minor = struct.unpack_from("<QQ", data, 8)
            node.kind, node.size, node.rdev = int(kind), 0, os.makedev(major & 0xFFFFFFFF, minor & 0xFFFFFFFF)

    def _dress(self, node: Node, entry: Any, flags: int) -> None:
        if node.kind not in (EntryKind.FILE, EntryKind.DIRECTORY):
            return
        found = [(b"user.ntfs.attributes", b"%#x" % flags)]
        descriptor = entry.security_descriptor_data
        if descriptor:
            found.append((b"user.ntfs.security", bytes(descriptor)))
        lost = []
        for stream in entry.alternate_data_streams:
            if stream.size > _LARGEST_STREAM:
                lost.append(f"stream {stream.name} of {stream.size} bytes")
                continue
            stream.seek(0)
            data = bytes(stream.read(stream.size)) if stream.size else b""
            found.append((b"user." + stream.name.encode("utf-8", "replace"), data))
        node.xattrs, node.lost = tuple(sorted(found)), ", ".join(lost)


def _is_at_rest(log: bytes) -> bool:
    """Tell whether the log has nothing to apply: it is empty, or its newest restart area has no client in it."""
    if not log.strip(b"\xff"):
        return True
    areas = []
    for at in (0, struct.unpack_from("<I", log, 16)[0] if log.startswith(b"RSTR") else 4096):
        if log[at : at + 4] == b"RSTR" and at + 64 <= len(log):
            begin = at + struct.unpack_from("<H", log, at + 24)[0]
            if begin + 16 <= len(log):
                areas.append(struct.unpack_from("<Q4xHH", log, begin))
    if not areas:
        return False
    _, client, flags = max(areas)
    return bool(client == _NO_CLIENT or flags & _CLEAN)


def _moment(time: int | None) -> int:
    return ((time or _EPOCH) - _EPOCH) * 100


def _target(target: str) -> bytes:
    """Turn a target of Windows into one of Unix: one on another drive leads nowhere, and is still told."""
    plain = target.removeprefix("\\??\\").replace("\\", "/")
    return plain.encode("utf-8", "surrogatepass")


def _first_words(error: OSError) -> str:
    """Return the first of the library's lines; the others are for its authors."""
    return str(error).split(". ")[0][:200]
