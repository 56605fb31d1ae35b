"""Damaged images, by seeds: an error, or files; never a crash or a hang of ours, and never anything outside.

What the seeds came to is counted and printed at the end of the session; a seed that fails is named.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from shared.errors import SkyharborError
from tests.support.counts import Tally, new_tally
from tests.support.disk_points import point_of
from tests.workloads.disks.conftest import blank, run
from tests.workloads.disks.trees import plain_tree
from workers.disks import browser as browsers
from workers.disks.browser import Browser, Found, Gap
from workers.disks.parser import UNREADABLE, Patience
from workers.engine.landing import is_safe

MIB = 1024 * 1024
SOME, MANY = 30, 600
_CONTENT = b"CONTENT!"
PATIENCE = Patience(silent=60, cpu=30, whole=300)


class Image:
    """A damaged image: bytes that all share, and those that one seed has changed. Asked like a file of a point."""

    def __init__(self, whole: bytes, changes: dict[int, int]) -> None:
        self.size, self._whole, self._changes = len(whole), whole, changes

    def read(self, offset: int, length: int) -> bytes:
        part = bytearray(self._whole[offset : offset + length])
        for at, byte in self._changes.items():
            if offset <= at < offset + len(part):
                part[at - offset] = byte
        return bytes(part)

    def extents(self, offset: int, length: int) -> list[tuple[int, int, bool]]:
        return [(offset, length, False)]


def small_tree(folder: Path) -> Path:
    """A tree whose content can be told from what file systems write about it."""
    plain_tree(folder)
    for path in list((folder / "many").iterdir())[60:]:
        path.unlink()
    for path in folder.rglob("*"):
        if path.is_file():
            path.write_bytes(_CONTENT * (min(path.stat().st_size, 200_000) // len(_CONTENT)))
    (folder / "link").symlink_to("docs")
    return folder


def ext(path: Path, tree: Path) -> None:
    blank(path, 8 * MIB)
    run("mkfs.ext4", "-q", "-F", "-b", "1024", "-d", tree, path)


def ext2(path: Path, tree: Path) -> None:
    blank(path, 8 * MIB)
    run("mkfs.ext4", "-q", "-F", "-t", "ext2", "-d", tree, path)


def xfs(path: Path, tree: Path) -> None:
    (path.parent / "proto").write_text(
        "none\n0 0\nd--755 0 0\n" + "".join(f"f{number} ---644 0 0 {tree / 'large.bin'}\n" for number in range(50))
        + "sub d--755 0 0\n" + f"x ---644 0 0 {tree / 'docs/deep/deeper/x'}\n" + "$\nlink l--777 0 0 sub/x\n$\n"
    )  # fmt: skip
    blank(path, 320 * MIB)
    run("mkfs.xfs", "-q", "-f", "-p", path.parent / "proto", path)


def fat(path: Path, tree: Path) -> None:
    blank(path, 8 * MIB)
    run("mkfs.vfat", "-F", "16", "-s", "1", path)
    run("mcopy", "-s", "-i", path, *(one for one in sorted(tree.iterdir()) if not one.is_symlink()), "::/")


def exfat(path: Path, tree: Path) -> None:
    from tests.workloads.disks.exfat_images import ExFatImage

    blank(path, 8 * MIB)
    run("mkfs.exfat", "-c", "4096", path)
    image = ExFatImage(path)
    folder = image.folder("folder")
    for number in range(10):
        image.file(f"file {number}", _CONTENT * 400 * number, within=folder if number % 2 else None, gap=number % 3)
    image.save()


def ntfs(path: Path, tree: Path) -> None:
    from tests.workloads.disks.conftest import ntfs_mounted

    pytest.importorskip("pyfsntfs", reason="libfsntfs-python is not installed (the extra disks)")
    blank(path, 8 * MIB)
    run("mkntfs", "-q", "-F", "-f", path)
    with ntfs_mounted(path, path.parent / "mounted") as point:
        run("cp", "-r", f"{tree}/.", point)


def lvm_and_table(path: Path, tree: Path) -> None:
    """A table of partitions only: what is behind it does not matter."""
    blank(path, 8 * MIB)
    run("sfdisk", "-q", path, data="label: gpt\nsize=4096\nsize=4096\n")


MAKERS = {"ext4": ext, "ext2": ext2, "XFS": xfs, "FAT": fat, "exFAT": exfat, "NTFS": ntfs, "GPT": lvm_and_table}


def damage(whole: bytes, places: list[int], seed: int) -> dict[int, int]:
    random_ = random.Random(seed)
    changes = {}
    for _ in range(random_.choice((1, 4, 32, 256))):
        at = random_.choice(places) + random_.randrange(512)
        byte = whole[at] ^ 1 << random_.randrange(8)
        changes[at] = random_.choice((0, 255, 0x7F, 0x80, 1, random_.randrange(256), byte))
    return changes


def word_for(error: SkyharborError, word: str) -> str:
    """Return the word for an error, which must be the one about disks."""
    if error.code != UNREADABLE:
        raise error
    return f"died ({error.detail})" if "process that reads it failed" in error.detail else word


def explore(browser: Browser) -> Iterator[str]:
    """Read everything and yield what it came to, one word for each thing."""
    for area in browser.areas:
        if area.info.trouble:
            yield "named"
            continue
        try:
            top = browser.find(area.path)[-1]
            browser.notes(area)
        except SkyharborError as error:
            yield word_for(error, "refused")
            continue
        for one in browser.walk(top, full=True):
            if isinstance(one, Gap):
                yield f"died ({one.text})" if "process that reads it failed" in one.text else "gap"
                continue
            assert is_safe(one.entry.path)
            assert one.entry.path.startswith(area.path)
            yield from content(browser, one)


def content(browser: Browser, one: Found) -> Iterator[str]:
    if one.entry.kind != 1 or one.trouble or one.entry.size > 64 * MIB:
        return
    try:
        size = sum(part.length for part in browser.content(one))
    except SkyharborError as error:
        yield word_for(error, "unreadable")
    else:
        assert size == one.entry.size
        yield "file"


def fly(kind: str, folder: Path, monkeypatch: pytest.MonkeyPatch, seeds: range, tally: Tally) -> None:
    tree = folder / "tree"
    tree.mkdir()
    MAKERS[kind](folder / "image", small_tree(tree))
    whole = (folder / "image").read_bytes()
    sectors = [(at, whole[at : at + 512]) for at in range(0, len(whole), 512)]
    places = [at for at, sector in sectors if any(sector) and not sector.startswith(_CONTENT)]
    blank(folder / "stand-in", 4096)
    reader = point_of({"disk0.raw": folder / "stand-in"})
    for seed in seeds:
        image = Image(whole, damage(whole, places, seed))
        monkeypatch.setattr(browsers, "open_image", lambda *_, image=image, **__: image)
        words: Counter[str] = Counter()
        tally.add("images")
        with tally.cell(f"{kind}, seed {seed}") as found:
            try:
                with Browser(reader, patience=PATIENCE) as browser:
                    words.update(explore(browser))
            except SkyharborError as error:
                words[word_for(error, "refused")] += 1
            # Our own readers are not killed by what they read; a library that crashes takes its process along, no more.
            if any(word.startswith("died") for word in words) and kind != "NTFS":
                found.append(f"the reader died: {dict(words)}")
        for word, number in words.items():
            tally.add(word, number)
    tally.judge(least=len(seeds))


@pytest.mark.parametrize("kind", MAKERS)
def test_damage_is_told_and_nothing_else_happens(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, record_property: Callable[[str, object], None]
) -> None:
    fly(kind, tmp_path, monkeypatch, range(SOME), new_tally(f"damaged images, {kind}", record_property))


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("kind", MAKERS)
def test_much_damage_is_told_and_nothing_else_happens(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, record_property: Callable[[str, object], None]
) -> None:
    fly(kind, tmp_path, monkeypatch, range(SOME, SOME + MANY), new_tally(f"damaged images, {kind}", record_property))
