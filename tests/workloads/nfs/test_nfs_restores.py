"""Points go back to an export by NFS 3 with all that it can hold, by the rule, and complete or not at all."""

import os
import socket

import pytest

from shared.errors import SkyharborError
from shared.model.backup import ConflictRule
from tests.unit.engine.rig import Recorder
from tests.workloads.nfs.furnishing import WHEN, furnish, inner_differences, write
from workers.engine.ports import Stop
from workers.sources.nfs import target as nfs_target
from workers.sources.nfs.context import Context
from workers.sources.shares import landing


def test_a_point_restored_to_the_server_is_the_tree(scene):
    furnish(scene.tree)
    scene.backup()
    back, url = scene.beside()
    done = scene.land(url)
    assert done.warnings == ()
    _give_symlinks_their_time(back)
    assert inner_differences(scene.tree, back) == []


def _give_symlinks_their_time(tree):
    """This server takes the time of a symlink, says that all is well, and sets nothing (FSAL_VFS)."""
    for name in ("link", "broken"):
        os.utime(tree / name, ns=(WHEN, WHEN), follow_symlinks=False)


def test_a_point_restored_to_where_it_was_is_the_tree_again(scene, tmp_path):
    furnish(scene.tree)
    scene.backup()
    scene.land(str(tmp_path / "then"))
    for name in ("large", "link", "null", "zz", "pipe"):
        (scene.tree / name).unlink()
    (scene.tree / "d1").chmod(0o700)
    write(scene.tree, "d0/e0/0", b"damaged")
    scene.land(scene.server.url(f"/{scene.name}"), rule=ConflictRule.OVERWRITE)
    _give_symlinks_their_time(scene.tree)
    assert inner_differences(tmp_path / "then", scene.tree) == []


def test_a_url_on_the_items_server_needs_no_ports_of_its_own(scene):
    write(scene.tree, "file", b"1")
    scene.backup()
    back, _ = scene.beside()
    scene.land(f"nfs://127.0.0.1{back}")
    assert (back / "file").read_bytes() == b"1"


def test_a_part_of_a_point_comes_back_with_the_folders_above_it(scene):
    for name in ("a/b/file", "a/other", "c"):
        write(scene.tree, name, name.encode())
    (scene.tree / "a").chmod(0o711)
    scene.backup()
    back, url = scene.beside()
    scene.land(url, "/a/b")
    found = {str(path.relative_to(back)): oct(path.stat().st_mode) for path in back.rglob("*")}
    assert found == {"a": "0o40711", "a/b": "0o40755", "a/b/file": "0o100644"}


def test_a_further_name_without_the_first_gets_the_content(scene):
    write(scene.tree, "a/first", b"content")
    os.makedirs(scene.tree / "b")
    os.link(scene.tree / "a/first", scene.tree / "b/second")
    os.link(scene.tree / "a/first", scene.tree / "b/third")
    scene.backup()
    back, url = scene.beside()
    done = scene.land(url, "/b")
    assert (done.warnings, (back / "b/second").read_bytes()) == ((), b"content")
    assert (back / "b/second").stat().st_ino == (back / "b/third").stat().st_ino


def test_a_further_name_is_not_added_to_a_node_that_was_there(scene):
    write(scene.tree, "first", b"content")
    os.link(scene.tree / "first", scene.tree / "second")
    scene.backup()
    back, url = scene.beside()
    write(back, "first", b"somebody's own")
    scene.land(url)
    assert ((back / "first").read_bytes(), (back / "second").read_bytes()) == (b"somebody's own", b"content")


@pytest.mark.parametrize(
    ("rule", "there"),
    [
        (ConflictRule.SKIP, {"file": b"new", "link": b"->new", "pipe": b"new"}),
        (ConflictRule.OVERWRITE, {"file": b"old", "link": b"->old", "pipe": b"|"}),
        (
            ConflictRule.RENAME,
            {
                "file": b"new", "file.restored-1": b"old", "link": b"->new", "link.restored-1": b"->old",
                "pipe": b"new", "pipe.restored-1": b"|",
            },
        ),
    ],
)  # fmt: skip
def test_conflicts_go_by_the_rule(scene, rule, there):
    write(scene.tree, "file", b"old")
    os.symlink("old", scene.tree / "link")
    os.mkfifo(scene.tree / "pipe")
    scene.backup()
    for name in ("link", "pipe"):
        os.remove(scene.tree / name)
    write(scene.tree, "file", b"new")
    write(scene.tree, "pipe", b"new")
    os.symlink("new", scene.tree / "link")
    scene.land(scene.server.url(f"/{scene.name}"), rule=rule)
    found = {
        path.name: b"->" + os.fsencode(os.readlink(path))
        if path.is_symlink()
        else b"|"
        if path.is_fifo()
        else path.read_bytes()
        for path in scene.tree.iterdir()
    }
    assert found == there


@pytest.mark.parametrize("rule", list(ConflictRule))
def test_a_symlink_in_the_place_of_a_folder_leads_nothing_astray(scene, rule):
    write(scene.tree, "folder/file", b"1")
    scene.backup()
    back, url = scene.beside()
    (back.parent / f"{scene.name}-elsewhere").mkdir()
    back.mkdir()
    os.symlink(f"../{scene.name}-elsewhere", back / "folder")
    done = scene.land(url, rule=rule)
    assert os.listdir(back.parent / f"{scene.name}-elsewhere") == []
    assert [(notice.path, notice.code) for notice in done.warnings] == [("/folder", "target-conflict")]


def test_the_target_of_a_symlink_keeps_its_owner_and_time(scene):
    write(scene.tree, "target", b"1")
    os.symlink("target", scene.tree / "link")
    os.chown(scene.tree / "link", 77, 78, follow_symlinks=False)
    os.utime(scene.tree / "target", ns=(WHEN, WHEN))
    scene.backup()
    back, url = scene.beside()
    scene.land(url)
    looks = [(back / name).lstat() for name in ("target", "link")]
    assert [(look.st_uid, look.st_gid) for look in looks] == [(0, 0), (77, 78)]
    assert looks[0].st_mtime_ns == WHEN


def test_owners_that_the_server_does_not_let_us_give_are_told_and_take_no_rights_along(scene):
    write(scene.tree, "file", b"1")
    os.chown(scene.tree / "file", 1234, 1234)
    (scene.tree / "file").chmod(0o4755)
    scene.backup()
    scene.server.squashed.chmod(0o777)
    done = scene.land(scene.server.url(f"/{scene.name}", tree=scene.server.squashed))
    look = (scene.server.squashed / scene.name / "file").stat()
    assert [(notice.path, notice.code, notice.message) for notice in done.warnings] == [
        ("/file", "metadata-not-kept", "owner")
    ]
    assert (oct(look.st_mode), look.st_uid != 0) == ("0o100755", True)


def test_a_restore_that_is_stopped_leaves_nothing_half_made(scene):
    for number in range(40):
        write(scene.tree, str(number), b"1" * 1000)
    scene.backup()
    back, url = scene.beside()
    with pytest.raises(Stop):
        scene.land(url, control=Recorder(stop_after=8))
    assert list(back.rglob(".skyharbor-*")) == []


def test_a_connection_that_was_made_again_while_a_file_was_written_costs_that_file_another_go(scene, monkeypatch):
    write(scene.tree, "large", data := os.urandom(5 * 1024 * 1024))
    scene.backup()
    redialled, asked = Context.was_redialled, []

    def once(self):
        asked.append(self)
        return len(asked) == 1 or redialled(self)

    monkeypatch.setattr(Context, "was_redialled", once)
    back, url = scene.beside()
    done = scene.land(url)
    assert ((back / "large").read_bytes() == data, done.warnings, len(asked)) == (True, (), 2)
    assert os.listdir(back) == ["large"]


def test_a_connection_that_the_library_makes_again_is_seen(scene):
    server = scene.adapter()._server
    line = server.take()
    line.call(lambda context: context.lstat(b"/"))
    before = line.context.was_redialled()
    with socket.socket(fileno=os.dup(line.context._lib.nfs_get_fd(line.context._at))) as cut:
        cut.shutdown(socket.SHUT_RDWR)
    line.call(lambda context: context.lstat(b"/"))
    assert (before, line.context.was_redialled()) == (False, True)


def test_a_damaged_chunk_costs_its_file_and_nothing_else(scene, monkeypatch):
    write(scene.tree, "bad", b"1" * 1000)
    write(scene.tree, "good", b"2" * 1000)
    scene.backup()
    placed = nfs_target.placed

    def damaged(entry, chunks, *, most):
        if entry.path == b"bad":
            raise SkyharborError("object-damaged", "a chunk is gone")
        return placed(entry, chunks, most=most)

    monkeypatch.setattr(nfs_target, "placed", damaged)
    back, url = scene.beside()
    done = scene.land(url)
    assert ([(notice.path, notice.code) for notice in done.warnings], os.listdir(back)) == (
        [("/bad", "damaged")],
        ["good"],
    )


def test_many_further_names_are_added_as_they_come(scene, monkeypatch):
    monkeypatch.setattr(landing, "_LEFT", 3)
    write(scene.tree, "a/first", b"1")
    for number in range(10):
        os.makedirs(scene.tree / f"b{number}")
        os.link(scene.tree / "a/first", scene.tree / f"b{number}/more")
    scene.backup()
    back, url = scene.beside()
    done = scene.land(url)
    assert (done.warnings, (back / "a/first").stat().st_nlink) == ((), 11)


def test_nfs_4_is_refused_as_a_target(scene):
    write(scene.tree, "file", b"1")
    scene.backup()
    with pytest.raises(SkyharborError) as caught:
        scene.land(scene.server.url(f"/{scene.name}-back", version=4))
    assert (caught.value.code, "NFS 3" in caught.value.fields["hint"]) == ("target-invalid", True)


def test_a_target_that_is_not_exported_is_refused(scene):
    write(scene.tree, "file", b"1")
    scene.backup()
    with pytest.raises(SkyharborError) as caught:
        scene.land(f"nfs://127.0.0.1:{scene.server.port}/elsewhere/x?mountport={scene.server.mount_port}")
    assert (caught.value.code, "/elsewhere/x" in caught.value.detail) == ("target-invalid", True)


@pytest.mark.parametrize("version", [3])
def test_a_restore_whose_server_is_gone_is_tried_again(own):
    write(own.tree, "file", b"1")
    own.backup()
    own.server.stop()
    with pytest.raises(SkyharborError) as caught:
        own.land(own.server.url("/back"))
    assert (caught.value.code, caught.value.kind.retryable) == ("target-unreachable", True)
