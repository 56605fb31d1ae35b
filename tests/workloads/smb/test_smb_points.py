"""A point of a share is the share: contents, names, descriptors, streams; and the next one reads what has changed."""

import os
from collections import Counter

import pytest

from shared.errors import SkyharborError
from shared.model.backup import BackupType
from shared.vault.entry import EntryKind, sort_key
from tests.unit.engine.rig import Rig
from tests.workloads.smb.conftest import Scene
from workers.engine.ports import Found
from workers.engine.span import spans_between
from workers.sources.smb import messages as smb
from workers.sources.smb.describing import OWNER_GROUP_DACL, READ_CONTROL
from workers.sources.smb.nodes import DESCRIPTOR, LOST_STREAMS, STREAM
from workers.sources.smb.reading import SmbReading
from workers.sources.smb.source import SmbAdapter
from workers.sources.smb.writing import _write_stream

FOREIGN = "S-1-5-21-1111111111-2222222222-3333333333-1234"


def _write(folder, name, data):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def _stream(scene, path, name, data):
    full = f"{scene.name}/{path}:{name}".encode()
    scene.adapter()._share.over(lambda wire: _write_stream(wire, full, data))


def _descriptor(scene, path):
    """Ask for a descriptor by itself."""

    def asked(wire):
        opening, told, _ = wire.ask(
            smb.create(f"{scene.name}/{path}".encode(), access=READ_CONTROL | 0x80, options=0),
            smb.query_info(smb.RELATED, smb.INFO_SECURITY, 0, additional=OWNER_GROUP_DACL),
            smb.close(smb.RELATED),
        )
        opening.expect()
        return smb.info(told.expect())

    return scene.adapter()._share.over(asked)


def test_a_full_backup_has_every_file_with_its_content(scene, tmp_path):
    made = {f"d{n % 7}/e{n % 3}/f{n}.bin": os.urandom(n * 37) for n in range(300)}
    made["large.bin"] = os.urandom(5 * 1024 * 1024 + 17)
    made["empty"] = b""
    for name, data in made.items():
        _write(scene.tree, name, data)
    done = scene.backup()
    scene.rig.restore(tmp_path / "out")
    root = tmp_path / "out" / scene.name
    back = {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}
    assert (back, done.warnings, done.stats.files) == (made, (), 302)


def test_what_has_not_changed_is_not_read_again_and_what_has_is(scene):
    for number in range(200):
        _write(scene.tree, f"a/{number}", os.urandom(3000))
    _write(scene.tree, "b/one", b"1" * 1000)
    scene.backup()
    again = scene.backup().stats
    _write(scene.tree, "b/one", b"2" * 1500)
    os.remove(scene.tree / "a/7")
    after = scene.backup().stats
    assert (again.bytes_read, again.files_unchanged) == (0, 201)
    assert (after.bytes_read, after.files_changed, after.files_removed, after.files_unchanged) == (1500, 1, 1, 199)


def test_a_change_of_a_descriptor_alone_is_a_change(scene):
    _write(scene.tree, "file", b"same")
    scene.backup()
    before = scene.entries()[b"file"]
    scene.server.acl(f"{scene.name}/file", "-a", f"ACL:{FOREIGN}:ALLOWED/0/READ")
    done = scene.backup()
    after = scene.entries()[b"file"]
    assert done.stats.files_changed == 1, (before, after)
    assert before.mtime_ns == after.mtime_ns
    assert dict(after.xattrs)[DESCRIPTOR] == _descriptor(scene, "file") != dict(before.xattrs)[DESCRIPTOR]


def test_small_streams_of_files_and_folders_are_in_the_point(scene):
    _write(scene.tree, "dir/file", b"main")
    _stream(scene, "dir/file", "Zone.Identifier", b"[ZoneTransfer]\r\nZoneId=3\r\n")
    _stream(scene, "dir", "note", b"of a folder")
    scene.backup()
    entries = scene.entries()
    assert (
        dict(entries[b"dir/file"].xattrs)[STREAM + b"Zone.Identifier"],
        dict(entries[b"dir"].xattrs)[STREAM + b"note"],
    ) == (
        b"[ZoneTransfer]\r\nZoneId=3\r\n",
        b"of a folder",
    )


def test_a_stream_that_is_too_large_for_a_point_is_named(scene):
    _write(scene.tree, "file", b"main")
    spec = scene.spec(url=scene.server.url(f"depot/{scene.name}"))
    adapter = scene.adapter(url=spec.url)
    path = f"{scene.name}/file:resource".encode()
    adapter._share.over(lambda wire: _write_stream(wire, path, b"r" * 200_000))
    (notice,) = scene.backup(source=adapter).warnings
    assert (notice.path, notice.code, "resource" in notice.message) == (
        f"/{scene.name}/file",
        "metadata-not-kept",
        True,
    )
    assert dict(scene.entries()[b"file"].xattrs)[LOST_STREAMS] == b"resource"


@pytest.mark.parametrize(
    "name",
    ["grüße-日本語-🛫", "n" * 255, " leading", "a.b..c", "UPPER", "it's (1) & [2] {3} %41 #", "é", "e\u0301"],
)
def test_a_name_comes_back_byte_for_byte(scene, tmp_path, name):
    _write(scene.tree, name, name.encode())
    scene.backup()
    scene.rig.restore(tmp_path / "out")
    assert [(found.name, found.read_bytes()) for found in (tmp_path / "out" / scene.name).iterdir()] == [
        (name, name.encode())
    ]


def test_names_that_windows_cannot_say_are_there_under_those_that_the_server_shows(scene):
    for name in ("trailing ", "dot.", "co:lon"):
        _write(scene.tree, name, name.encode())
    done = scene.backup()
    contents = Counter(entry.size for entry in scene.entries().values())
    assert (contents, done.warnings) == (Counter({9: 1, 4: 1, 6: 1}), ())


def test_the_order_is_that_of_a_point_and_spans_are_its_parts(scene):
    for name in ("a/x", "a-b", "a.txt", "a/y/z", "B", "ab/c", "日/本", "z!/q"):
        _write(scene.tree, name, b"1")
    adapter = scene.adapter()

    def paths(span=None):
        blocks = adapter.scan(span) if span else adapter.scan()
        return [path for block in blocks if isinstance(block, Found) for path in block.paths]

    whole = paths()
    under = scene.name.encode()
    assert whole == sorted(whole, key=sort_key)
    for borders in ([under + b"/a/x"], [under + b"/a", under + b"/a-b", under + b"/ab/"], [under, under + b"/zz"]):
        assert [path for span in spans_between(borders) for path in paths(span)] == whole


def test_a_survey_knows_the_folders(scene):
    for name in ("a/b/c/file", "a/one", "d/two", "top"):
        _write(scene.tree, name, b"1")
    survey = scene.adapter().survey(100)
    under = scene.name.encode()
    assert survey.folders == [
        (under, 3),
        (under + b"/a", 2),
        (under + b"/a/b", 1),
        (under + b"/a/b/c", 1),
        (under + b"/d", 1),
    ]
    assert scene.adapter().survey(2).cut_off


def test_excludes_are_patterns_on_paths_in_the_share(scene):
    for name in ("keep", "x.tmp", "cache/in", "sub/cache/in", "sub/y.tmp"):
        _write(scene.tree, name, b"1")
    adapter = scene.adapter(excludes=("*.tmp", f"/{scene.name}/cache"))
    done = scene.backup(source=adapter)
    assert (sorted(scene.entries()), done.stats.excluded) == ([b"keep", b"sub", b"sub/cache", b"sub/cache/in"], 3)


def test_a_folder_that_the_server_shows_inside_of_itself_is_not_entered(scene):
    _write(scene.tree, "a/b/file", b"1")
    os.symlink("../..", scene.tree / "a/b/up")
    done = scene.backup()
    assert sorted(scene.entries()) == [b"a", b"a/b", b"a/b/file", b"a/b/up"]
    assert [(notice.path, notice.code) for notice in done.warnings] == [(f"/{scene.name}/a/b/up", "loop")]


def test_a_folder_that_may_not_be_listed_is_a_notice_and_the_rest_is_there(scene):
    _write(scene.tree, "open/file", b"1")
    _write(scene.tree, "shut/file", b"2")
    _write(scene.tree, "denied", b"3")
    for name in ("shut", "denied"):
        scene.server.acl(f"{scene.name}/{name}", "-S", f"OWNER:{FOREIGN},ACL:{FOREIGN}:ALLOWED/0/FULL")
    done = scene.backup(source=scene.adapter(credentials_file=str(scene.server.ordinary)))
    said = sorted((notice.path, notice.code) for notice in done.warnings if notice.code == "unreadable")
    assert said == [(f"/{scene.name}/denied", "unreadable"), (f"/{scene.name}/shut", "unreadable")]
    assert b"open/file" in scene.entries()


def test_a_deep_tree_and_a_wide_folder_are_walked_whole(scene):
    deep = "/".join(f"level-{n}" for n in range(60))
    _write(scene.tree, f"{deep}/bottom", b"1")
    for number in range(3000):
        _write(scene.tree, f"wide/{number:05}", b"")
    scene.backup()
    entries = scene.entries()
    assert (f"{deep}/bottom".encode() in entries, sum(path.startswith(b"wide/") for path in entries)) == (True, 3000)


def test_five_thousand_small_files(scene):
    for number in range(5000):
        _write(scene.tree, f"d{number // 250}/{number}", number.to_bytes(4, "big") * 50)
    done = scene.backup()
    kinds = Counter(entry.kind for entry in scene.entries().values())
    assert (kinds[EntryKind.FILE], done.stats.bytes_read, done.warnings) == (5000, 5000 * 200, ())


def test_a_full_backup_reads_everything_again(scene):
    _write(scene.tree, "file", b"1" * 100)
    scene.backup()
    assert scene.backup(type=BackupType.FULL).stats.bytes_read == 100


def test_the_whole_share_can_be_protected(own_scene):
    _write(own_scene.server.share, "at-the-top", b"1")
    _write(own_scene.tree, "below", b"2")
    own_scene.rig.backup("/", source=own_scene.adapter(url=own_scene.server.url("data")))
    assert [entry.path for entry in own_scene.rig.reader().entries()] == [b"at-the-top", b"tree", b"tree/below"]


@pytest.mark.parametrize(
    "more", ["server signing = mandatory", "server max protocol = SMB3_02", "server max protocol = SMB2_10"]
)
def test_every_dialect_is_read(any_samba, more):
    scene = Scene(any_samba(more), "tree")
    _write(scene.tree, "small", b"1" * 5000)
    _write(scene.tree, "large", os.urandom(3_000_000))
    done = scene.backup()
    assert (done.stats.bytes_read, done.warnings) == (3_005_000, ())


@pytest.mark.parametrize("credits", [8, 20, 64])
def test_a_server_that_grants_few_credits_is_asked_for_less_at_once(any_samba, credits):
    scene = Scene(any_samba(f"smb2 max credits = {credits}"), "tree")
    made = {f"d{number % 9}/{number}": os.urandom(number * 2_000) for number in range(400)}
    made["large"] = os.urandom(7_000_000)
    for name, data in made.items():
        _write(scene.tree, name, data)
    done = scene.backup()
    scene.land("back")
    back = scene.server.share / "back/tree"
    assert {str(path.relative_to(back)): path.read_bytes() for path in back.rglob("*") if path.is_file()} == made
    assert done.warnings == ()


def test_a_missing_folder_is_said_to_be_missing(scene):
    with pytest.raises(SkyharborError) as caught:
        Rig().backup("/", source=scene.adapter(url=scene.server.url("data/nowhere/at-all")))
    assert (caught.value.code, "nowhere" in caught.value.detail) == ("source-missing", True)


def _after_scan(adapter, act):
    """Do something once all is scanned and nothing is read."""
    scan = adapter.scan

    def scanning(*span):
        yield from list(scan(*span))
        act()

    adapter.scan = scanning
    return adapter


def test_a_file_that_vanishes_is_told_and_the_rest_is_there(scene):
    for name in ("gone", "kept"):
        _write(scene.tree, name, b"1" * 100)
    done = scene.backup(source=_after_scan(scene.adapter(), lambda: os.remove(scene.tree / "gone")))
    assert [(notice.path, notice.code) for notice in done.warnings] == [(f"/{scene.name}/gone", "vanished")]
    assert sorted(scene.entries()) == [b"kept"]


def test_a_file_that_grows_meanwhile_is_taken_as_it_is_when_it_is_read(scene):
    _write(scene.tree, "log", b"1" * 100)
    scene.backup(source=_after_scan(scene.adapter(), lambda: _write(scene.tree, "log", b"2" * 300)))
    entry = scene.entries()[b"log"]
    content = b"".join(map(bytes, scene.rig.reader().read_chunks(entry.chunks)))
    assert (content, entry.size) == (b"2" * 300, 300)
    assert scene.backup().stats.bytes_read == 0


def test_a_file_that_becomes_a_folder_is_told(scene):
    _write(scene.tree, "name", b"1" * 100)

    def swap():
        os.remove(scene.tree / "name")
        (scene.tree / "name").mkdir()

    done = scene.backup(source=_after_scan(scene.adapter(), swap))
    assert [notice.path for notice in done.warnings] == [f"/{scene.name}/name"]
    assert scene.entries() == {}


@pytest.mark.parametrize("size", [100, 3_000_000])
def test_a_file_that_another_client_has_for_itself_is_told_in_words(scene, size):
    _write(scene.tree, "locked", b"1" * size)
    _write(scene.tree, "free", b"2")
    share = scene.adapter()._share
    with share.borrowed() as wire:
        path = f"{scene.name}/locked".encode()
        opening = wire.ask(smb.create(path, access=0x3, options=smb.IS_FILE, share=0))[0]
        opening.expect()
        done = scene.backup()
    share.hang_up()
    assert [(notice.path, notice.code) for notice in done.warnings] == [(f"/{scene.name}/locked", "unreadable")]
    assert "another program has it open" in done.warnings[0].message
    assert sorted(scene.entries()) == [b"free"]


@pytest.mark.parametrize("marked", [True, False])
def test_the_point_says_of_every_node_what_the_next_scan_will_say(scene, marked):
    for name in ("a/b/file", "a/other", "empty"):
        _write(scene.tree, name, name.encode() if name != "empty" else b"")
    _write(scene.tree, "large", os.urandom(3_000_000))
    _stream(scene, "a", "note", b"of a folder")
    _stream(scene, "a/other", "note", b"of a file")
    reading = SmbReading(spec=scene.spec(), marked=marked)
    scene.backup(source=SmbAdapter(reading))
    blocks = [block for block in SmbAdapter(reading).scan() if isinstance(block, Found)]
    seen = {
        path: (info.st_ctime_ns, info.st_mtime_ns, info.st_size, info.st_ino)
        for block in blocks
        for path, info in zip(block.paths, block.stats, strict=True)
    }
    kept = {one.path: (one.ctime_ns, one.mtime_ns, one.size, one.inode) for one in scene.rig.reader().entries()}
    assert kept == seen
    assert len(kept) == 7
