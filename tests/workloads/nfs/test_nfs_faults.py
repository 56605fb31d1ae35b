"""Servers that refuse, forget, die, come back or say nothing are told from nodes that cannot be read."""

import contextlib
import os
import shutil
import socket
import threading

import msgspec
import pytest

from shared.contracts.sources import NfsSource
from shared.errors import SkyharborError
from shared.vault.entry import EntryKind
from tests.support.open_ends import none_more
from tests.support.samba import free_port
from tests.workloads.nfs.furnishing import write
from workers.engine.ports import Unreadable
from workers.sources.nfs import context as nfs_context
from workers.sources.nfs import library as nfs_library
from workers.sources.nfs.context import Context
from workers.sources.nfs.opened import OpenedNfsFile
from workers.sources.nfs.reading import NfsReading
from workers.sources.nfs.source import NfsAdapter
from workers.sources.shares.small import SmallFiles

NOBODY = 61_234
"""A user who owns nothing."""


def _told(done):
    return sorted((notice.path, notice.code, notice.message) for notice in done.warnings)


def _fails(scene, **changes):
    with none_more(), pytest.raises(SkyharborError) as caught:
        scene.rig.backup("/", source=scene.adapter(**changes))
    assert scene.rig.points() == []
    return caught.value


def _fails_at(url):
    with pytest.raises(SkyharborError) as caught:
        list(NfsAdapter(NfsReading(spec=NfsSource(url=url))).scan())
    return caught.value


# ── nodes ────────────────────────────────────────────────────────────────────────────────────────────


def test_what_is_shut_to_the_user_is_told_and_the_rest_is_in_the_point(either):
    write(either.tree, "open/file", b"1")
    write(either.tree, "shut/file", b"2")
    write(either.tree, "secret", b"3")
    (either.tree / "shut").chmod(0o700)
    (either.tree / "secret").chmod(0o600)
    done = either.backup(source=either.adapter(uid=NOBODY, gid=NOBODY))
    assert sorted(either.entries()) == [b"open", b"open/file", b"shut"]
    assert _told(done) == [("/secret", "unreadable", "access denied"), ("/shut", "unreadable", "access denied")]


def test_root_is_nobody_where_the_export_squashes_it(either, ganesha):
    folder = ganesha.squashed / either.name
    write(folder, "mine", b"1")
    write(folder, "theirs", b"2")
    (folder / "mine").chmod(0o600)
    url = ganesha.url(f"/{either.name}", version=either.version, tree=ganesha.squashed)
    done = either.backup(source=NfsAdapter(NfsReading(spec=msgspec.structs.replace(either.spec(), url=url))))
    assert (sorted(either.entries()), _told(done)) == ([b"theirs"], [("/mine", "unreadable", "access denied")])


def test_a_folder_that_vanishes_during_the_scan_is_told(either, monkeypatch):
    for name in ("a/file", "b/file", "c/deep/file"):
        write(either.tree, name, b"1")
    monkeypatch.setattr("workers.sources.shares.walk._AHEAD", 0)
    entries, turn = Context.entries, []

    def vanishing(self, path):
        turn.append(path)
        if path.endswith(b"/a"):
            shutil.rmtree(either.tree / "b")
            shutil.rmtree(either.tree / "c/deep")
        return entries(self, path)

    monkeypatch.setattr(Context, "entries", vanishing)
    done = either.backup()
    assert _told(done) == [("/b", "vanished", "it is not there")]
    assert sorted(either.entries()) == [b"a", b"a/file", b"b", b"c"]


def test_a_file_that_is_removed_while_it_is_read_is_told(scene):
    write(scene.tree, "large", os.urandom(9 * 1024 * 1024))
    adapter = scene.adapter()
    opened = OpenedNfsFile(adapter._server, b"large")
    os.remove(scene.tree / "large")
    with pytest.raises(Unreadable) as caught:
        _read_on(opened)
    opened.close()
    assert caught.value.notice.code == "vanished"


def _read_on(opened):
    while opened.read(1024 * 1024, 0) and opened.look():
        pass


def test_a_folder_of_the_server_that_is_not_there_is_said_by_its_name(either):
    error = _fails_at(either.server.url(f"/{either.name}/not there", version=either.version).replace(" ", "%20"))
    assert (error.code, f"{either.name}/not there" in error.detail) == ("source-missing", True)


def test_a_file_in_the_place_of_the_folder_is_no_folder(either):
    write(either.tree, "file", b"1")
    error = _fails_at(either.server.url(f"/{either.name}/file", version=either.version))
    assert error.code == "source-missing"


def test_a_changed_file_is_not_taken_by_the_quick_way(either):
    write(either.tree, "file", b"1" * 50)
    adapter = either.adapter()
    (found,) = [block for block in adapter.scan() if hasattr(block, "paths")]
    write(either.tree, "file", b"2" * 50)
    from workers.engine.seen import entry_of

    entry = entry_of(found.paths[0], found.stats[0])
    assert entry.kind == EntryKind.FILE
    assert adapter.read_whole(entry, memoryview(bytearray(51))).value == 0


# ── servers ──────────────────────────────────────────────────────────────────────────────────────────


def test_an_export_that_is_none_is_refused(ganesha):
    error = _fails_at(f"nfs://127.0.0.1:{ganesha.port}/elsewhere/x?mountport={ganesha.mount_port}")
    assert (error.code, "/elsewhere/x" in error.detail) == ("source-denied", True)


@pytest.mark.parametrize("how", ["version=4", "mountport=1"])
def test_a_port_that_nobody_listens_on_is_named(how):
    port = free_port()
    error = _fails_at(f"nfs://127.0.0.1:{port}/x?{how}")
    assert (error.code, str(port) in error.detail) == ("source-failed", True)


def test_a_host_that_is_not_known_is_no_refusal():
    assert _fails_at("nfs://host.invalid/x?version=4").code == "source-failed"


@pytest.mark.parametrize("how", ["version=4", "mountport={port}"])
def test_a_server_that_accepts_and_says_nothing_does_not_hold_us_for_ever(monkeypatch, how):
    monkeypatch.setattr(nfs_context, "PATIENCE_MS", 500)
    with socket.create_server(("127.0.0.1", 0)) as mute:
        port = mute.getsockname()[1]
        assert _fails_at(f"nfs://127.0.0.1:{port}/x?{how.format(port=port)}").code == "source-failed"


def test_a_connection_that_ends_with_a_request_under_way_does_not_write_to_our_stack(monkeypatch):
    """``nfs_destroy_context`` answers what waits by way of a frame of the call that gave up: workers died of it."""
    lib, used, contexts = nfs_library.library(), [], []
    for name in ("nfs_destroy_context", "nfs_lstat64"):
        monkeypatch.setattr(lib, name, used.append)
    for _ in range(50):  # whether the request is still under way depends on how the server's end arrives
        contexts.append(_hung_up())
        if contexts[-1].closed:
            break
    waiting = contexts.pop()
    assert lib.nfs_queue_length(waiting._at) == 1
    with pytest.raises(ConnectionResetError):
        waiting.lstat(b"/x")
    waiting.close()
    assert (used, waiting.closed) == ([], True)
    monkeypatch.undo()
    for context in contexts:
        context.close()


def _hung_up():
    """Try to mount what is not there any more once it was asked."""
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(0.2)
    port = listener.getsockname()[1]

    def die():
        asked = []
        with listener, contextlib.suppress(TimeoutError):
            asked.append(listener.accept()[0])
            asked.pop().close()
            asked.append(listener.accept()[0])
        for one in asked:
            one.close()

    dying = threading.Thread(target=die)
    dying.start()
    context = Context(version=3, port=port, mount_port=port, uid=0, gid=0)
    with pytest.raises(OSError, match=r"hung up|nfs_service failed"):
        context.mount("127.0.0.1", b"/x")
    dying.join()
    return context


def test_a_server_that_stops_answering_in_the_middle_is_no_point(own, monkeypatch):
    monkeypatch.setattr(nfs_context, "PATIENCE_MS", 1000)
    for number in range(300):
        write(own.tree, str(number), os.urandom(3000))
    _at_the_read(monkeypatch, 100, own.server.pause)
    try:
        assert _fails(own).code == "source-failed"
    finally:
        own.server.go_on()


def test_a_server_that_dies_among_small_files_is_no_point(own, monkeypatch):
    for number in range(600):
        write(own.tree, str(number), os.urandom(3000))
    turn = _at_the_read(monkeypatch, 200, own.server.stop)
    assert (_fails(own).code, turn[0] >= 200) == ("source-failed", True)


def test_a_server_that_dies_in_a_large_file_is_no_point(own, monkeypatch):
    write(own.tree, "large", os.urandom(40 * 1024 * 1024))
    fill, turn = OpenedNfsFile._fill, [0]

    def dying(self, buffer, offset):
        turn[0] += 1
        if turn[0] == 2:
            own.server.stop()
        return fill(self, buffer, offset)

    monkeypatch.setattr(OpenedNfsFile, "_fill", dying)
    assert _fails(own).code == "source-failed"


def test_a_server_that_dies_during_the_scan_is_no_point(own, monkeypatch):
    for number in range(200):
        write(own.tree, f"{number}/file", b"1")
    entries, turn = Context.entries, []

    def dying(self, path):
        turn.append(path)
        if len(turn) == 50:
            own.server.stop()
        return entries(self, path)

    monkeypatch.setattr(Context, "entries", dying)
    assert _fails(own).code == "source-failed"


def test_a_server_that_is_started_again_in_a_large_file_costs_nothing(own, monkeypatch):
    write(own.tree, "large", data := os.urandom(20 * 1024 * 1024))
    fill, begun = OpenedNfsFile._fill, []

    def interrupted(self, buffer, offset):
        if offset and not begun:
            begun.append(offset)
            own.server.stop()
            own.server.start()
        return fill(self, buffer, offset)

    monkeypatch.setattr(OpenedNfsFile, "_fill", interrupted)
    done = own.backup()
    (entry,) = own.entries().values()
    back = b"".join(map(bytes, own.rig.reader().read_chunks(entry.chunks)))
    assert (back == data, done.warnings, len(begun)) == (True, (), 1)


def test_an_open_file_outlives_a_server_that_has_forgotten_it(own):
    write(own.tree, "file", data := os.urandom(100_000))
    opened = OpenedNfsFile(own.adapter()._server, b"file")
    begin = opened.read(1000, 0)
    own.server.stop()
    own.server.start()
    assert (begin, opened.read(1000, 50_000), opened.look()) == (data[:1000], data[50_000:51_000], True)
    opened.close()


def test_an_answer_that_may_come_of_what_the_server_has_forgotten_is_asked_for_again(either, monkeypatch):
    write(either.tree, "file", b"1" * 10)
    lstat, asked = Context.lstat, []

    def forgetful(self, path):
        asked.append(self)
        if len(asked) == 1:
            raise OSError(116, "NFS3ERR_STALE")
        return lstat(self, path)

    monkeypatch.setattr(Context, "lstat", forgetful)
    done = either.backup()
    assert (done.warnings, list(either.entries())) == ((), [b"file"])
    assert asked[0].closed
    assert asked[1] is not asked[0]


def test_a_large_file_that_changed_while_the_server_was_away_is_not_glued_together(own, monkeypatch):
    write(own.tree, "large", os.urandom(20 * 1024 * 1024))
    fill, begun = OpenedNfsFile._fill, []

    def interrupted(self, buffer, offset):
        if offset and not begun:
            begun.append(offset)
            own.server.stop()
            write(own.tree, "large", os.urandom(20 * 1024 * 1024))
            own.server.start()
        return fill(self, buffer, offset)

    monkeypatch.setattr(OpenedNfsFile, "_fill", interrupted)
    done = own.backup()
    reader, now = own.rig.reader(), (own.tree / "large").read_bytes()
    kept = [b"".join(map(bytes, reader.read_chunks(entry.chunks))) == now for entry in own.entries().values()]
    lost = [("/large", "unreadable", "it changed while the connection was lost")]
    assert (kept, _told(done)) in [([], lost), ([True], [])]


def test_connections_that_are_cut_cost_nothing(either, monkeypatch):
    made = {f"{number % 7}/{number}": os.urandom(3000) for number in range(400)}
    for name, data in made.items():
        write(either.tree, name, data)
    turn = _at_the_read(monkeypatch, 150, lambda: _cut(either.server.port))
    done = either.backup()
    reader = either.rig.reader()
    back = {
        entry.path.decode(): b"".join(map(bytes, reader.read_chunks(entry.chunks)))
        for entry in reader.entries()
        if entry.kind == EntryKind.FILE
    }
    assert (back == made, done.warnings, turn[0] >= 150) == (True, (), True)


def _cut(port):
    """Hang up every connection of this process to the server."""
    for fd in os.listdir("/proc/self/fd"):
        if _leads_to(fd, port):
            with socket.socket(fileno=os.dup(int(fd))) as one:
                one.shutdown(socket.SHUT_RDWR)


def test_a_server_that_asks_to_wait_is_asked_again(scene, monkeypatch):
    monkeypatch.setattr("workers.sources.nfs.line._BUSY_SECONDS", 0)
    write(scene.tree, "slow", b"1" * 10)
    pread, asked = Context.pread, []

    def busy(self, *more):
        asked.append(more)
        if len(asked) < 4:
            raise BlockingIOError(11, "NFS3ERR_JUKEBOX")
        return pread(self, *more)

    monkeypatch.setattr(Context, "pread", busy)
    done = scene.backup()
    assert (done.warnings, list(scene.entries()), len(asked) >= 4) == ((), [b"slow"], True)


def test_a_server_that_cannot_read_one_file_costs_that_file_only(either, monkeypatch):
    write(either.tree, "bad", b"1" * 10)
    write(either.tree, "good", b"2" * 20)
    pread = Context.pread

    def broken(self, handle, size, offset):
        if self.fstat(handle)[7] == 10:
            raise OSError(5, "NFS3ERR_IO")
        return pread(self, handle, size, offset)

    monkeypatch.setattr(Context, "pread", broken)
    done = either.backup()
    assert sorted(either.entries()) == [b"good"]
    assert [(path, code) for path, code, _ in _told(done)] == [("/bad", "unreadable")]


def test_a_missing_library_is_said_with_the_package_that_brings_it(monkeypatch):
    monkeypatch.setattr(nfs_library, "_NAMES", ("libnfs.so.0",))
    nfs_library.library.cache_clear()
    try:
        error = _fails_at("nfs://127.0.0.1/x")
    finally:
        nfs_library.library.cache_clear()
    assert (error.code, "libnfs" in error.detail, "libnfs13" in error.fields["hint"]) == ("source-failed", True, True)


def test_connections_are_few_and_end_with_the_source(scene, monkeypatch):
    for number in range(60):
        write(scene.tree, f"{number}/file", b"1")
    mount, made = Context.mount, []

    def mounting(self, host, export):
        made.append(self)
        mount(self, host, export)

    monkeypatch.setattr(Context, "mount", mounting)
    adapter = scene.adapter()
    scene.backup(source=adapter)
    assert 1 <= len(made) <= 8
    assert [context for context in made if not context.closed] == []
    assert [thread for thread in threading.enumerate() if thread in adapter._server._pool._threads] == []


def _leads_to(fd, port):
    try:
        if not os.readlink(f"/proc/self/fd/{fd}").startswith("socket:"):
            return False
        with socket.socket(fileno=os.dup(int(fd))) as one:
            return one.family == socket.AF_INET and one.getpeername()[1] == port
    except OSError:
        return False


def _at_the_read(monkeypatch, number, act):
    read, turn = SmallFiles.read, [0]

    def reading(self, entry, room):
        turn[0] += 1
        if turn[0] == number:
            act()
        return read(self, entry, room)

    monkeypatch.setattr(SmallFiles, "read", reading)
    return turn
