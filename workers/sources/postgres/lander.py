"""Makes of a point a data directory that is ready to start: it replays its log up to the target, and opens.

What happens when it dies: the directory has no ``pg_control`` yet, so that no server starts on it, and a file that
marks it as unfinished; the same restore, run again, clears it and begins anew. Nothing else is ever cleared.

Rule of the file: which file goes where; targets, increments and texts are elsewhere.
"""

from __future__ import annotations

import hashlib
import os
import pwd
import shutil
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence

from shared.contracts.work import Progress, RestoreDone, RestoreInstruction
from shared.errors import SkyharborError
from shared.model.backup import RestoreStats
from shared.vault.entry import Entry, EntryKind
from shared.vault.reader import PointReader
from workers.engine.notices import reason
from workers.engine.ports import Control
from workers.engine.restore import restore_point
from workers.sources.postgres import manifests, recovery, window
from workers.sources.postgres.increments import PREFIX
from workers.sources.postgres.lsn import parse_lsn, segment_of, segment_start
from workers.sources.postgres.targets import Target, choose
from workers.sources.postgres.unpacking import Owner, Placed, Unpacking, telling
from workers.sources.postgres.window import Window

UNFINISHED = b"skyharbor-restore-unfinished"
_CONTROL = b"global/pg_control"
_AUTO, _LABEL, _MANIFEST = b"postgresql.auto.conf", b"backup_label", b"backup_manifest"
_APART = frozenset(
    {_CONTROL, _AUTO, _LABEL, b"standby.signal", b"recovery.signal", b"postmaster.pid", b"tablespace_map"}
)
_OPTIONS = frozenset({"until", "owner", "tablespaces"})

Tree = dict[bytes, Entry]


def land_cluster(
    reader: PointReader,
    instruction: RestoreInstruction,
    *,
    control: Control,
    folder: str,  # noqa: ARG001 - nothing is needed meanwhile
) -> RestoreDone:
    """Restore a point of a cluster into a new or empty data directory; with paths, just these, as they are.

    Options: ``until`` (``targets.choose``), ``owner`` (a user's name), ``tablespaces`` (lines ``number=place`` or
    ``old place=place``; the others go beside the data directory, to ``<target>.tablespaces``). Raises ``bad-request``
    and ``target-invalid`` before anything is written. A point of dumps alone gives these.
    """
    if instruction.paths or not (reader.body.state.get(window.STATE) or "until" in instruction.options):
        return restore_point(
            reader,
            target=instruction.target,
            paths=instruction.paths,
            conflict=instruction.conflict,
            control=control,
        )
    return _Landing(reader, instruction, control).land()


class _Landing:
    def __init__(self, reader: PointReader, instruction: RestoreInstruction, control: Control) -> None:
        text = reader.body.state.get(window.STATE)
        if not text:
            raise SkyharborError("bad-request", "this point has no physical backup; restore its dumps by their paths")
        self._window: Window = window.decode(text)
        self._reader, self._control, self._options = reader, control, instruction.options
        if not self._options.keys() <= _OPTIONS:
            unknown = ", ".join(sorted(self._options.keys() - _OPTIONS))
            raise SkyharborError("bad-request", f"a restore of a cluster has no option {unknown}")
        self._target: Target = choose(self._window, self._options.get("until", ""))
        self._root = _checked_folder(instruction.target)
        self._trees = [self._tree(one.name) for one in self._window.chain(self._target.backup)]
        self._spaces = self._places_of_tablespaces()
        self._owner = _owner(self._options.get("owner", ""), self._root)
        self._unpacking = Unpacking(reader, owner=self._owner, check=control.check, told=self._told)
        self._total = sum(entry.size for entry in self._trees[-1].values())

    def land(self) -> RestoreDone:
        """Do it."""
        before = self._reader.bytes_read
        roots = [self._root, *self._spaces.values()]
        for root in roots:
            with telling(root):
                _clear_unfinished(root)
        newest = self._trees[-1]
        like = newest.get(b"pgdata/PG_VERSION")
        mode = 0o750 if like is not None and like.mode & stat.S_IRGRP else 0o700
        for root in roots:
            self._unpacking.folder(root, like, mode=mode)
            self._unpacking.small(root + b"/" + UNFINISHED, b"", like)
        self._folders_and_links(newest)
        self._unpacking.files_of(list(self._placed(newest)))
        self._unpacking.files_of(list(self._log()))
        self._own_files(newest)
        self._unpacking.small(self._at(_CONTROL), self._content(newest, _CONTROL), newest[b"pgdata/" + _CONTROL])
        self._unpacking.dress_folders(but=roots)
        for root in roots:
            with telling(root):
                os.unlink(root + b"/" + UNFINISHED)
        self._unpacking.dress_folders()
        done = self._unpacking
        stats = RestoreStats(
            files_restored=done.files - len(roots),
            directories_restored=done.folders,
            bytes_restored=done.bytes,
            bytes_read=self._reader.bytes_read - before,
        )
        return RestoreDone(stats=stats)

    # ── the tree ─────────────────────────────────────────────────────────────────────────────────────

    def _tree(self, name: str) -> Tree:
        """Return a backup's entries by their paths in it: below ``pgdata`` or ``tablespaces``."""
        top = f"base/{name}".encode()
        found = {entry.path[len(top) + 1 :]: entry for entry in self._reader.entries(top)}
        if b"pgdata/" + _CONTROL not in found or _MANIFEST not in found:
            raise SkyharborError("object-damaged", f"backup {name} of this point is not whole")
        return found

    def _places_of_tablespaces(self) -> dict[bytes, bytes]:
        """Return where each tablespace goes, by its number. Raises for a wrong option or a place that is in use."""
        asked = _asked_places(self._options.get("tablespaces", ""))
        places: dict[bytes, bytes] = {}
        for path, entry in self._trees[-1].items():
            if entry.kind != EntryKind.SYMLINK or not path.startswith(b"pgdata/pg_tblspc/"):
                continue
            number = path.rpartition(b"/")[2]
            place = asked.pop(number.decode(), None) or asked.pop(os.fsdecode(entry.target), None)
            places[number] = _checked_folder(place or os.fsdecode(self._root + b".tablespaces/" + number))
        if asked:
            raise SkyharborError("bad-request", f"this point has no tablespace {next(iter(asked))!r}")
        return places

    def _where(self, path: bytes) -> bytes | None:
        """Return where something of a backup goes, None for the places themselves."""
        top, _, rest = path.partition(b"/")
        if top == b"pgdata":
            return self._at(rest) if rest else None
        if top == b"tablespaces" and b"/" in rest:
            number, _, rest = rest.partition(b"/")
            return self._spaces[number] + b"/" + rest
        return None

    def _at(self, path: bytes) -> bytes:
        return self._root + b"/" + path

    def _folders_and_links(self, tree: Tree) -> None:
        for path, entry in sorted(tree.items()):
            place = self._where(path)
            if place is None:
                continue
            if entry.kind == EntryKind.DIRECTORY:
                self._unpacking.folder(place, entry)
            elif entry.kind == EntryKind.SYMLINK:
                self._unpacking.link(place, self._spaces.get(path.rpartition(b"/")[2], entry.target))

    def _placed(self, newest: Tree) -> Iterator[Placed]:
        for path, entry in newest.items():
            place = self._where(path)
            if entry.kind != EntryKind.FILE or place is None or path.removeprefix(b"pgdata/") in _APART:
                continue
            folder, _, name = path.rpartition(b"/")
            if name.startswith(PREFIX):
                bare = folder + b"/" + name.removeprefix(PREFIX)
                whole, layers = self._layers(bare, path)
                yield Placed(whole, place[: -len(name)] + name.removeprefix(PREFIX), layers)
            else:
                yield Placed(entry, place)

    def _layers(self, bare: bytes, marked: bytes) -> tuple[Entry, list[Entry]]:
        """Return the newest whole version of a file, and the increments after it, oldest first."""
        layers: list[Entry] = []
        for tree in reversed(self._trees):
            if marked in tree:
                layers.append(tree[marked])
            elif bare in tree:
                return tree[bare], layers[::-1]
            else:
                break
        raise SkyharborError("object-damaged", f"there is no whole version of {os.fsdecode(bare)} in this point")

    # ── the log and the cluster's own files ──────────────────────────────────────────────────────────

    def _log(self) -> Iterator[Placed]:
        segment = self._window.segment
        first = segment_start(parse_lsn(self._target.backup.start), segment)
        expected, found = first, 0
        for entry in self._reader.entries(b"wal"):
            name = entry.path.rpartition(b"/")[2]
            if entry.kind != EntryKind.FILE:
                continue
            if name.endswith(b".history"):
                yield Placed(entry, self._at(b"pg_wal/" + name))
                continue
            position = segment_of(name.decode(), segment)[1]
            if position < first:
                continue
            if position != expected or entry.size != segment:
                raise SkyharborError("object-damaged", f"the point's log has a gap before {name.decode()}")
            expected, found = expected + segment, found + 1
            yield Placed(entry, self._at(b"pg_wal/" + name))
        if expected < parse_lsn(self._window.log_ends):
            raise SkyharborError("object-damaged", "the point's log ends too early")

    def _own_files(self, newest: Tree) -> None:
        """Write what is not as it was: label, settings, manifest, and what lay outside of the data directory."""
        like = newest[b"pgdata/PG_VERSION"]
        label = self._content(newest, _LABEL)
        combined = len(self._trees) > 1
        self._unpacking.small(self._at(_LABEL), recovery.label_of_combined(label) if combined else label, like)
        auto = self._content(newest, _AUTO) if b"pgdata/" + _AUTO in newest else b""
        self._unpacking.small(self._at(_AUTO), auto + recovery.recovery_settings(self._target), like)
        self._unpacking.small(self._at(b"recovery.signal"), b"", like)
        manifest = self._unpacking.content(newest[_MANIFEST])
        if combined:
            manifest = manifests.combined(manifest, self._made_of_increments(newest))
        self._unpacking.small(self._at(_MANIFEST), manifest, like)
        outside: Mapping[bytes, bytes] = {
            b"postgresql.conf": recovery.plain_configuration(self._window.settings),
            b"pg_hba.conf": recovery.PLAIN_ACCESS,
            b"pg_ident.conf": b"",
        }
        for name, content in outside.items():
            if b"pgdata/" + name not in newest:
                self._unpacking.small(self._at(name), content, like)

    def _made_of_increments(self, newest: Tree) -> Callable[[str], tuple[int, str] | None]:
        def made(path: str) -> tuple[int, str] | None:
            raw = os.fsencode(path)
            parts = raw.split(b"/")
            if parts[0] == b"pg_tblspc" and len(parts) > 2:
                inside = b"tablespaces/" + b"/".join(parts[1:])
            else:
                inside = b"pgdata/" + raw
            folder, _, name = inside.rpartition(b"/")
            if raw != _LABEL and folder + b"/" + PREFIX + name not in newest:
                return None
            place = self._where(inside)
            if place is None:
                return None
            with open(place, "rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
                return os.fstat(file.fileno()).st_size, digest

        return made

    def _content(self, tree: Tree, path: bytes) -> bytes:
        return self._unpacking.content(tree[b"pgdata/" + path])

    def _told(self, files: int, size: int) -> None:
        self._control.progress(
            Progress(
                phase="restoring",
                files_done=files,
                files_total=len(self._trees[-1]),
                bytes_done=size,
                bytes_total=max(self._total, size),
                bytes_transferred=self._reader.bytes_read,
            )
        )


def _asked_places(text: str) -> dict[str, str]:
    """Return the new places of tablespaces by their numbers or old places."""
    pairs = [line.partition("=") for line in text.splitlines() if line.strip()]
    if not all(old and new for old, _, new in pairs):
        raise SkyharborError("bad-request", "write a tablespace as OLD=NEW, by its number or its old place")
    return {old.rstrip("/"): new for old, _, new in pairs}


def _checked_folder(path: str) -> bytes:
    """Return the path of a folder that is new, empty, or left by a restore that was cut short."""
    if not os.path.isabs(path):
        raise SkyharborError("target-invalid", f"{path} is not an absolute path")
    raw = os.fsencode(os.path.normpath(path))
    try:
        names: Sequence[bytes] = os.listdir(raw)
    except FileNotFoundError:
        return raw
    except OSError as error:
        raise SkyharborError("target-invalid", f"{path}: {reason(error)}") from error
    if names and UNFINISHED not in names:
        hint = "A cluster is restored into a new or an empty folder; give another, or move away what is there."
        raise SkyharborError("target-invalid", f"{path} is not empty", hint=hint)
    return raw


def _clear_unfinished(folder: bytes) -> None:
    """Remove what a restore that was cut short has left; its mark goes last."""
    if not os.path.lexists(folder + b"/" + UNFINISHED):
        return
    for name in os.listdir(folder):
        path = folder + b"/" + name
        if name == UNFINISHED:
            continue
        if os.path.isdir(path) and not os.path.islink(path):
            shutil.rmtree(path)
        else:
            os.unlink(path)
    os.unlink(folder + b"/" + UNFINISHED)


def _owner(name: str, folder: bytes) -> Owner | None:
    """Return to whom everything is to belong: who was named, or whoever but root has the empty folder that is there."""
    if name:
        try:
            user = pwd.getpwnam(name)
        except KeyError:
            raise SkyharborError("bad-request", f"this machine has no user {name!r}") from None
        return Owner(user.pw_uid, user.pw_gid)
    try:
        there = os.stat(folder)
    except OSError:
        return None
    return Owner(there.st_uid, there.st_gid) if there.st_uid else None
