#!/usr/bin/env python3
"""Restore recovery points from a Skyharbor vault when nothing is left but the vault and the passphrase.

    pip install 'cryptography>=44' zstandard blake3
    python read_vault.py --vault DIR --machine NAME --passphrase-file FILE list
    python read_vault.py --vault DIR --machine NAME --passphrase-file FILE ls latest
    python read_vault.py --vault DIR --machine NAME --passphrase-file FILE restore latest --to NEW-DIR

This one file is all you need, with Python 3.11 or newer on Linux and those three packages (msgpack is decoded here,
so that there is no fourth to find). It was written from ``docs/format/vault-v1.md`` alone and shares nothing with
Skyharbor; "§" in a comment is a section of that text. The vault is only read. One that lies in an object store is
copied into a folder first, names kept.

What is written lies below ``--to``, which must be new or empty: ``/srv/data`` becomes ``NEW-DIR/srv/data``. Run it as
root to get owners and devices back. A file comes back whole or not at all; what could not be done is said on stderr.
Exit status: 0 everything is back, 3 all but some attributes, 1 something was lost, 2 wrong usage. If it was
interrupted, remove NEW-DIR and begin again.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import fcntl
import functools
import hashlib
import hmac
import io
import json
import os
import re
import signal
import stat
import struct
import sys
import unicodedata
import uuid
from collections import Counter, namedtuple
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from itertools import accumulate, chain
from pathlib import Path
from typing import Any

import zstandard
from blake3 import blake3
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

ID = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")  # §1
PACK = re.compile(r"packs/[dm]/([0-9a-f]{2})/\1[0-9a-f]{62}")
FILE, DIRECTORY, SYMLINK, FIFO, SOCKET, CHARACTER, BLOCK = range(1, 8)  # §5.1, column 2
NODES = {FIFO: stat.S_IFIFO, SOCKET: stat.S_IFSOCK, CHARACTER: stat.S_IFCHR, BLOCK: stat.S_IFBLK}
CHATTR = 0x6293C4FF  # §5.1, column 18

Segment = namedtuple("Segment", "pack ordinal offset stored raw")  # §3; the offset is that of its frame
Entry = namedtuple("Entry", "path kind mode uid gid size mtime chunks target device first xattrs holes flags")  # §5.1


class Lost(Exception):
    """Something is missing, damaged, or not what it must be."""


# Whatever bytes can lead to that are not what they should be. Who catches it says what is lost, and goes on.
BAD = (Lost, zstandard.ZstdError, struct.error, LookupError, TypeError, ValueError, OverflowError, OSError)


class Diary:
    """Says what went wrong, and remembers how bad it was."""

    def __init__(self) -> None:
        self.lost = 0
        self.not_kept: dict[str, list[str]] = {}

    def note(self, what: str, why: object) -> None:
        """Nothing is lost by it."""
        print(f"{what}: {why}", file=sys.stderr)

    def lose(self, what: str, why: object) -> None:
        """Something is."""
        self.lost += 1
        self.note(f"LOST {what}", why)

    @contextlib.contextmanager
    def keeping(self, attribute: str, path: bytes) -> Iterator[None]:
        """An attribute that cannot be set costs nothing else."""
        try:
            yield
        except (OSError, OverflowError) as why:
            self.not_kept.setdefault(attribute, []).append(f"{shown(path)} ({why})")

    def status(self) -> int:
        """The exit status; attributes are said only here, because many files tend to lack the same ones."""
        for attribute, places in self.not_kept.items():
            self.note(f"NOT KEPT {attribute}", f"{len(places)} times, first at {places[0]}")
        return 1 if self.lost else 3 if self.not_kept else 0


def shown(path: bytes) -> str:
    """The path for people: odd bytes never reach the terminal."""
    text = os.fsdecode(path)
    return text if text.isprintable() else repr(path)[2:-1]


# ------------------------------------------------------------------------------------------------ bytes and keys


def msgpack(data: bytes) -> Any:
    """Decode one msgpack value (§5): text to ``str``, binary to ``bytes``; there are no extension types."""
    stream = io.BytesIO(data)

    def take(size: int) -> bytes:
        if len(piece := stream.read(size)) != size:
            raise Lost("a value is longer than what holds it")
        return piece

    def number(code: str) -> Any:
        return struct.unpack(">" + code, take(struct.calcsize(code)))[0]

    def text(size: int) -> str:
        return take(size).decode(errors="surrogateescape")

    def array(count: int) -> list[Any]:
        return [value() for _ in range(count)]

    def mapping(count: int) -> dict[Any, Any]:
        return {value(): value() for _ in range(count)}

    short: Any = ((0x00, 0x80, int), (0x80, 0x90, mapping), (0x90, 0xA0, array), (0xA0, 0xC0, text))
    long: Any = ((0xC4, "BHI", take), (0xD9, "BHI", text), (0xDC, "HI", array), (0xDE, "HI", mapping))

    def value() -> Any:
        head = number("B")
        for first, end, read in short:
            if first <= head < end:
                return read(head - first)
        for first, sizes, read in long:
            if first <= head < first + len(sizes):
                return read(number(sizes[head - first]))
        if 0xCA <= head <= 0xD3:
            return number("fdBHIQbhiq"[head - 0xCA])
        if head < 0xE0:
            return {0xC0: None, 0xC2: False, 0xC3: True}[head]
        return head - 256

    return value()


def expanded(data: bytes, size: int, limit: int) -> bytes:
    """§6, Limits: how much comes out is checked before anything is expanded."""
    if size > limit or zstandard.frame_content_size(data) != size:
        raise Lost("compressed data of a wrong size")
    return zstandard.ZstdDecompressor().decompress(data)


def sized(data: bytes, limit: int) -> bytes:
    """``u64 size ‖ zstd frame``, the shape of directories and manifests."""
    return expanded(data[8:], int.from_bytes(data[:8], "little"), limit)


def hkdf(key: bytes, info: str, salt: bytes | None = None) -> bytes:
    """§2.1."""
    return HKDF(SHA256(), 32, salt, b"skyharbor/v1/" + info.encode()).derive(key)


def opened(key: bytes, nonce: int, sealed: bytes, bound: bytes) -> bytes:
    """§2.1: AES-256-GCM. The tag proves every bit of ``sealed`` and of ``bound``."""
    try:
        return AESGCM(key).decrypt(nonce.to_bytes(12, "big"), sealed, bound)
    except InvalidTag:
        raise Lost("does not open (damaged, or another machine's)") from None


def xor(left: bytes, right: bytes) -> bytes:
    """Byte by byte."""
    return bytes(a ^ b for a, b in zip(left, right, strict=True))


def cut(data: bytes, size: int) -> list[bytes]:
    """Into pieces of this size."""
    return [data[at : at + size] for at in range(0, len(data), size)]


def canonical(fields: dict[str, Any]) -> bytes:
    """§2.2: canonical JSON."""
    return json.dumps(fields, sort_keys=True, separators=(",", ":")).encode()


def open_slot(slot: dict[str, Any], machine: str, passphrase: str) -> bytes:
    """§2.2, step by step: the DEK."""
    if (slot["kind"], slot["kdf"]) != ("passphrase", "argon2id"):
        raise Lost("a key slot is of another kind")
    memory, iterations, lanes = slot["memory_kib"], slot["iterations"], slot["lanes"]
    if memory > 1 << 20 or iterations > 64 or lanes > 64:
        raise Lost("a key slot asks for more work than any honest one")
    names = ("kind", "kdf", "memory_kib", "iterations", "lanes", "salt")
    bound_fields = {"machine_id": machine, **{name: slot[name] for name in names}}
    all_fields = {**bound_fields, **{name: slot[name] for name in ("nonce", "wrapped", "commitment")}}
    if hashlib.sha256(b"skyharbor/v1/slot-id\0" + canonical(all_fields)).hexdigest()[:32] != slot["slot_id"]:
        raise Lost("a key slot is damaged, or another machine's")
    bound = b"skyharbor/v1/slot\0" + canonical(bound_fields)
    salt, nonce, wrapped, commitment = (base64.b64decode(slot[n]) for n in ("salt", "nonce", "wrapped", "commitment"))
    kdf = Argon2id(salt=salt, length=64, iterations=iterations, lanes=lanes, memory_cost=memory)
    both = kdf.derive(unicodedata.normalize("NFC", passphrase).encode())
    if not hmac.compare_digest(hmac.digest(both[32:], bound, "sha256"), commitment):
        raise Lost("the passphrase is wrong")
    return opened(both[:32], int.from_bytes(nonce, "big"), wrapped, bound)


# ------------------------------------------------------------------------------------------------ the vault


class Vault:
    """The vault folder, opened for one machine. ``index/`` is never looked at: the packs' directories say the same."""

    def __init__(self, root: Path, machine: str, passphrase: str, diary: Diary) -> None:
        self.root, self.diary = root, diary
        self.machine, slots = self._find_machine(machine)
        self.id = self._find_id()
        dek = self._find_dek(slots, passphrase)
        self.id_key, self.mask_key = hkdf(dek, "chunk-id"), hkdf(dek, "frame-mask")
        self.pack_key, self.metadata_key = hkdf(dek, "pack"), hkdf(dek, "metadata")
        self.places: dict[bytes, list[tuple[Any, int]]] = {}  # chunk id -> segments, and which of their chunks it is
        self.known: set[str] = set()
        self.segment = functools.lru_cache(maxsize=8)(self._segment)  # neighbours in a file are neighbours in a pack

    def _find_machine(self, wanted: str) -> tuple[str, list[Any]]:
        """§1.2: the machine's id, and the slots of its cards, latest first. Without a card the id will do."""
        cards: dict[str, list[tuple[str, str, list[Any]]]] = {path.name: [] for path in self.root.glob("points/*")}
        for path in self._files("machines/*"):
            try:
                card = json.loads(path.read_bytes())
                if path.name.startswith(f"{card['id']}."):
                    cards.setdefault(card["id"], []).append((card["written_at"], card["name"], card["slots"]))
            except BAD as why:
                self.diary.note(f"machines/{path.name} is passed over", why)
        names = {machine: max(several)[1] if several else "?" for machine, several in cards.items()}
        found = [machine for machine, name in names.items() if wanted in (machine, name)]
        if len(found) != 1:
            raise Lost(f"{len(found)} machines are called {wanted!r}; the names by id are {names}")
        return found[0], [slot for _, _, slots in sorted(cards[found[0]], reverse=True) for slot in slots[:32]]

    def _find_id(self) -> bytes:
        """§1.1: from ``vault.json``, or else from any manifest. A wrong id would open nothing."""
        try:
            header = json.loads((self.root / "vault.json").read_bytes())
            if header["magic"] == "skyharbor-vault" and (header["format"] != 1 or header.get("mandatory_flags")):
                sys.exit("this vault needs a newer reader")
            check = header.pop("check", None)
            if check not in (None, hashlib.sha256(canonical(header)).hexdigest()[:32]):
                raise Lost("its check does not fit the rest of it")
            return uuid.UUID(str(header["id"])).bytes
        except BAD as why:
            self.diary.note("vault.json cannot be read, but a manifest tells the vault's id as well", why)
        ids = Counter(str(header["vault"]) for header in self._headers())
        if not ids:
            raise Lost("neither vault.json nor any manifest tells the vault's id")
        return uuid.UUID(ids.most_common(1)[0][0]).bytes

    def _find_dek(self, slots: list[Any], passphrase: str) -> bytes:
        """From the slots of the cards, and where they fail from those in the manifests."""
        reasons: dict[str, str] = {}
        for slot in chain(slots, (slot for header in self._headers() for slot in header["slots"][:32])):
            if str(slot) not in reasons:
                try:
                    return open_slot(slot, self.machine, passphrase)
                except BAD as why:
                    reasons[str(slot)] = str(why)
        raise Lost(f"no key slot opens: {'; '.join(sorted(set(reasons.values()))) or 'there is none'}")

    # ---------------------------------------------------------------------------- points (§5)

    def _files(self, pattern: str) -> Iterator[Path]:
        """§1: objects are files. Reading what else has found its way into the folder, such as a FIFO, may never end."""
        return (path for path in self.root.glob(pattern) if path.is_file())

    def _manifests(self) -> list[Path]:
        """Newest first: the names sort by time. Other names are foreign (§1), and fenced ones are no points (§1.4)."""
        paths = list(self._files(f"points/{self.machine}/*/*"))
        fenced = {path.parts[-2:] for path in self._files(f"fenced/{self.machine}/*/*")}
        ours = (path for path in paths if ID.fullmatch(path.name) and ID.fullmatch(path.parent.name))
        return sorted((p for p in ours if p.parts[-2:] not in fenced), key=lambda path: path.name, reverse=True)

    def _headers(self) -> Iterator[dict[str, Any]]:
        for path in self._manifests():
            with contextlib.suppress(*BAD):  # it is said when the point's turn comes
                yield self._header(path)[2]

    def _header(self, path: Path) -> tuple[bytes, int, dict[str, Any]]:
        """All bytes of the manifest, where its ciphertext begins, and its plain JSON."""
        data = path.read_bytes()
        magic, version, size = struct.unpack_from("<8sH2xI", data)
        if (magic, version) != (b"SKYPOINT", 1) or size > 1 << 20:
            raise Lost("not a manifest of version 1")
        header = json.loads(data[48 : 48 + size])
        if [header["machine"], header["item"], header["point"]] != [*path.parts[-3:]]:
            raise Lost("not the manifest that its name says")
        return data, 48 + size, header

    def points(self, items: list[str], wanted: str = "") -> Iterator[dict[str, Any]]:
        """The points of these items (names or ids; none means all), newest first: all, one by its id, or the latest."""
        passed: set[str] = set()
        for path in self._manifests():
            *_, item, point = path.parts
            if wanted not in ("", "latest", point) or (wanted == "latest" and item in passed):
                continue
            try:
                data, at, header = self._header(path)
                if uuid.UUID(str(header["vault"])).bytes != self.id:
                    raise Lost("of another vault")
                key = hkdf(self.metadata_key, "metadata-object", data[16:48])
                manifest = msgpack(sized(opened(key, 0, data[at:], data[:at]), 2**31 - 1))
                manifest["body"] |= {"item": item, "point": point}
                name = manifest["body"]["item_name"]
            except BAD as why:
                self.diary.lose(f"point {item}/{point}", why)
                passed.add(item)  # an older point is not the latest
                continue
            # An item that was removed and added again has two ids and one name.
            if (not items or item in items or name in items) and not (wanted == "latest" and name in passed):
                yield manifest
            passed |= {item, name}

    def entries(self, point: dict[str, Any]) -> Iterator[Any]:
        """Everything in the point, directories before what is in them. A lost page is said and passed over."""
        for pack, _ in point["packs"]:
            self.learn(pack)
        for path, ids, count in point["pages"]:
            try:
                rows = rows_of(msgpack(b"".join(map(self.chunk, cut(ids, 32)))))
                if len(rows) != count or rows[0].path != path:
                    raise Lost("it is another page")
            except BAD as why:
                self.diary.lose(f"{count} entries from {shown(path)} on", why)
            else:
                yield from rows

    # ---------------------------------------------------------------------------- packs (§3)

    def chunk(self, chunk_id: bytes) -> bytes:
        """The bytes with this id, from wherever a sound copy is: the point's packs first, then all others (§6)."""
        reason = "no pack has it"
        for look_further in (False, True):
            if look_further:
                self.learn_all()
            for segment, number in self.places.get(chunk_id, ()):
                try:
                    chunk = self.segment(segment)[number]
                    if blake3(chunk, key=self.id_key).digest() == chunk_id:
                        return chunk
                except BAD as why:
                    reason = f"{segment.pack}, segment {segment.ordinal}: {why}"
        raise Lost(f"chunk {chunk_id.hex()[:16]}: {reason}")

    def learn_all(self) -> None:
        """Look into every pack that there is."""
        for path in sorted(self._files("packs/*/*/*")):
            self.learn(path.relative_to(self.root).as_posix(), listed=False)

    def learn(self, pack: str, *, listed: bool = True) -> None:
        """Note where a pack's chunks are. A pack that the point does not list may well be another machine's."""
        if pack in self.known or not PACK.fullmatch(pack):
            return
        self.known.add(pack)
        try:
            try:
                found = self._directory(pack)
            except BAD as why:
                if not listed:
                    return
                self.diary.note(f"{pack} has no sound directory, so its segments are searched", why)
                found = list(self._walk(pack))
            for segment, ids in found:
                for number, chunk_id in enumerate(ids):
                    self.places.setdefault(chunk_id, []).append((segment, number))
        except BAD as why:
            self.diary.note(pack, why)

    def _read(self, pack: str, offset: int, size: int) -> bytes:
        with open(self.root / pack, "rb") as file:
            file.seek(offset)
            return file.read(size)

    def _open(self, pack: str, magic: bytes, ordinal: int, offset: int, size: int) -> bytes:
        """Of the header only the salt is needed: the tag proves the rest (§2.1)."""
        key = hkdf(self.pack_key, "pack-object", self._read(pack, 32, 32))
        binding = magic + self.id + struct.pack("<BH", 1 if pack.startswith("packs/d/") else 2, 1)
        return opened(key, ordinal, self._read(pack, offset, size), binding)

    def _directory(self, pack: str) -> list[tuple[Any, list[bytes]]]:
        end = os.path.getsize(self.root / pack) - 16
        size, number, magic = struct.unpack("<II8s", self._read(pack, max(end, 0), 16))
        if magic != b"SKYPEND1" or size > end - 64:
            raise Lost("no trailer")
        columns = sized(self._open(pack, b"SKYPEND1", 2**32 - 1, end - size, size), 64 * end)
        segments, chunks = struct.unpack_from("<II", columns)
        offsets, stored, raw, counts = (
            struct.unpack_from(f"<{segments}I", columns, 8 + 4 * segments * column) for column in range(4)
        )
        ids = cut(columns[8 + 16 * segments + 4 * chunks :], 32)
        if not (len(ids) == chunks == sum(counts) and segments == number):
            raise Lost("a directory that does not add up")
        found = map(Segment, [pack] * segments, range(segments), offsets, stored, raw)
        ends = zip(found, counts, accumulate(counts), strict=True)
        return [(segment, ids[last - count : last]) for segment, count, last in ends]

    def _walk(self, pack: str) -> Iterator[tuple[Any, list[bytes]]]:
        """§3, "Without the directory": search each frame by its masked magic, from where the one before it ended."""
        data = (self.root / pack).read_bytes()
        at, ordinal, give_up = 64, 0, 1000
        while ordinal < give_up:
            mask = blake3(data[32:64] + ordinal.to_bytes(8, "big"), key=self.mask_key).digest()[:16]
            offset = data.find(xor(struct.pack("<I4s", ordinal, b"SEG1"), mask[8:]), at + 8) - 8
            if offset >= at:
                stored, raw = struct.unpack("<II", xor(data[offset : offset + 8], mask[:8]))
                segment = Segment(pack, ordinal, offset, stored, raw)
                at, give_up = offset + 16, ordinal + 1000
                try:
                    yield segment, [blake3(chunk, key=self.id_key).digest() for chunk in self.segment(segment)]
                    at += stored
                except BAD as why:
                    self.diary.note(f"{pack}, segment {ordinal}", why)
            ordinal += 1

    def _segment(self, segment: Any) -> list[bytes]:
        """All chunks of a segment."""
        plain = self._open(segment.pack, b"SKYPACK1", segment.ordinal, segment.offset + 16, segment.stored)
        codec, count = struct.unpack_from("<B3xI", plain)
        lengths = struct.unpack_from(f"<{count}I", plain, 8)
        payload = plain[8 + 4 * count :]
        if codec == 1:
            payload = expanded(payload, segment.raw, 64 << 20)
        if codec > 1 or not len(payload) == segment.raw == sum(lengths):
            raise Lost("a wrong length, or an unknown codec")
        return [payload[last - size : last] for size, last in zip(lengths, accumulate(lengths), strict=True)]


def rows_of(page: list[Any]) -> list[Any]:
    """§5.1: the columns of a page as rows. Columns behind the 19th are none of our business."""
    rows, ids = range(len(page[1])), cut(page[12], 32)
    *numbers, counts = (
        struct.unpack(f"<{len(rows)}{code}", page[at]) for at, code in zip((*range(2, 8), 11), "BHIIqqI", strict=True)
    )
    if page[0] != 1 or len(ids) != sum(counts):
        raise Lost("a page of another version, or one that does not add up")
    chunks = [ids[last - count : last] for count, last in zip(counts, accumulate(counts), strict=True)]
    few = zip((*page[13:19], [])[:6], (b"", 0, b"", (), (), 0), strict=True)  # the 19th may be missing
    rare = [[dict(column).get(row, none) for row in rows] for column, none in few]
    return list(map(Entry, page[1], *numbers, chunks, *rare))


def between_holes(entry: Any) -> Iterator[tuple[int, int]]:
    """§5.1: offset and length of what the chunks fill."""
    at = 0
    for offset, length in (*entry.holes, (entry.size, 0)):
        if offset < at or length < 0:
            raise Lost("its holes are not in order, or not in the file")
        yield at, offset - at
        at = offset + length


# ------------------------------------------------------------------------------------------------ putting it back


class Tree:
    """What is restored, below one directory. Every path is walked from there, and no symlink is ever followed."""

    def __init__(self, to: str, vault: Vault, diary: Diary) -> None:
        os.umask(0o077)  # nobody looks in before the modes are back
        with contextlib.suppress(FileExistsError):
            os.mkdir(to)
        self.root = os.open(to, os.O_DIRECTORY)
        if os.listdir(self.root):
            raise Lost(f"{to} is not empty")
        self.vault, self.diary, self.restored = vault, diary, 0
        self.links: list[Any] = []
        self.directories: list[Any] = []
        self.flagged: list[Any] = []

    def restore(self, point: dict[str, Any]) -> None:
        """Make everything but what must wait for ``finish``."""
        for entry in self.vault.entries(point):
            if entry.first:
                self.links.append(entry)
            else:
                self._attempt(self._make, entry)

    def finish(self) -> None:
        """§5.2: further names, then directories, inmost first; flags last, because they forbid all of that."""
        for entry in self.links:
            self._attempt(self._link, entry)
        for entry in reversed(self.directories):
            self._attempt(self._dress, entry)
        for entry in self.flagged:
            self._attempt(self._flag, entry)
        os.sync()

    def _attempt(self, step: Callable[[Any], None], entry: Any) -> None:
        try:
            step(entry)
        except BAD as why:
            self.diary.lose(shown(entry.path), why)

    @contextlib.contextmanager
    def _parent(self, path: bytes) -> Iterator[tuple[int, bytes]]:
        """The open directory that the path's last name lies in, made if it is missing, and that name."""
        *above, name = parts = path.split(b"/")
        if any(part in (b"", b".", b"..") or b"\0" in part for part in parts):
            raise Lost("a path that may lead out of the tree")
        fd = os.dup(self.root)
        try:
            for part in above:
                try:
                    below = os.open(part, os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=fd)
                except FileNotFoundError:
                    os.mkdir(part, dir_fd=fd)
                    below = os.open(part, os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=fd)
                os.close(fd)
                fd = below
            yield fd, name
        finally:
            os.close(fd)

    def _make(self, entry: Any) -> None:
        if entry.kind == DIRECTORY:
            with self._parent(entry.path + b"/x"):  # there already: another item's, or made for want of a lost page
                return self.directories.append(entry)
        with self._parent(entry.path) as (parent, name):
            if entry.kind == FILE:
                self._write(entry, parent, name)
            elif entry.kind == SYMLINK:
                os.symlink(entry.target, name, dir_fd=parent)
            else:
                os.mknod(name, NODES[entry.kind] | 0o600, entry.device, dir_fd=parent)
        return self._dress(entry)

    def _write(self, entry: Any, parent: int, name: bytes) -> None:
        """§5.1: the data of all chunks, laid around the holes. What cannot be completed is taken away again."""
        fd = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600, dir_fd=parent)
        try:
            with os.fdopen(fd, "wb") as out:
                chunks, data = map(self.vault.chunk, entry.chunks), b""
                for offset, room in between_holes(entry):
                    out.seek(offset)
                    while room:
                        data = data or next(chunks, b"")
                        if not data:
                            raise Lost("it has less data than room between its holes")
                        out.write(data[:room])
                        room, data = room - len(data[:room]), data[room:]
                if data or next(chunks, b""):
                    raise Lost("it has more data than room between its holes")
                out.truncate(entry.size)
        except BaseException:
            os.unlink(name, dir_fd=parent)
            raise

    def _link(self, entry: Any) -> None:
        with self._parent(entry.first) as (old_parent, old), self._parent(entry.path) as (parent, name):
            os.link(old, name, src_dir_fd=old_parent, dst_dir_fd=parent, follow_symlinks=False)
        self.restored += 1

    def _dress(self, entry: Any) -> None:
        """Attributes, in an order in which none undoes another (§5.2)."""
        keeping = functools.partial(self.diary.keeping, path=entry.path)
        with self._parent(entry.path) as (parent, name):
            mode = entry.mode & 0o1777  # without its owner a program must not be set-user-ID: it would serve another
            with keeping("owner"):
                os.chown(name, entry.uid, entry.gid, dir_fd=parent, follow_symlinks=False)
                mode = entry.mode
            for attribute, value in entry.xattrs:
                with keeping(f"xattr {shown(attribute)}"):
                    os.setxattr(b"/proc/self/fd/%d/%s" % (parent, name), attribute, value, follow_symlinks=False)
            if entry.kind != SYMLINK:
                with keeping("mode"):
                    os.chmod(name, mode, dir_fd=parent)
            with keeping("mtime"):
                os.utime(name, ns=(entry.mtime, entry.mtime), dir_fd=parent, follow_symlinks=False)
        if entry.flags:
            self.flagged.append(entry)
        self.restored += 1

    def _flag(self, entry: Any) -> None:
        with self._parent(entry.path) as (parent, name), self.diary.keeping("chattr flags", entry.path):
            fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=parent)
            try:
                (old,) = struct.unpack("<I", fcntl.ioctl(fd, 0x80086601, bytes(4)))  # FS_IOC_GETFLAGS
                flags = old & ~CHATTR | entry.flags & CHATTR  # the others are the file system's own
                fcntl.ioctl(fd, 0x40086602, struct.pack("<I", flags))  # FS_IOC_SETFLAGS
            finally:
                os.close(fd)


# ------------------------------------------------------------------------------------------------ the command line


def show_point(point: dict[str, Any]) -> None:
    """Two lines."""
    body = point["body"]
    print(f"{body['sealed_at']}  {body['point']}  {body['type']}, {body['files']} files, {body['bytes']} bytes")
    print(f"    item {body['item_name']} ({body['item']}):", *(shown(os.fsencode(path)) for path in body["paths"]))


def show_entry(entry: Any) -> None:
    """One line, like that of ``ls -l``."""
    kind = {FILE: stat.S_IFREG, DIRECTORY: stat.S_IFDIR, SYMLINK: stat.S_IFLNK, **NODES}.get(entry.kind, 0)
    when = datetime.fromtimestamp(entry.mtime // 10**9, UTC).strftime("%Y-%m-%d %H:%M:%S")
    further = f" -> {shown(entry.target)}" if entry.target else f" = /{shown(entry.first)}" if entry.first else ""
    line = f"{stat.filemode(kind | entry.mode)} {entry.uid:>6} {entry.gid:>6} {entry.size:>14} {when}"
    print(f"{line} /{shown(entry.path)}{further}")


def main() -> int:
    """Do what was asked for; return the exit status."""
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `ls latest | head` is no loss
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vault", required=True, type=Path, metavar="DIR")
    parser.add_argument("--machine", required=True, metavar="NAME", help="name or id")
    parser.add_argument("--passphrase-file", required=True, type=Path, metavar="FILE")
    parser.add_argument("--item", action="append", default=[], metavar="NAME", help="name or id; may be repeated")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="show the recovery points, newest first")
    for name, text in (("ls", "show what is in a point"), ("restore", "write it below a new directory")):
        command = commands.add_parser(name, help=text)
        command.add_argument("point", metavar="POINT", help="an id from `list`, or latest")
        if name == "restore":
            command.add_argument("--to", required=True, metavar="DIR", help="new or empty")
    asked, diary = parser.parse_args(), Diary()
    try:
        passphrase = re.sub("\r?\n\\Z", "", asked.passphrase_file.read_bytes().decode())  # §2.2
        vault = Vault(asked.vault, asked.machine, passphrase, diary)
        points = list(vault.points(asked.item, "" if asked.command == "list" else asked.point))
        if not points:
            raise Lost("there is no such point, see `list`")
        if asked.command == "restore":
            tree = Tree(asked.to, vault, diary)
            for point in points:
                tree.restore(point)
            tree.finish()
            print(f"{tree.restored} entries restored, {diary.lost} losses")
        elif asked.command == "ls":
            for entry in chain.from_iterable(map(vault.entries, points)):
                show_entry(entry)
        else:
            for point in points:
                show_point(point)
    except BAD as why:
        diary.lose("all", why)
    return diary.status()


if __name__ == "__main__":
    sys.exit(main())
