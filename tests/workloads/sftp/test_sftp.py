"""A folder of an SSH server comes into points and back, and servers that fail or lie are said to."""

import os
import socket
import stat
import threading

import msgspec
import pytest

from shared.contracts.sources import FilesSource
from shared.errors import SkyharborError
from shared.model.backup import ConflictRule
from shared.vault.entry import EntryKind, sort_key
from tests.support.compare import differences
from tests.support.crews import Bench, running_chief
from tests.support.samba import free_port
from tests.support.trees import settle
from tests.unit.engine.rig import Recorder
from workers.engine.ports import Found, Stop
from workers.engine.span import spans_between
from workers.sources.sftp import line as ssh_line
from workers.sources.sftp import source as sftp_source
from workers.sources.sftp import target as sftp_target
from workers.sources.sftp.opened import OpenedFarFile
from workers.sources.sftp.reading import SftpReading
from workers.sources.sftp.source import SftpAdapter
from workers.sources.shares.small import SmallFiles


def _write(folder, name, data):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def _furnish(tree, *, pipe=True):
    """A tree with whole seconds, which is all that SFTP tells."""
    for number in range(150):
        _write(tree, f"d{number % 5}/e{number % 3}/{number}", os.urandom(number * 50))
    _write(tree, "large", os.urandom(9 * 1024 * 1024 + 11))
    _write(tree, "empty", b"")
    _write(tree, "grüße 日本", b"1")
    _write(tree, os.fsdecode(b"not-utf8-\xff\xfe"), b"2")
    _write(tree, "n" * 255, b"3")
    os.symlink("d1/e1/1", tree / "link")
    os.symlink("/nowhere at all", tree / "broken")
    if pipe:
        os.mkfifo(tree / "pipe")
    (tree / "large").chmod(0o640)
    (tree / "d1").chmod(0o750)
    if os.geteuid() == 0:
        os.chown(tree / "large", 1234, 4321)
        os.chown(tree / "d2", 1, 1)
    for folder, folders, files in os.walk(tree, topdown=False):
        for name in (*files, *folders):
            os.utime(os.path.join(folder, name), (1_700_000_000, 1_700_000_000), follow_symlinks=False)
    os.utime(tree, (1_700_000_000, 1_700_000_000))


def _here(path):
    return {
        os.path.relpath(os.path.join(folder, name), path)
        for folder, folders, files in os.walk(path)
        for name in (*folders, *files)
    }


def test_a_point_restored_to_this_machine_is_the_tree(scene, tmp_path):
    _furnish(scene.tree)
    done = scene.backup()
    back = scene.land(str(tmp_path / "out"))
    assert (done.warnings, back.warnings) == ((), ())
    assert list(differences(str(scene.tree), str(tmp_path / "out") + str(scene.tree))) == []


def test_a_point_restored_to_the_server_is_the_tree_but_for_times_of_links(scene):
    _furnish(scene.tree, pipe=False)
    scene.backup()
    done = scene.land(scene.to(f"{scene.name}-back"))
    back = scene.server.tree / f"{scene.name}-back{scene.tree}"
    for name in ("link", "broken"):
        os.utime(back / name, (1_700_000_000, 1_700_000_000), follow_symlinks=False)
    assert done.warnings == ()
    assert list(differences(str(scene.tree), str(back))) == []


def test_a_node_that_sftp_cannot_make_is_told(scene):
    os.mkfifo(scene.tree / "pipe")
    scene.backup()
    done = scene.land(scene.to(f"{scene.name}-back"))
    assert [notice.code for notice in done.warnings] == ["special-not-created"]


def test_what_has_not_changed_is_not_read_again_and_what_has_is(scene):
    _furnish(scene.tree)
    settle(str(scene.tree))
    scene.backup()
    again = scene.backup().stats
    _write(scene.tree, "d1/e1/1", b"2" * 777)
    (scene.tree / "large").chmod(0o600)
    after = scene.backup().stats
    assert (again.bytes_read, again.files_changed, again.files_new) == (0, 0, 0)
    assert (after.files_changed, after.bytes_read) == (2, 777 + 9 * 1024 * 1024 + 11)
    assert stat.S_IMODE(scene.entries()[b"large"].mode) == 0o600


def test_a_file_that_is_young_is_read_again(scene, monkeypatch):
    monkeypatch.setattr(sftp_source, "_YOUNG_NS", 3_000_000_000_000)
    _write(scene.tree, "young", b"1" * 100)
    scene.backup()
    assert scene.backup().stats.bytes_read == 100


def test_the_order_is_that_of_a_point_and_spans_are_its_parts(scene):
    for name in ("a/x", "a-b", "a.txt", "a/y/z", "B", "ab/c", "z!/q"):
        _write(scene.tree, name, b"1")
    adapter = scene.adapter()

    def paths(span=None):
        blocks = adapter.scan(span) if span else adapter.scan()
        return [path for block in blocks if isinstance(block, Found) for path in block.paths]

    whole = paths()
    assert whole == sorted(whole, key=sort_key)
    for borders in ([scene.path + b"/a/x"], [scene.path + b"/a", scene.path + b"/a-b"], [b"a", scene.path + b"/zz"]):
        assert [path for span in spans_between(borders) for path in paths(span)] == whole


def test_excludes_are_patterns_on_paths_of_the_server(scene):
    for name in ("keep", "x.tmp", "cache/in", "sub/y.tmp"):
        _write(scene.tree, name, b"1")
    done = scene.backup(source=scene.adapter(excludes=("*.tmp", f"{scene.tree}/cache")))
    assert (sorted(scene.entries()), done.stats.excluded) == ([b"keep", b"sub"], 3)


def test_symlinks_are_kept_and_never_followed(scene, tmp_path):
    (tmp_path / "secret").write_bytes(b"outside")
    os.symlink(tmp_path, scene.tree / "out")
    os.symlink(".", scene.tree / "loop")
    scene.backup()
    kinds = {path: (entry.kind, entry.target) for path, entry in scene.entries().items()}
    assert kinds == {b"out": (EntryKind.SYMLINK, os.fsencode(tmp_path)), b"loop": (EntryKind.SYMLINK, b".")}


def test_a_file_that_becomes_a_symlink_is_not_followed(scene, tmp_path):
    _write(scene.tree, "file", b"1" * 50)
    (tmp_path / "secret").write_bytes(b"2" * 50)
    for path in (scene.tree / "file", tmp_path / "secret"):
        os.utime(path, (1_700_000_000, 1_700_000_000))
    adapter = scene.adapter()
    scan = adapter.scan

    def scanning(span=None):
        yield from list(scan(span) if span else scan())
        os.remove(scene.tree / "file")
        os.symlink(tmp_path / "secret", scene.tree / "file")

    adapter.scan = scanning
    done = scene.backup(source=adapter)
    assert (scene.entries(), [notice.code for notice in done.warnings]) == ({}, ["vanished"])


def test_hands_read_the_server_each_over_its_own_line(scene, tmp_path):
    _furnish(scene.tree)
    _write(scene.tree, "huge", os.urandom(140 * 1024 * 1024))
    reading = SftpReading(spec=scene.spec())
    with running_chief() as chief:
        bench = Bench(tmp_path / "vault", "processes", chief)
        muster = bench.readers(FilesSource(paths=("/",)), reading=msgspec.msgpack.encode(reading))
        done = bench.rig.backup("/", source=SftpAdapter(reading), muster=lambda _, writer: muster(writer))
    bench.rig.restore(tmp_path / "out")
    back = tmp_path / f"out{scene.tree}"
    assert (done.warnings, (back / "huge").read_bytes() == (scene.tree / "huge").read_bytes()) == ((), True)
    assert _here(back) == _here(scene.tree)


# ── restoring ────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("rule", "there"),
    [
        (ConflictRule.SKIP, {"file": b"new", "link": b"->new"}),
        (ConflictRule.OVERWRITE, {"file": b"old", "link": b"->old"}),
        (
            ConflictRule.RENAME,
            {"file": b"new", "file.restored-1": b"old", "link": b"->new", "link.restored-1": b"->old"},
        ),
    ],
)
def test_conflicts_go_by_the_rule(scene, rule, there):
    _write(scene.tree, "file", b"old")
    os.symlink("old", scene.tree / "link")
    scene.backup()
    _write(scene.tree, "file", b"new")
    os.remove(scene.tree / "link")
    os.symlink("new", scene.tree / "link")
    scene.land(f"sftp://127.0.0.1:{scene.server.port}/", rule=rule)
    found = {
        path.name: b"->" + os.fsencode(os.readlink(path)) if path.is_symlink() else path.read_bytes()
        for path in scene.tree.iterdir()
    }
    assert found == there


def test_a_restore_that_is_stopped_leaves_nothing_half_made(scene, monkeypatch):
    for number in range(40):
        _write(scene.tree, str(number), b"1" * 1000)
    scene.backup()
    with pytest.raises(Stop):
        scene.land(scene.to(f"{scene.name}-back"), control=Recorder(stop_after=8))
    left = list((scene.server.tree / f"{scene.name}-back").rglob(".skyharbor-*"))
    assert left == []


def test_a_line_that_is_lost_in_the_middle_of_a_restore_is_dialled_again(scene, monkeypatch):
    _write(scene.tree, "large", data := os.urandom(5 * 1024 * 1024))
    scene.backup()
    fill, lost = sftp_target._fill, []

    def losing(line, *more):
        if not lost:
            lost.append(line)
            line._connection.abort()
        fill(line, *more)

    monkeypatch.setattr(sftp_target, "_fill", losing)
    done = scene.land(scene.to(f"{scene.name}-back"))
    back = scene.server.tree / f"{scene.name}-back{scene.tree}/large"
    assert (back.read_bytes() == data, done.warnings, len(lost)) == (True, (), 1)


def test_a_restore_whose_server_is_gone_is_tried_again(own_scene):
    _write(own_scene.tree, "file", b"1")
    own_scene.backup()
    own_scene.server.stop()
    with pytest.raises(SkyharborError) as caught:
        own_scene.land(own_scene.to("back"))
    assert (caught.value.code, caught.value.kind.retryable) == ("target-unreachable", True)


def test_credentials_are_never_sent_to_another_server(scene):
    _write(scene.tree, "file", b"1")
    scene.backup()
    with pytest.raises(SkyharborError) as caught:
        scene.land("sftp://127.0.0.9/back")
    assert caught.value.code == "target-invalid"


# ── what can be wrong ────────────────────────────────────────────────────────────────────────────────


def _fails(scene, **changes):
    with pytest.raises(SkyharborError) as caught:
        scene.rig.backup("/", source=scene.adapter(**changes))
    assert scene.rig.points() == []
    return caught.value


def test_a_server_whose_key_is_not_known_is_refused(scene, tmp_path):
    (tmp_path / "known").write_text("")
    error = _fails(scene, known_hosts=str(tmp_path / "known"))
    assert (error.code, "is not in" in error.detail) == ("source-denied", True)


def test_a_server_whose_key_has_changed_is_refused_in_other_words(own_scene):
    own_scene.server.know("other")
    error = _fails(own_scene)
    assert (error.code, "another key" in error.detail) == ("source-denied", True)


def test_a_key_that_the_server_does_not_take_is_named(own_scene):
    server = own_scene.server
    server.write_credentials(f"user={server.user}\nkey={server.folder}/other\n")
    error = _fails(own_scene)
    assert (error.code, f"user {server.user}" in error.detail) == ("source-denied", True)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("user=root\n", "neither password nor key"),
        ("user=root\nkey=/nowhere/key\n", "cannot be used"),
        ("user=root\npassword=hunter2-of-nobody\n", "does not accept"),
    ],
)
def test_credentials_that_do_not_help_are_said_to_be_so(own_scene, text, word):
    own_scene.server.write_credentials(text)
    with pytest.raises(SkyharborError, match=word) as caught:
        own_scene.rig.backup("/", source=own_scene.adapter())
    assert (caught.value.code, "hunter2" in str(caught.value)) == ("source-denied", False)


def test_a_missing_folder_is_said_to_be_missing(scene):
    error = _fails(scene, url=scene.server.url("/not/there"))
    assert error.code == "source-missing"


def test_a_port_that_nobody_listens_on_is_named(scene):
    port = free_port()
    error = _fails(scene, url=f"sftp://127.0.0.1:{port}/x")
    assert (error.code, str(port) in error.detail) == ("source-failed", True)


def test_a_server_that_accepts_and_says_nothing_does_not_hold_us_for_ever(scene, monkeypatch):
    monkeypatch.setattr(ssh_line, "DIAL_SECONDS", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as mute:
        error = _fails(scene, url=f"sftp://127.0.0.1:{mute.getsockname()[1]}/x")
    assert error.code == "source-failed"


def test_a_server_that_dies_half_way_is_no_point(own_scene, monkeypatch):
    for number in range(600):
        _write(own_scene.tree, str(number), os.urandom(3000))
    read, turn = SmallFiles.read, [0]

    def dying(self, entry, room):
        turn[0] += 1
        if turn[0] == 200:
            own_scene.server.stop()
        return read(self, entry, room)

    monkeypatch.setattr(SmallFiles, "read", dying)
    error = _fails(own_scene)
    assert (error.code, turn[0] >= 200) == ("source-failed", True)


def test_a_line_that_is_lost_once_costs_nothing(scene, monkeypatch):
    made = {str(number): os.urandom(3000) for number in range(300)}
    made["large"] = os.urandom(20 * 1024 * 1024)
    for name, data in made.items():
        _write(scene.tree, name, data)
    result, turn, moments = ssh_line.SshLine.result, [0], [50, 310]

    def losing(self, future):
        turn[0] += 1
        if moments and turn[0] >= moments[0] and not self.lost:
            del moments[0]
            self._loop.call_soon_threadsafe(self._connection.abort)
        return result(self, future)

    monkeypatch.setattr(ssh_line.SshLine, "result", losing)
    done = scene.backup()
    reader = scene.rig.reader()
    back = {
        entry.path.rpartition(b"/")[2].decode(): b"".join(map(bytes, reader.read_chunks(entry.chunks)))
        for entry in reader.entries()
        if entry.kind == 1
    }
    assert (back == made, done.warnings, moments) == (True, (), [])


def test_a_server_that_dies_in_a_large_file_is_no_point(own_scene, monkeypatch):
    _write(own_scene.tree, "large", os.urandom(40 * 1024 * 1024))
    fill, turn = OpenedFarFile._fill, [0]

    def dying(self, buffer, offset):
        turn[0] += 1
        if turn[0] == 2:
            own_scene.server.stop()
        return fill(self, buffer, offset)

    monkeypatch.setattr(OpenedFarFile, "_fill", dying)
    assert _fails(own_scene).code == "source-failed"


def test_a_line_that_is_closed_leaves_no_thread(scene):
    line = scene.adapter()._server.line()
    line.close()
    line.close()
    assert [thread for thread in threading.enumerate() if thread is line._thread] == []
