"""The independent reader restores what the product wrote, sharing no line with it."""

from __future__ import annotations

import ast
import fcntl
import hashlib
import os
import shutil
import stat
import struct
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from shared.crypto.domain_keys import DomainKeys
from shared.crypto.slots import seal_slot
from shared.storage.local import LocalStore
from shared.vault.entry import Entry, EntryKind, sort_key
from shared.vault.index import ChunkIndex
from shared.vault.node_flags import KEPT, NodeFlag
from shared.vault.vault import create_vault, open_vault
from shared.vault.writer import PointWriter
from tests.format.golden_vaults import NUMBERS, Described, GoldenMachine, GoldenVault, golden_vaults
from tests.format.make_golden import ATLAS, HOME, POINTS, SRV, Flight, Pilot, body_of, node
from tests.support.compare import differences
from tests.support.trees import IS_ROOT, Node, nasty, plant
from tests.unit.engine.rig import Rig

READER = Path(__file__).resolve().parents[2] / "tools" / "read_vault.py"
FIRST, FINAL = golden_vaults()
ALL = [
    pytest.param(golden, machine, id=f"{golden.name}-{machine.name}")
    for golden in (FIRST, FINAL)
    for machine in golden.machines
]
OWN_PACKAGES = {"cryptography", "zstandard", "blake3"}
DEVICES = (EntryKind.CHAR_DEVICE, EntryKind.BLOCK_DEVICE)
DEVICE_NODES = ("srv/null", "srv/data/null", "srv/data/disk")


@dataclass(frozen=True)
class Answer:
    """What a run of the reader did."""

    status: int
    out: str
    err: str

    @property
    def lost(self) -> list[str]:
        """What was lost; devices do not count where they cannot be made."""
        names = [line[5:].split(": ")[0] for line in self.err.splitlines() if line.startswith("LOST ")]
        assert (self.status == 1) == bool(names), self.err
        return [name for name in names if IS_ROOT or name not in DEVICE_NODES]


def read(vault: Path, machine: str, passphrase: str, *words: str, scratch: Path) -> Answer:
    """Run the reader as a stranger would: a copy of the one file, somewhere else."""
    program, secret = scratch / "read_vault.py", scratch / "passphrase"
    shutil.copy(READER, program)
    secret.write_text(passphrase + "\n", encoding="utf-8")
    options = ("--vault", str(vault), "--machine", machine, "--passphrase-file", str(secret))
    command = [sys.executable, "-W", "error", str(program), *options, *words]
    done = subprocess.run(command, capture_output=True, text=True, cwd=scratch, check=False, timeout=120)
    return Answer(done.returncode, done.stdout, done.stderr)


@dataclass(frozen=True)
class Copy:
    """A golden vault that may be harmed, and where to restore it."""

    golden: GoldenVault
    vault: Path
    scratch: Path

    def run(self, *words: str, machine: GoldenMachine | None = None) -> Answer:
        who = machine or self.golden.machines[0]
        return read(self.vault, who.name, who.passphrase, *words, scratch=self.scratch)

    def restore(self, point: str, *, name: str = "out", machine: GoldenMachine | None = None) -> Answer:
        return self.run("restore", point, "--to", str(self.scratch / name), machine=machine)

    def packs(self, kind: str) -> list[Path]:
        return sorted(path for path in self.vault.glob(f"packs/{kind}/*/*"))

    def flip(self, path: Path, at: int) -> None:
        data = bytearray(path.read_bytes())
        data[at] ^= 1
        path.write_bytes(data)


def copy_of(golden: GoldenVault, scratch: Path) -> Copy:
    vault = scratch / "vault"
    shutil.copytree(golden.vault, vault)
    return Copy(golden, vault, scratch)


@pytest.fixture
def final(tmp_path: Path) -> Copy:
    return copy_of(FINAL, tmp_path)


def restorable(entry: Described) -> Described:
    """What a restored node can show of an entry: neither ctime nor inode, and owners and devices for root only."""
    numbers = dict(zip(NUMBERS, entry["numbers"], strict=True))  # type: ignore[call-overload]
    owned = IS_ROOT or (numbers["uid"] == os.geteuid() and numbers["gid"] in (os.getegid(), *os.getgroups()))
    if not owned and numbers["kind"] != EntryKind.SYMLINK:
        numbers["mode"] &= 0o1777  # without its owner nothing is set-user-ID
    kept = ["kind", "mode", "mtime_ns", "rdev", *(["uid", "gid"] if IS_ROOT else [])]
    if numbers["kind"] == EntryKind.FILE:
        kept.append("size")
    shown: Described = {name: numbers[name] for name in kept}
    return {**shown, **{name: entry[name] for name in ("path", "target", "xattrs", "holes", "content")}}


def found(top: Path) -> dict[str, Described]:
    """Describe a restored tree by plain system calls, in the words of ``restorable``; keys are paths in hex."""
    root = os.fsencode(top)
    names = [
        os.path.relpath(os.path.join(folder, name), root)
        for folder, folders, files in os.walk(root)
        for name in [*folders, *files]
    ]
    return {name.hex(): found_at(root, name) for name in names}


def found_at(root: bytes, name: bytes) -> Described:
    path = os.path.join(root, name)
    info = os.lstat(path)
    kind = {stat.S_IFREG: 1, stat.S_IFDIR: 2, stat.S_IFLNK: 3, stat.S_IFIFO: 4, stat.S_IFSOCK: 5, stat.S_IFCHR: 6}
    plain = stat.S_ISREG(info.st_mode)
    said: Described = {
        "kind": kind.get(stat.S_IFMT(info.st_mode), 7),
        "mode": stat.S_IMODE(info.st_mode),
        "mtime_ns": info.st_mtime_ns,
        "rdev": info.st_rdev if kind.get(stat.S_IFMT(info.st_mode), 7) in DEVICES else 0,
        "path": name.hex(),
        "target": os.readlink(path).hex() if stat.S_ISLNK(info.st_mode) else "",
        "xattrs": xattrs(path),
        "holes": holes(path, info.st_size) if plain else [],
        "content": hashlib.sha256(data(path, info.st_size) if plain else b"").hexdigest(),
    }
    if plain:
        said["size"] = info.st_size
    if IS_ROOT:
        said |= {"uid": info.st_uid, "gid": info.st_gid}
    return said


def xattrs(path: bytes) -> list[list[str]]:
    names = [name for name in os.listxattr(path, follow_symlinks=False) if not name.startswith("security.")]
    return [[name.encode().hex(), os.getxattr(path, name, follow_symlinks=False).hex()] for name in sorted(names)]


def holes(path: bytes, size: int) -> list[list[int]]:
    with open(path, "rb") as file:
        gaps, at = [], 0
        while at < size:
            begin = os.lseek(file.fileno(), at, os.SEEK_HOLE)
            try:
                at = os.lseek(file.fileno(), begin, os.SEEK_DATA)
            except OSError:
                at = size
            if begin < size:
                gaps.append([begin, at - begin])
        return gaps


def data(path: bytes, size: int) -> bytes:
    """Return a file's bytes without its holes, as its chunks have them."""
    content, at, parts = Path(os.fsdecode(path)).read_bytes(), 0, []
    for offset, length in [*holes(path, size), [size, 0]]:
        parts.append(content[at:offset])
        at = offset + length
    return b"".join(parts)


def expected(entries: Sequence[Described], *, without: Sequence[str] = ()) -> dict[str, Described]:
    """What must be found of these entries; a further name shows what its first name is."""
    by_path = {str(entry["path"]): entry for entry in entries}
    return {
        path: {**restorable(by_path[str(entry["link"] or path)]), "path": path}
        for path, entry in by_path.items()
        if path not in without and (IS_ROOT or entry["numbers"][0] not in DEVICES)  # type: ignore[index]
    }


def links(top: Path, entries: Sequence[Described]) -> list[tuple[object, bool]]:
    """Return for every further name whether it shares the node of the first."""
    root = os.fsencode(top)
    return [
        (
            entry["link"],
            os.path.samestat(*(os.lstat(root + b"/" + bytes.fromhex(str(entry[key]))) for key in ("path", "link"))),
        )
        for entry in entries
        if entry["link"]
    ]


# ── the law ──────────────────────────────────────────────────────────────────────────────────────────────


def imported(tree: ast.AST) -> Iterator[str]:
    for one in ast.walk(tree):
        if isinstance(one, ast.Import):
            yield from (alias.name.split(".")[0] for alias in one.names)
        elif isinstance(one, ast.ImportFrom):
            yield (one.module or "").split(".")[0] if one.level == 0 else "."


def test_the_reader_is_one_file_that_imports_nothing_of_ours() -> None:
    others = set(imported(ast.parse(READER.read_text()))) - set(sys.stdlib_module_names)
    assert others == OWN_PACKAGES


# ── golden vaults ────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("golden", "machine"), ALL)
def test_the_reader_restores_every_point_of_every_golden_vault(
    golden: GoldenVault, machine: GoldenMachine, tmp_path: Path
) -> None:
    copy = Copy(golden, golden.vault, tmp_path)
    for point in golden.points_of(machine):
        answer = copy.restore(point, name=point, machine=machine)
        assert answer.lost == [], answer.err
        assert found(tmp_path / point) == expected(golden.points[point])
        assert all(same for _, same in links(tmp_path / point, golden.points[point]))


def test_list_shows_every_point_and_its_item(final: Copy) -> None:
    answer = final.run("list")
    assert (answer.status, answer.err) == (0, "")
    assert [line.split()[1] for line in answer.out.splitlines()[::2]] == [POINTS[3], POINTS[1], POINTS[0]]
    assert f"item home ({HOME}): /home/grün" in answer.out


def test_ls_shows_every_entry_and_harmless_names(final: Copy) -> None:
    answer = final.run("ls", POINTS[0])
    assert (answer.status, answer.err) == (0, "")
    assert len(answer.out.splitlines()) == len(FINAL.points[POINTS[0]])
    assert r"/srv/data/\xff\xfe not\nutf-8" in answer.out
    assert "/srv/data/text-link = /srv/data/text" in answer.out


def test_latest_is_the_newest_point_of_every_item_or_of_those_asked_for(final: Copy) -> None:
    final.restore("latest", name="all")
    final.run("--item", "home", "restore", "latest", "--to", str(final.scratch / "one"))
    every = expected([*FINAL.points[POINTS[3]], *FINAL.points[POINTS[1]]])
    assert found(final.scratch / "all") == every
    assert found(final.scratch / "one") == expected(FINAL.points[POINTS[1]])


def test_a_manifest_behind_a_fence_is_no_point_and_not_the_latest_one(final: Copy) -> None:
    (manifest,) = final.vault.glob(f"points/*/*/{POINTS[3]}")
    fence = final.vault / "fenced" / manifest.relative_to(final.vault / "points")
    fence.parent.mkdir(parents=True)
    fence.write_text("{}")
    answer = final.run("list")
    assert [line.split()[1] for line in answer.out.splitlines()[::2]] == [POINTS[1], POINTS[0]]
    assert final.run("ls", POINTS[3]).status != 0
    final.run("--item", "srv", "restore", "latest", "--to", str(final.scratch / "one"))
    assert found(final.scratch / "one") == expected(FINAL.points[POINTS[0]])


def test_flags_are_put_back_where_the_file_system_has_them_and_otherwise_said(final: Copy) -> None:
    answer = final.restore(POINTS[0])
    kept = {path: flags_of(final.scratch / "out" / "srv" / "data" / path) for path in ("text!", "")}
    if "NOT KEPT chattr flags" in answer.err:
        assert answer.status == 3
    else:
        assert kept == {"text!": 0x40, "": 0x80}


@pytest.mark.skipif(not IS_ROOT, reason="only root may make a file immutable")
def test_flags_that_forbid_changes_wait_until_everything_else_is_done(tmp_path: Path) -> None:
    forged = Forged(tmp_path)
    fixed = int(NodeFlag.IMMUTABLE)
    forged.write(
        POINTS[0],
        [
            node(b"folder", EntryKind.DIRECTORY, mode=0o500, flags=fixed),
            node(b"folder/first", EntryKind.FILE, [b"x"], flags=fixed),
            node(b"further", EntryKind.FILE, link=b"folder/first"),
        ],
    )
    answer = forged.restore(POINTS[0])
    names = [tmp_path / "out" / "folder", tmp_path / "out" / "folder" / "first"]
    flags = [flags_of(name, clear=True) for name in names]
    assert (tmp_path / "out" / "further").stat().st_nlink == 2
    assert "LOST" not in answer.err
    if "NOT KEPT chattr flags" not in answer.err:
        assert flags == [0x10, 0x10]


def flags_of(path: Path, *, clear: bool = False) -> int:
    """Return the flags of a node, as far as a point can hold them; none where the file system has none."""
    fd = os.open(path, os.O_RDONLY)
    try:
        (flags,) = struct.unpack("<I", fcntl.ioctl(fd, 0x80086601, bytes(4)))
        if clear and flags & KEPT:
            fcntl.ioctl(fd, 0x40086602, struct.pack("<I", flags & ~KEPT))
        return int(flags & KEPT)
    except OSError:
        return 0
    finally:
        os.close(fd)


# ── the worst day ────────────────────────────────────────────────────────────────────────────────────────


def test_without_vault_json_the_id_comes_from_a_manifest(final: Copy) -> None:
    (final.vault / "vault.json").unlink()
    assert final.restore(POINTS[3]).lost == []
    assert found(final.scratch / "out") == expected(FINAL.points[POINTS[3]])


def test_what_is_no_file_is_no_object_and_never_waited_for(final: Copy) -> None:
    before = final.run("list")
    machine = next((final.vault / "machines").iterdir())
    os.mkfifo(machine.with_name(f"{machine.name.partition('.')[0]}.{'0' * 32}"))
    os.mkfifo(next((final.vault / "points").glob("*/*")) / "zzzz")
    after = final.run("list")
    assert (after.status, after.out) == (0, before.out)


def test_a_vault_of_a_higher_format_is_refused(final: Copy) -> None:
    header = final.vault / "vault.json"
    header.write_text(header.read_text().replace('"format": 1', '"format": 2'))
    answer = final.run("list")
    assert (answer.status, answer.out) == (1, "")
    assert "newer reader" in answer.err


def test_the_index_is_not_needed(final: Copy) -> None:
    shutil.rmtree(final.vault / "index")
    assert final.restore(POINTS[3]).lost == []
    assert found(final.scratch / "out") == expected(FINAL.points[POINTS[3]])


def test_without_machine_cards_the_id_of_the_machine_and_the_passphrase_are_enough(final: Copy) -> None:
    shutil.rmtree(final.vault / "machines")
    by_id = replace(ATLAS, name=ATLAS.id)
    assert final.restore(POINTS[3], machine=by_id).lost == []
    assert found(final.scratch / "out") == expected(FINAL.points[POINTS[3]])


def test_damaged_directories_of_packs_cost_nothing(final: Copy) -> None:
    for pack in [*final.packs("d"), *final.packs("m")]:
        final.flip(pack, pack.stat().st_size - 20)
    answer = final.restore(POINTS[3])
    assert answer.lost == []
    assert "has no sound directory" in answer.err
    assert found(final.scratch / "out") == expected(FINAL.points[POINTS[3]])


def test_packs_cut_off_behind_their_last_segment_cost_nothing(final: Copy) -> None:
    for pack in [*final.packs("d"), *final.packs("m")]:
        os.truncate(pack, pack.stat().st_size - 30)
    assert final.restore(POINTS[3]).lost == []
    assert found(final.scratch / "out") == expected(FINAL.points[POINTS[3]])


def test_behind_a_damaged_frame_the_other_segments_are_found(final: Copy) -> None:
    pack = max(final.packs("d"), key=lambda path: path.stat().st_size)
    for at in (64, pack.stat().st_size - 20):  # the length in the first frame; the directory
        final.flip(pack, at)
    answer = final.restore(POINTS[0])
    there = found(final.scratch / "out")
    whole = expected(FINAL.points[POINTS[0]])
    assert answer.lost == [bytes.fromhex(path).decode() for path in whole.keys() - there.keys()]
    assert len(answer.lost) == 1
    assert there == {path: entry for path, entry in whole.items() if path in there}


def test_a_flipped_byte_loses_its_segment_and_nothing_else_and_no_wrong_byte_is_written(final: Copy) -> None:
    pack = max(final.packs("d"), key=lambda path: path.stat().st_size)
    final.flip(pack, 200)
    answer = final.restore(POINTS[0])
    there = found(final.scratch / "out")
    whole = expected(FINAL.points[POINTS[0]])
    assert answer.lost == [bytes.fromhex(path).decode() for path in whole.keys() - there.keys()]
    assert len(answer.lost) == 1
    assert there == {path: entry for path, entry in whole.items() if path in there}


def test_every_single_damaged_byte_of_a_small_vault_is_lost_or_harmless_but_never_wrong(tmp_path: Path) -> None:
    copy = copy_of(FINAL, tmp_path)
    borealis = FINAL.machines[1]
    whole = expected(FINAL.points[POINTS[2]])
    pack = min(copy.packs("m"), key=lambda path: path.stat().st_size)
    sound = pack.read_bytes()
    for number, at in enumerate(range(0, len(sound), len(sound) // 12)):
        copy.flip(pack, at)
        answer = copy.restore(POINTS[2], name=str(number), machine=borealis)
        there = found(tmp_path / str(number))
        assert there == {path: entry for path, entry in whole.items() if path in there}
        assert (answer.lost == []) == (there == whole)
        pack.write_bytes(sound)


def test_a_chunk_that_its_pack_has_lost_is_taken_from_any_other_pack(tmp_path: Path) -> None:
    forged = Forged(tmp_path)
    tree = [node(b"file", EntryKind.FILE, [b"the same bytes"])]
    forged.write(POINTS[0], tree)
    (first,) = (tmp_path / "vault" / "packs" / "d").glob("*/*")
    forged.write(POINTS[1], tree, remembering=False)
    first.chmod(0o600)
    first.write_bytes(first.read_bytes()[:70])
    assert forged.restore(POINTS[0]).lost == []
    assert (tmp_path / "out" / "file").read_bytes() == b"the same bytes"


def test_a_damaged_latest_point_is_said_and_no_older_one_comes_in_its_place(final: Copy) -> None:
    (manifest,) = final.vault.glob(f"points/*/*/{POINTS[3]}")
    final.flip(manifest, -1)
    answer = final.run("--item", SRV, "restore", "latest", "--to", str(final.scratch / "out"))
    assert answer.status == 1
    assert f"LOST point {SRV}/{POINTS[3]}" in answer.err
    assert not (final.scratch / "out").exists()


def test_a_wrong_passphrase_is_called_wrong_and_nothing_is_written(final: Copy) -> None:
    answer = final.restore(POINTS[0], machine=replace(ATLAS, passphrase="not this one at all"))
    assert answer.status == 1
    assert "the passphrase is wrong" in answer.err
    assert not (final.scratch / "out").exists()


def test_one_machine_does_not_open_with_the_passphrase_of_another(final: Copy) -> None:
    answer = final.run("list", machine=replace(ATLAS, passphrase=FINAL.machines[1].passphrase))
    assert (answer.status, answer.out) == (1, "")


def test_an_unknown_machine_is_answered_with_those_that_there_are(final: Copy) -> None:
    answer = final.run("list", machine=replace(ATLAS, name="altas"))
    assert answer.status == 1
    assert "atlas" in answer.err
    assert "borealis" in answer.err


# ── hostile vaults ───────────────────────────────────────────────────────────────────────────────────────


class Forged:
    """A vault whose writer holds the keys and keeps no rule of the product's engine."""

    def __init__(self, scratch: Path) -> None:
        self.scratch = scratch
        self.store = LocalStore.create(str(scratch / "vault"))
        create_vault(self.store, name="forged")
        slots = (seal_slot(b"d" * 32, ATLAS.passphrase, machine_id=ATLAS.id),)
        self.pilot = Pilot(ATLAS, DomainKeys.derive(b"d" * 32), slots)

    def write(
        self,
        point: str,
        tree: Sequence[tuple[Entry, Sequence[bytes]]],
        *,
        remembering: bool = True,
        lie: bytes | None = None,
    ) -> None:
        """Write a point, by heart or without knowing the vault; ``lie`` is stored in the place of every chunk."""
        keys, vault = self.pilot.keys, open_vault(self.store)
        index = ChunkIndex.load(vault, ATLAS.id, keys, cache_dir=None) if remembering else ChunkIndex()
        writer = PointWriter(
            vault, keys, index, machine_id=ATLAS.id, item_id=SRV, point_id=point, slots=self.pilot.slots
        )
        for entry, chunks in sorted(tree, key=lambda one: sort_key(one[0].path)):
            ids = [keys.chunk_id(chunk) for chunk in chunks]
            writer.reserve(ids)
            writer.add_segment(ids, chunks if lie is None else [lie for _ in chunks])
            entry.chunks = b"".join(ids)
            writer.add_entries([entry])
        flight = Flight(self.pilot, SRV, "srv", "/", point, None, tree)
        writer.seal(body=body_of(flight), validate=lambda: None)

    def restore(self, point: str) -> Answer:
        words = ("restore", point, "--to", str(self.scratch / "out"))
        return read(self.scratch / "vault", ATLAS.name, ATLAS.passphrase, *words, scratch=self.scratch)


@pytest.mark.parametrize("path", [b"../evil", b"a/../../evil", b"a//evil", b"./evil", b"a/.", b"evil/"])
def test_paths_that_lead_out_of_the_target_are_refused(path: bytes, tmp_path: Path) -> None:
    forged = Forged(tmp_path)
    forged.write(POINTS[0], [node(b"good", EntryKind.FILE, [b"good"]), node(path, EntryKind.FILE, [b"evil"])])
    before = sorted(os.listdir(tmp_path))
    answer = forged.restore(POINTS[0])
    assert answer.status == 1
    assert "may lead out of the tree" in answer.err
    assert os.listdir(tmp_path / "out") == ["good"]
    assert sorted(os.listdir(tmp_path)) == sorted([*before, "out", "passphrase", "read_vault.py"])


def test_no_symlink_is_followed_while_restoring(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "mine").write_text("mine")
    forged = Forged(tmp_path)
    target = os.fsencode(outside)
    forged.write(
        POINTS[0],
        [
            node(b"way", EntryKind.SYMLINK, target=target),
            node(b"way/evil", EntryKind.FILE, [b"evil"]),
            node(b"way/folder", EntryKind.DIRECTORY),
            node(b"wlink", EntryKind.FILE, link=b"way/mine"),
        ],
    )
    answer = forged.restore(POINTS[0])
    assert answer.status == 1
    assert sorted(os.listdir(outside)) == ["mine"]
    assert os.stat(outside / "mine").st_nlink == 1
    assert os.listdir(tmp_path / "out") == ["way"]


@pytest.mark.parametrize(
    ("size", "holes"),
    [(9, ()), (11, ()), (14, ((12, 4),)), (14, ((4, 2), (4, 2))), (14, ((-4, 4),)), (20, ((4, 4),))],
)
def test_a_file_whose_size_holes_and_chunks_do_not_fit_together_is_lost(
    size: int, holes: tuple[tuple[int, int], ...], tmp_path: Path
) -> None:
    forged = Forged(tmp_path)
    forged.write(POINTS[0], [node(b"odd", EntryKind.FILE, [b"ten bytes!"], size=size, holes=holes)])
    assert forged.restore(POINTS[0]).status == 1
    assert os.listdir(tmp_path / "out") == []


def test_a_chunk_that_is_not_what_its_id_says_is_lost(tmp_path: Path) -> None:
    forged = Forged(tmp_path)
    forged.write(POINTS[0], [node(b"file", EntryKind.FILE, [b"what it was"])], lie=b"what it not")
    assert forged.restore(POINTS[0]).status == 1
    assert os.listdir(tmp_path / "out") == []


def test_what_is_there_already_is_never_touched(final: Copy) -> None:
    (final.scratch / "out").mkdir()
    (final.scratch / "out" / "mine").write_text("mine")
    answer = final.restore(POINTS[0])
    assert answer.status == 1
    assert "is not empty" in answer.err
    assert os.listdir(final.scratch / "out") == ["mine"]


# ── vaults of the product ────────────────────────────────────────────────────────────────────────────────


def test_a_vault_of_the_engine_is_restored_identically(tmp_path: Path) -> None:
    sparse = [(0, b"first" * 3000), (200_000, b"second" * 4000), (1_000_000, b"third" * 300)]
    tree = plant(tmp_path / "tree", [*nasty(), Node(b"several pieces", size=3_000_000, pieces=tuple(sparse))])
    rig = Rig(LocalStore.create(str(tmp_path / "vault")))
    rig.backup(tree)
    with open(f"{tree}/a/b", "ab") as file:
        file.write(b"and more")
    rig.backup(tree)
    rig.vault.put_machine_card("machine", "m", [seal_slot(b"k" * 32, "a long enough passphrase", machine_id="machine")])

    words = ("restore", "latest", "--to", str(tmp_path / "out"))
    answer = read(tmp_path / "vault", "m", "a long enough passphrase", *words, scratch=tmp_path)

    assert answer.lost == []
    assert (answer.status, answer.err) == (0, "") or not IS_ROOT  # others cannot give /tmp back to root
    assert differences(tree, f"{tmp_path}/out{tree}", ignore=() if IS_ROOT else ("owner",)) == []
