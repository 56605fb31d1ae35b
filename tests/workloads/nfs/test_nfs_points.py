"""A folder of an NFS server comes into points as it is, by either version of the protocol."""

import os
import stat

import msgspec
import pytest

from shared.contracts.sources import FilesSource
from shared.vault.entry import EntryKind, sort_key
from tests.support.crews import Bench, running_chief
from tests.support.trees import settle
from tests.workloads.nfs.conftest import Scene
from tests.workloads.nfs.furnishing import furnish, inner_differences, names, write
from workers.engine.ports import Found
from workers.engine.span import spans_between
from workers.sources.nfs import source as nfs_source
from workers.sources.nfs.reading import NfsReading
from workers.sources.nfs.source import NfsAdapter


def test_a_point_of_nfs_3_restored_to_this_machine_is_the_tree(scene, tmp_path):
    furnish(scene.tree, at_ns=1_700_000_000_123_456_789)
    done = scene.backup()
    back = scene.land(str(tmp_path / "out"))
    assert (done.warnings, back.warnings) == ((), ())
    assert inner_differences(scene.tree, tmp_path / "out") == []


@pytest.mark.usefixtures("_not_young")
def test_a_point_of_nfs_4_is_the_tree_but_for_hard_links_and_for_devices_which_are_told(ganesha, tmp_path):
    scene = Scene(ganesha, f"four-{id(tmp_path)}", version=4)
    furnish(scene.tree, at_ns=1_700_000_000_123_456_789)
    done = scene.backup()
    scene.land(str(tmp_path / "out"))
    told = sorted((notice.path, notice.code) for notice in done.warnings)
    assert told == [("/disk", "unreadable"), ("/null", "unreadable")]
    for device in ("disk", "null"):
        (scene.tree / device).unlink()
    assert inner_differences(scene.tree, tmp_path / "out", ignore=("links",)) == []


def test_what_has_not_changed_is_not_read_again_and_what_has_is(either):
    furnish(either.tree, devices=False, links=False)
    settle(str(either.tree))
    either.backup()
    again = either.backup().stats
    write(either.tree, "d1/e1/1", b"2" * 777)
    (either.tree / "large").chmod(0o600)
    after = either.backup().stats
    assert (again.bytes_read, again.files_changed, again.files_new) == (0, 0, 0)
    assert (after.files_changed, after.bytes_read) == (2, 777 + 9 * 1024 * 1024 + 11)
    assert stat.S_IMODE(either.entries()[b"large"].mode) == 0o600


def test_content_that_was_changed_with_size_and_time_of_writing_put_back_is_read_again(either):
    write(either.tree, "file", b"1" * 100)
    then = (either.tree / "file").stat()
    either.backup()
    (either.tree / "file").write_bytes(b"2" * 100)
    os.utime(either.tree / "file", ns=(then.st_atime_ns, then.st_mtime_ns))
    assert either.backup().stats.bytes_read == 100


def test_a_file_that_is_young_is_read_again(either, monkeypatch):
    monkeypatch.setattr(nfs_source, "_YOUNG_NS", 3_000_000_000_000)
    write(either.tree, "young", b"1" * 100)
    either.backup()
    assert either.backup().stats.bytes_read == 100


def test_the_order_is_that_of_a_point_and_spans_are_its_parts(either):
    for name in ("a/x", "a-b", "a.txt", "a/y/z", "B", "ab/c", "z!/q"):
        write(either.tree, name, b"1")
    adapter = either.adapter()

    def paths(span=None):
        blocks = adapter.scan(span) if span else adapter.scan()
        return [path for block in blocks if isinstance(block, Found) for path in block.paths]

    whole = paths()
    assert whole == sorted(whole, key=sort_key)
    assert len(whole) == 11
    for borders in ([b"a/x"], [b"a", b"a-b"], [b"a", b"zz"]):
        assert [path for span in spans_between(borders) for path in paths(span)] == whole


def test_excludes_are_patterns_on_paths_below_the_folder(either):
    for name in ("keep", "x.tmp", "cache/in", "sub/y.tmp"):
        write(either.tree, name, b"1")
    done = either.backup(source=either.adapter(excludes=("*.tmp", "/cache")))
    assert (sorted(either.entries()), done.stats.excluded) == ([b"keep", b"sub"], 3)


def test_symlinks_are_kept_and_never_followed(either):
    write(either.server.tree, f"{either.name}-outside/secret", b"outside")
    os.symlink(f"../{either.name}-outside", either.tree / "out")
    os.symlink(".", either.tree / "loop")
    either.backup()
    kinds = {path: (entry.kind, entry.target) for path, entry in either.entries().items()}
    assert kinds == {
        b"out": (EntryKind.SYMLINK, f"../{either.name}-outside".encode()),
        b"loop": (EntryKind.SYMLINK, b"."),
    }


def test_a_file_that_becomes_a_symlink_is_not_followed(either):
    write(either.tree, "file", b"1" * 50)
    write(either.tree, "other", b"2" * 50)
    adapter = either.adapter()
    scan = adapter.scan

    def scanning(span=None):
        yield from list(scan(span) if span else scan())
        os.remove(either.tree / "file")
        os.symlink("other", either.tree / "file")

    adapter.scan = scanning
    done = either.backup(source=adapter)
    assert sorted(either.entries()) == [b"other"]
    assert [(notice.path, notice.code) for notice in done.warnings] == [("/file", "vanished")]


def test_a_folder_that_becomes_a_symlink_does_not_lend_its_files(scene):
    write(scene.tree, "folder/file", b"1" * 50)
    write(scene.server.tree, f"{scene.name}-outside/file", b"2" * 50)
    adapter = scene.adapter()
    scan = adapter.scan

    def scanning(span=None):
        yield from list(scan(span) if span else scan())
        os.rename(scene.tree / "folder", scene.tree / "moved")
        os.symlink(f"../{scene.name}-outside", scene.tree / "folder")

    adapter.scan = scanning
    done = scene.backup(source=adapter)
    assert b"folder/file" not in scene.entries()
    assert [notice.path for notice in done.warnings] == ["/folder/file"]


def test_a_file_with_holes_comes_back_with_its_bytes(either, tmp_path):
    with (either.tree / "sparse").open("wb") as file:
        file.write(b"begin")
        file.seek(20 * 1024 * 1024)
        file.write(b"end")
    done = either.backup()
    either.land(str(tmp_path / "out"))
    assert (tmp_path / "out/sparse").read_bytes() == (either.tree / "sparse").read_bytes()
    assert done.stats.bytes_transferred < 100_000


def test_a_large_folder_is_listed_whole(either):
    for number in range(5000):
        (either.tree / f"{number:05}-{'x' * (number % 90)}").touch()
    done = either.backup()
    assert done.stats.files == 5000
    assert {os.fsdecode(path) for path in either.entries()} == set(os.listdir(either.tree))


def test_names_below_a_folder_of_the_export_are_those_below_it(either):
    write(either.tree, "a/b/c/file", b"1")
    url = either.server.url(f"/{either.name}/a/b", version=either.version)
    either.backup(source=NfsAdapter(NfsReading(spec=msgspec.structs.replace(either.spec(), url=url))))
    assert sorted(either.entries()) == [b"c", b"c/file"]


def test_hands_read_the_server_each_over_its_own_lines(either, tmp_path):
    furnish(either.tree, devices=False, links=False)
    write(either.tree, "huge", os.urandom(140 * 1024 * 1024))
    reading = NfsReading(spec=either.spec())
    with running_chief() as chief:
        bench = Bench(tmp_path / "vault", "processes", chief)
        muster = bench.readers(FilesSource(paths=("/",)), reading=msgspec.msgpack.encode(reading))
        done = bench.rig.backup("/", source=NfsAdapter(reading), muster=lambda _, writer: muster(writer))
    bench.rig.restore(tmp_path / "out")
    back = tmp_path / "out"
    assert (done.warnings, (back / "huge").read_bytes() == (either.tree / "huge").read_bytes()) == ((), True)
    assert names(back) == names(either.tree)
