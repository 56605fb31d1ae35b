"""What is brought back is what was there: to a share with everything, to a folder with all that fits."""

import os
import struct
from pathlib import Path

import msgspec
import pytest

from shared.contracts.sources import SmbSource
from shared.contracts.work import RestoreInstruction
from shared.errors import SkyharborError
from shared.model.backup import ConflictRule
from shared.vault.reader import PointReader
from tests.support.held import NoGuard
from tests.support.samba import Samba
from tests.support.uncontrolled import Uncontrolled
from tests.unit.engine.rig import Recorder, Rig
from tests.workloads.smb.conftest import POINT
from workers.engine.ports import SessionOrder, Stop
from workers.sources.shares import home_landing
from workers.sources.smb import messages as smb
from workers.sources.smb import status, writing
from workers.sources.smb import target as smb_target
from workers.sources.smb.describing import AUDIT
from workers.sources.smb.lander import land
from workers.sources.smb.nodes import DESCRIPTOR, INFO, READ_ONLY, STREAM, info_of
from workers.sources.smb.reading import SmbReading
from workers.sources.smb.session import SmbSession
from workers.sources.smb.source import SmbAdapter
from workers.sources.smb.wire import LineLost

FOREIGN = "S-1-5-21-1111111111-2222222222-3333333333-1234"


def _furnish(scene):
    """A tree with everything that a share can have."""
    (scene.tree / "deep/er").mkdir(parents=True)
    (scene.tree / "deep/er/file").write_bytes(b"content")
    (scene.tree / "empty").write_bytes(b"")
    (scene.tree / "large").write_bytes(os.urandom(3 * 1024 * 1024 + 5))
    (scene.tree / "ünï 日本").write_bytes(b"name")
    scene.server.acl(f"{scene.name}/deep/er/file", "-a", f"ACL:{FOREIGN}:ALLOWED/0/READ")
    scene.server.acl(f"{scene.name}/deep", "-a", f"ACL:{FOREIGN}:ALLOWED/0x3/FULL")
    scene.server.acl(f"{scene.name}/large", "-a", f"ACL:{FOREIGN}:DENIED/0/W")
    share, base = scene.adapter()._share, scene.name.encode() + b"/"
    for path, value in ((b"deep/er/file:note", b"stream"), (b"deep:of-folder", b"folder's"), (b"large:x", b"")):
        share.over(lambda wire, at=base + path, value=value: writing._write_stream(wire, at, value))
    _make_read_only(scene, "ünï 日本")
    os.utime(scene.tree / "empty", ns=(1, 1_234_567_890_123_456_700))


def _make_read_only(scene, path):
    """Set the attribute, as a Windows machine would."""

    def made(wire):
        opening, setting, _ = wire.ask(
            smb.create(f"{scene.name}/{path}".encode(), access=0x180, options=0),
            smb.set_info(smb.RELATED, smb.INFO_FILE, smb.BASIC_INFORMATION, smb.basic(attributes=READ_ONLY)),
            smb.close(smb.RELATED),
        )
        opening.expect()
        setting.expect()

    scene.adapter()._share.over(made)


def _facts(entries):
    """What must be the same about nodes that were brought back."""
    return {
        path: (entry.kind, entry.mode, entry.size, entry.mtime_ns, entry.chunks, dict(entry.xattrs))
        for path, entry in entries.items()
    }


def test_on_a_share_everything_is_as_it_was(scene):
    _furnish(scene)
    scene.backup()
    done = scene.land(f"{scene.name}/back")
    then = _facts(scene.entries())
    back = _facts(scene.seen_at(f"{scene.name}/back/{scene.name}"))
    assert done.warnings == ()
    assert (done.stats.files_restored, done.stats.directories_restored) == (4, 3)
    assert back == then
    assert FOREIGN in scene.server.acl(f"{scene.name}/back/{scene.name}/deep/er/file")


def test_the_attribute_of_a_read_only_file_comes_back_and_is_in_its_mode(scene):
    (scene.tree / "file").write_bytes(b"1")
    _make_read_only(scene, "file")
    scene.backup()
    scene.land(f"{scene.name}/back")
    (entry,) = scene.entries().values()
    (back,) = [one for path, one in scene.seen_at(f"{scene.name}/back").items() if path.endswith(b"/file")]
    assert (entry.mode, info_of(entry.xattrs)[0] & READ_ONLY, back.mode) == (0o444, READ_ONLY, 0o444)
    assert info_of(back.xattrs) == info_of(entry.xattrs)


def test_the_original_place_is_healed(scene):
    _furnish(scene)
    scene.backup()
    (scene.tree / "deep/er/file").write_bytes(b"damaged by somebody")
    os.remove(scene.tree / "large")
    done = scene.land("", rule=ConflictRule.OVERWRITE, target=scene.server.url("data"))
    assert _facts(scene.seen_at(scene.name)) == _facts(scene.entries())
    assert done.warnings == ()


def test_skip_keeps_what_is_there_and_brings_the_rest(scene):
    _furnish(scene)
    scene.backup()
    (scene.tree / "deep/er/file").write_bytes(b"newer")
    os.remove(scene.tree / "empty")
    done = scene.land("", rule=ConflictRule.SKIP, target=scene.server.url("data"))
    assert ((scene.tree / "deep/er/file").read_bytes(), (scene.tree / "empty").read_bytes()) == (b"newer", b"")
    assert (done.stats.files_restored, done.stats.files_skipped) == (1, 3)


def test_rename_puts_the_old_one_beside_the_new_one(scene):
    (scene.tree / "file").write_bytes(b"old")
    scene.backup()
    (scene.tree / "file").write_bytes(b"new")
    scene.land("", rule=ConflictRule.RENAME, target=scene.server.url("data"))
    scene.land("", rule=ConflictRule.RENAME, target=scene.server.url("data"))
    there = {path.name: path.read_bytes() for path in scene.tree.iterdir()}
    assert there == {"file": b"new", "file.restored-1": b"old", "file.restored-2": b"old"}


def test_a_read_only_file_can_be_overwritten(scene):
    (scene.tree / "file").write_bytes(b"old")
    scene.backup()
    (scene.tree / "file").write_bytes(b"new")
    _make_read_only(scene, "file")
    done = scene.land("", rule=ConflictRule.OVERWRITE, target=scene.server.url("data"))
    assert ((scene.tree / "file").read_bytes(), done.warnings) == (b"old", ())


def test_a_server_that_protects_read_only_files_is_asked_to_give_way(scene, monkeypatch):
    """Windows does not rename over a file with the attribute; Samba does, so its answer is changed to that."""
    (scene.tree / "file").write_bytes(b"old")
    scene.backup()
    (scene.tree / "file").write_bytes(b"new")
    _make_read_only(scene, "file")
    rename, refused = writing.FileWriter._rename, []

    def renaming(self, handle, name, *, replace):
        opening, _ = self._wire.ask(smb.create(self._at(name), access=0x80, options=0), smb.close(smb.RELATED))
        if replace and smb.created(opening.expect()).look.attributes & READ_ONLY:
            refused.append(name)
            return status.ACCESS_DENIED
        return rename(self, handle, name, replace=replace)

    monkeypatch.setattr(writing.FileWriter, "_rename", renaming)
    done = scene.land("", rule=ConflictRule.OVERWRITE, target=scene.server.url("data"))
    assert ((scene.tree / "file").read_bytes(), done.warnings, refused) == (b"old", (), [b"file"])


def test_single_paths_come_with_the_folders_above_them(scene):
    _furnish(scene)
    scene.backup()
    done = scene.land(f"{scene.name}/back", f"/{scene.name}/deep/er/file")
    back = Path(scene.server.share / scene.name / "back")
    assert [str(path.relative_to(back)) for path in back.rglob("*") if path.is_file()] == [f"{scene.name}/deep/er/file"]
    assert done.stats.files_restored == 1


def test_a_path_that_is_not_in_the_point_is_said_before_anything_is_written(scene):
    _furnish(scene)
    scene.backup()
    with pytest.raises(SkyharborError) as caught:
        scene.land(f"{scene.name}/back", "/nowhere")
    assert (caught.value.code, (scene.tree / "back").exists()) == ("path-not-in-point", False)


def test_a_folder_in_the_way_of_a_file_is_told_and_stays(scene):
    (scene.tree / "name").write_bytes(b"file")
    (scene.tree / "other").write_bytes(b"other")
    scene.backup()
    os.remove(scene.tree / "name")
    (scene.tree / "name/sub").mkdir(parents=True)
    done = scene.land("", rule=ConflictRule.OVERWRITE, target=scene.server.url("data"))
    assert [(notice.path, notice.code) for notice in done.warnings] == [(f"/{scene.name}/name", "not-restored")]
    assert sorted(path.name for path in scene.tree.iterdir()) == ["name", "other"]


def test_a_file_in_the_way_of_a_folder_is_told_and_stays(scene):
    (scene.tree / "name").mkdir()
    (scene.tree / "name/in").write_bytes(b"1")
    scene.backup()
    os.remove(scene.tree / "name/in")
    (scene.tree / "name").rmdir()
    (scene.tree / "name").write_bytes(b"a file now")
    done = scene.land("", rule=ConflictRule.OVERWRITE, target=scene.server.url("data"))
    assert [(notice.path, notice.code) for notice in done.warnings] == [(f"/{scene.name}/name", "target-conflict")]
    assert (scene.tree / "name").read_bytes() == b"a file now"


def test_a_restore_that_breaks_off_leaves_no_half_file(scene, monkeypatch):
    (scene.tree / "large").write_bytes(os.urandom(8 * 1024 * 1024))
    scene.backup()
    placed = writing.placed

    def torn(entry, chunks, *, most):
        for number, piece in enumerate(placed(entry, chunks, most=most)):
            if number == 2:
                wires[-1].close()  # as if the process had been killed: the server sees the line end
                raise Stopped
            yield piece

    class Watched(writing.FileWriter):
        def __init__(self, wire, *more):
            wires.append(wire)
            super().__init__(wire, *more)

    wires = []
    monkeypatch.setattr(smb_target, "FileWriter", Watched)
    monkeypatch.setattr(writing, "placed", torn)
    with pytest.raises(Stopped):
        scene.land(f"{scene.name}/back")
    while _hidden(scene):
        pass  # until the server has seen the end of the line; pytest's own limit ends a test that waits for ever
    assert [path for path in (scene.tree / "back").rglob("*") if path.is_file()] == []


class Stopped(Exception):
    """The end of the world in a test."""


def _hidden(scene):
    return list(scene.tree.rglob(".skyharbor-*"))


def test_a_restore_can_be_stopped(scene):
    for number in range(50):
        (scene.tree / str(number)).write_bytes(b"1")
    scene.backup()
    with pytest.raises(Stop):
        scene.land(f"{scene.name}/back", control=Recorder(stop_after=3))


def test_a_line_that_is_lost_in_the_middle_is_dialled_again_and_the_file_is_whole(scene, monkeypatch):
    (scene.tree / "large").write_bytes(data := os.urandom(8 * 1024 * 1024))
    scene.backup()
    settle, lost = writing._settle, []

    def losing(wire, number):
        if not lost:
            lost.append(wire)
            wire.close()
            raise LineLost("a cable was pulled")
        settle(wire, number)

    monkeypatch.setattr(writing, "_settle", losing)
    done = scene.land(f"{scene.name}/back")
    assert ((scene.tree / f"back/{scene.name}/large").read_bytes() == data, done.warnings, len(lost)) == (True, (), 1)


def test_a_server_that_is_gone_fails_the_restore(own_scene):
    (own_scene.tree / "file").write_bytes(b"1")
    own_scene.backup()
    own_scene.server.stop()
    with pytest.raises(SkyharborError) as caught:
        own_scene.land("back")
    assert (caught.value.code, caught.value.kind.retryable) == ("target-unreachable", True)


def test_credentials_are_never_sent_to_another_server(scene):
    (scene.tree / "file").write_bytes(b"1")
    scene.backup()
    with pytest.raises(SkyharborError) as caught:
        scene.land("", target="smb://127.0.0.9:1/data")
    assert (caught.value.code, "credentials" in caught.value.detail) == ("target-invalid", True)


def test_another_server_is_reached_with_credentials_of_its_own(scene, any_samba):
    (scene.tree / "file").write_bytes(b"1")
    scene.backup()
    other: Samba = any_samba("")
    done = scene.land("", target=other.url("data/in"), options={"credentials_file": str(other.credentials)})
    assert (other.share / f"in/{scene.name}/file").read_bytes() == b"1"
    assert done.warnings == ()


def test_a_full_disk_ends_the_restore_and_says_so(own_scene, monkeypatch):
    (own_scene.tree / "file").write_bytes(b"1" * 100_000)
    own_scene.backup()

    def full(self, handle, chunks):
        raise writing.Refused(0xC000007F)

    monkeypatch.setattr(writing.FileWriter, "_fill", full)
    with pytest.raises(SkyharborError) as caught:
        own_scene.land("back")
    assert caught.value.code == "target-full"


def test_a_folder_of_this_machine_gets_contents_times_and_the_rest_as_xattrs(scene, tmp_path):
    _furnish(scene)
    scene.backup()
    done = scene.rig.restore(tmp_path / "out")
    file = tmp_path / "out" / scene.name / "deep/er/file"
    kept = {os.fsencode(name): os.getxattr(file, name) for name in os.listxattr(file)}
    entry = scene.entries()[b"deep/er/file"]
    assert (file.read_bytes(), file.stat().st_mtime_ns, kept) == (b"content", entry.mtime_ns, dict(entry.xattrs))
    assert {DESCRIPTOR, INFO, STREAM + b"note"} == set(kept)
    assert done.warnings == ()


def test_a_target_without_xattrs_is_told_once(scene, tmp_path, monkeypatch):
    _furnish(scene)
    scene.backup()
    monkeypatch.setattr(home_landing, "_takes_xattrs", lambda _: False)
    reader: PointReader = scene.rig.reader()
    told = RestoreInstruction(point=POINT, target=str(tmp_path / "out"), source=SmbSource(url="smb://h/s"))
    done = land(reader, told, control=Uncontrolled(), folder=str(tmp_path))
    file = tmp_path / "out" / scene.name / "deep/er/file"
    assert ([notice.code for notice in done.warnings], done.stats.warnings) == (["metadata-not-kept"], 1)
    assert (file.read_bytes(), os.listxattr(file)) == (b"content", [])


def test_a_stream_that_the_point_does_not_have_is_told_again_when_it_is_missed(scene):
    (scene.tree / "file").write_bytes(b"main")
    adapter = scene.adapter(url=scene.server.url(f"depot/{scene.name}"))
    path = f"{scene.name}/file:resource".encode()
    adapter._share.over(lambda wire: writing._write_stream(wire, path, b"r" * 200_000))
    scene.backup(source=adapter)
    (notice,) = scene.land(f"{scene.name}/back").warnings
    assert (notice.code, "stream resource" in notice.message) == ("metadata-not-kept", True)


def _audited(scene, path):
    """Give a node an audit rule: whoever deletes it is written down."""
    everyone = bytes([1, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0])
    rule = struct.pack("<BBHI", 2, 0xC0, 8 + len(everyone), 0x10000) + everyone
    rules = struct.pack("<BBHHH", 2, 0, 8 + len(rule), 1, 0) + rule
    descriptor = struct.pack("<BBHIIII", 1, 0, 0x8010, 0, 0, 20, 0) + rules

    def made(wire):
        opening, setting, _ = wire.ask(
            smb.create(f"{scene.name}/{path}".encode(), access=AUDIT | 0x60080, options=0),
            smb.set_info(smb.RELATED, smb.INFO_SECURITY, 0, descriptor, additional=8),
            smb.close(smb.RELATED),
        )
        opening.expect()
        setting.expect()

    scene.adapter()._share.over(made)
    return rule


def test_audit_rules_come_along_where_we_may_see_them_and_are_told_where_they_cannot_be_set(own_scene, any_samba):
    scene = own_scene
    scene.server.grant("SeSecurityPrivilege")
    (scene.tree / "dir").mkdir()
    (scene.tree / "dir/file").write_bytes(b"1")
    rule = _audited(scene, "dir/file")
    _audited(scene, "dir")
    order = SessionOrder(scene.spec(), "item", "point", None, (), "/nowhere", NoGuard(), lambda: None)
    session = SmbSession(order)
    reading = msgspec.msgpack.decode(session.reading, type=SmbReading)
    session.close()
    scene.backup(source=SmbAdapter(reading))
    done = scene.land("back")
    again, spec = Rig(), scene.spec(url=scene.server.url("data/back"))
    again.backup("/", source=SmbAdapter(msgspec.structs.replace(reading, spec=spec)))
    then, back = scene.entries(), scene.entries(again, f"back/{scene.name}")
    assert (reading.audit, session.state["audit-rules"], done.warnings) == (True, "kept", ())
    for path in (b"dir", b"dir/file"):
        assert dict(back[path].xattrs)[DESCRIPTOR] == dict(then[path].xattrs)[DESCRIPTOR]
        assert rule in dict(then[path].xattrs)[DESCRIPTOR]
    other = any_samba("")
    poor = scene.land("", target=other.url("data/in"), options={"credentials_file": str(other.credentials)})
    assert sorted((notice.path, notice.message) for notice in poor.warnings) == [
        ("/tree/dir", "audit rules"),
        ("/tree/dir/file", "audit rules"),
    ]


def test_without_the_privilege_descriptors_come_without_audit_rules(scene):
    order = SessionOrder(scene.spec(), "item", "point", None, (), "/nowhere", NoGuard(), lambda: None)
    session = SmbSession(order)
    assert msgspec.msgpack.decode(session.reading, type=SmbReading).audit is False
    session.close()
