"""Files come out of disks with all that they had, by the rules of every restore."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.contracts.work import RestoreDone
from shared.errors import SkyharborError
from shared.model.backup import ConflictRule
from shared.vault.reader import PointReader
from tests.support.uncontrolled import Uncontrolled
from tests.unit.engine.rig import Recorder
from tests.workloads.disks.conftest import Mount, blank, run
from tests.workloads.disks.reading import reader_of
from tests.workloads.disks.trees import differences, dress_tree, plain_tree, states, unix_tree
from workers.disks import restoring
from workers.disks.browser import Browser, Found, Stretch
from workers.disks.messages import Ask, List
from workers.disks.parser import Parser
from workers.disks.restoring import restore_out_of_disks
from workers.engine.ports import Control, Stop

MIB = 1024 * 1024


def restored(
    reader: PointReader,
    target: Path,
    *paths: str,
    conflict: ConflictRule = ConflictRule.SKIP,
    control: Control | None = None,
) -> RestoreDone:
    return restore_out_of_disks(
        reader, target=str(target), paths=paths, conflict=conflict, control=control or Uncontrolled()
    )


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    folder = tmp_path / "tree"
    folder.mkdir()
    plain_tree(folder)
    return folder


@pytest.fixture
def reader(tree: Path, tmp_path: Path) -> PointReader:
    """A point with one disk of ext4 without partitions."""
    image = blank(tmp_path / "image", 64 * MIB)
    run("mkfs.ext4", "-q", "-F", "-d", tree, image)
    return reader_of(image)


def test_a_whole_file_system_comes_back_with_everything(tmp_path: Path, mounted: Mount) -> None:
    image, target = blank(tmp_path / "image", 96 * MIB), tmp_path / "target"
    run("mkfs.ext4", "-q", "-F", image)
    with mounted(image) as point:  # type: ignore[attr-defined]
        unix_tree(tmp_path / "tree", privileged=True)
        subprocess.run(["cp", "-a", f"{tmp_path / 'tree'}/.", str(point)], check=True)
        dress_tree(point)
        run("chattr", "+i", point / "docs/deep/deeper/x")
        run("chattr", "+d", point / "empty")
    done = restored(reader_of(image), target, "/disk0/fs")
    try:
        with mounted(image, "ro") as point:  # type: ignore[attr-defined]
            wanted = states(point)
        immutable = run("lsattr", target / "disk0/fs/docs/deep/deeper/x").split()[0]
    finally:
        run("chattr", "-i", target / "disk0/fs/docs/deep/deeper/x")
    got = states(target / "disk0" / "fs")
    assert differences(got, wanted) == []
    assert (done.warnings, done.stats.warnings, "i" in immutable) == ((), 0, True)
    names = sum(1 for one in wanted.values() if int(str(one["mode"])) >> 12 != 4)
    assert (done.stats.files_restored, done.stats.files_skipped) == (names, 0)
    assert (target / "disk0/fs/sparse").stat().st_blocks * 512 < 100_000
    assert os.path.samefile(target / "disk0/fs/large.bin", target / "disk0/fs/docs/second name")


def test_one_file_comes_with_the_folders_above_it(reader: PointReader, tree: Path, tmp_path: Path) -> None:
    os.chmod(tree / "docs", 0o750)  # noqa: S103
    done = restored(reader, tmp_path / "t", "/disk0/fs/docs/deep/deeper/x")
    got = states(tmp_path / "t")
    assert sorted(got) == [
        b"", b"disk0", b"disk0/fs", b"disk0/fs/docs", b"disk0/fs/docs/deep", b"disk0/fs/docs/deep/deeper",
        b"disk0/fs/docs/deep/deeper/x",
    ]  # fmt: skip
    assert got[b"disk0/fs/docs/deep/deeper/x"]["content"] == (tree / "docs/deep/deeper/x").read_bytes()
    assert (done.stats.files_restored, done.stats.bytes_restored, done.warnings) == (1, 70_000, ())


def test_all_areas_of_a_disk_come_back_by_its_name(reader: PointReader, tree: Path, tmp_path: Path) -> None:
    restored(reader, tmp_path / "t", "/disk0")
    names = {os.fsencode(path.relative_to(tree)) for path in tree.rglob("*")}
    assert set(states(tmp_path / "t" / "disk0" / "fs")) - {b""} == names


def test_a_path_that_is_not_there_is_told_before_anything_is_written(reader: PointReader, tmp_path: Path) -> None:
    codes = []
    for path in ("/disk0/fs/no", "/disk0/p1/etc", "/disk7/fs", "/disk0/fs/empty/below"):
        with pytest.raises(SkyharborError) as caught:
            restored(reader, tmp_path / "t", "/disk0/fs/docs", path)
        codes.append(caught.value.code)
    assert (codes[:3], (tmp_path / "t").exists()) == (["path-not-in-point"] * 3, False)
    assert codes[3] in ("path-not-in-point", "disk-unreadable")


@pytest.mark.parametrize(
    ("conflict", "content", "names"),
    [
        (ConflictRule.SKIP, b"mine", [b"empty", b"large.bin"]),
        (ConflictRule.OVERWRITE, b"theirs", [b"empty", b"large.bin"]),
        (ConflictRule.RENAME, b"mine", [b"empty", b"large.bin", b"large.bin.restored-1"]),
    ],
)
def test_what_is_there_is_treated_by_the_rule(
    reader: PointReader, tree: Path, tmp_path: Path, conflict: ConflictRule, content: bytes, names: list[bytes]
) -> None:
    folder = tmp_path / "t" / "disk0" / "fs"
    folder.mkdir(parents=True)
    (folder / "large.bin").write_bytes(b"mine")
    done = restored(reader, tmp_path / "t", "/disk0/fs/large.bin", "/disk0/fs/empty", conflict=conflict)
    wanted = (tree / "large.bin").read_bytes() if content == b"theirs" else content
    assert ((folder / "large.bin").read_bytes() == wanted, sorted(os.listdir(os.fsencode(folder)))) == (True, names)
    assert done.stats.files_skipped == (1 if conflict is ConflictRule.SKIP else 0)


def test_the_same_restore_again_completes_what_is_missing(reader: PointReader, tree: Path, tmp_path: Path) -> None:
    with pytest.raises(Stop):
        restored(reader, tmp_path / "t", "/disk0/fs", control=Recorder(stop_after=300))
    before = len(states(tmp_path / "t"))
    done = restored(reader, tmp_path / "t", "/disk0/fs")
    got = states(tmp_path / "t" / "disk0" / "fs")
    wanted = {path: {"content": one["content"], "mode": one["mode"]} for path, one in states(tree).items() if path}
    assert (before < len(got), done.stats.files_skipped > 0, differences(got, wanted | {b"": {}})) == (True, True, [])


def test_a_link_in_the_target_leads_nobody_outside(reader: PointReader, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (tmp_path / "t" / "disk0").mkdir(parents=True)
    (tmp_path / "t" / "disk0" / "fs").symlink_to(outside)
    done = restored(reader, tmp_path / "t", "/disk0/fs/empty")
    assert (list(outside.iterdir()), {notice.code for notice in done.warnings}) == ([], {"target-conflict"})


def killed(browser: Browser) -> None:
    process = browser._parser._process
    assert process is not None
    os.kill(process.pid, signal.SIGKILL)
    process.wait()


def test_a_reader_that_dies_costs_the_folder_that_it_was_reading(
    reader: PointReader, tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    send = Parser._send

    def deadly(self: Parser, question: Ask) -> None:
        deadly_one = isinstance(question, List) and question.number == deeper
        assert self._process is not None
        if deadly_one:  # stopped, it can hear the question and not answer it
            self._process.send_signal(signal.SIGSTOP)
        send(self, question)
        if deadly_one:
            self._process.kill()
            self._process.wait()

    with Browser(reader) as browser:
        deeper = browser.find(b"disk0/fs/docs/deep/deeper")[-1].entry.inode
    monkeypatch.setattr(Parser, "_send", deadly)
    done = restored(reader, tmp_path / "t", "/disk0/fs")
    lost = set(states(tree)) - set(states(tmp_path / "t" / "disk0" / "fs"))
    assert (lost, [(one.path, one.code) for one in done.warnings]) == (
        {b"docs/deep/deeper/x"}, [("/disk0/fs/docs/deep/deeper", "damaged")],
    )  # fmt: skip


def test_a_reader_that_dies_between_two_questions_costs_nothing(
    reader: PointReader, tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = Browser.content

    def deadly(self: Browser, node: Found) -> Iterator[Stretch]:
        killed(self)
        monkeypatch.setattr(Browser, "content", content)
        return content(self, node)

    monkeypatch.setattr(Browser, "content", deadly)
    done = restored(reader, tmp_path / "t", "/disk0/fs")
    assert (set(states(tree)) - set(states(tmp_path / "t" / "disk0" / "fs")), done.warnings) == (set(), ())


def test_a_damaged_inode_costs_one_file(tree: Path, tmp_path: Path) -> None:
    image = blank(tmp_path / "image", 64 * MIB)
    run("mkfs.ext4", "-q", "-F", "-O", "^metadata_csum", "-d", tree, image)
    run("debugfs", "-w", "-R", "set_inode_field /docs/deep/deeper/x block[0] 0", image)
    done = restored(reader_of(image), tmp_path / "t", "/disk0/fs")
    lost = set(states(tree)) - set(states(tmp_path / "t" / "disk0" / "fs"))
    assert (lost, [(one.path, one.code) for one in done.warnings]) == (
        {b"docs/deep/deeper/x"}, [("/disk0/fs/docs/deep/deeper/x", "damaged")],
    )  # fmt: skip


def test_paths_in_disks_and_others_are_told_apart(reader: PointReader) -> None:
    inside, others = restoring.split(reader, ["/disk0/p1/etc", "/disk0.raw", "disk1", "/machine.json", "/diskette/x"])
    assert (inside, others) == (["/disk0/p1/etc", "disk1"], ["/disk0.raw", "/machine.json", "/diskette/x"])
