"""Whatever is wrong with a server, it is said in one error that a person can act on, and there is no point."""

import os
import re
import signal
import socket
import subprocess
import sys

import msgspec
import pytest

from shared.contracts.sources import FilesSource
from shared.errors import SkyharborError
from shared.model.bandwidth import BandwidthPlan
from tests.support.crews import Bench, running_chief
from tests.support.open_ends import none_more
from tests.support.samba import free_port
from tests.support.trees import settle
from tests.workloads.smb.conftest import Scene
from workers.sources.smb import dialing, small
from workers.sources.smb import messages as smb
from workers.sources.smb.opened import OpenedShareFile
from workers.sources.smb.reading import SmbReading
from workers.sources.smb.source import SmbAdapter
from workers.sources.smb.wire import LineLost, Wire


def _fails(scene, **changes):
    with none_more(), pytest.raises(SkyharborError) as caught:
        scene.rig.backup("/", source=scene.adapter(**changes))
    assert scene.rig.points() == []
    return caught.value


def _credentials(tmp_path, text, mode=0o600):
    path = tmp_path / "credentials"
    path.write_text(text)
    path.chmod(mode)
    return str(path)


def test_a_wrong_password_is_named_and_never_shown(scene, tmp_path):
    error = _fails(scene, credentials_file=_credentials(tmp_path, "user=harbor\npassword=hunter2-of-nobody\n"))
    assert (error.code, "harbor" in error.detail, "hunter2" in str(error)) == ("source-denied", True, False)
    assert "credentials file" in str(error.fields["hint"])


def test_an_unknown_share_is_named(scene):
    error = _fails(scene, url=scene.server.url("nothere"))
    assert (error.code, "nothere" in error.detail) == ("source-denied", True)


def test_a_port_that_nobody_listens_on_is_named(scene):
    port = free_port()
    error = _fails(scene, url=f"smb://127.0.0.1:{port}/data")
    assert (error.code, str(port) in error.detail) == ("source-failed", True)


def test_a_host_that_does_not_exist_is_named(scene):
    error = _fails(scene, url="smb://no-such-host.invalid/data")
    assert (error.code, "no-such-host.invalid" in error.detail) == ("source-failed", True)


def test_a_server_that_accepts_and_says_nothing_does_not_hold_us_for_ever(scene, monkeypatch):
    monkeypatch.setattr(dialing, "DIAL_SECONDS", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as mute:
        error = _fails(scene, url=f"smb://127.0.0.1:{mute.getsockname()[1]}/data")
    assert error.code == "source-failed"


def test_a_server_that_falls_silent_later_is_a_lost_line(scene, monkeypatch):
    (scene.tree / "file").write_bytes(b"1")
    monkeypatch.setattr(dialing, "PATIENCE", 0.3)
    adapter = scene.adapter()
    wire = dialing.dial(adapter._share.address, adapter._share._login, clock=adapter._share._clock, patience=0.3)[0]
    ours, theirs = socket.socketpair()
    wire._socket.close()
    wire._socket = ours
    ours.settimeout(0.3)
    try:
        with pytest.raises(LineLost, match="said nothing"):
            wire.ask(smb.create(b"", access=0x80, options=1))
    finally:
        theirs.close()


@pytest.mark.parametrize(
    ("text", "mode", "word"),
    [
        ("user=harbor\npassword=x\n", 0o644, "open to other users"),
        ("just text\n", 0o600, "key=value"),
        ("user=harbor\n", 0o600, "no user and password"),
    ],
)
def test_bad_credential_files_are_said_to_be_so(scene, tmp_path, text, mode, word):
    with pytest.raises(SkyharborError, match=word) as caught:
        scene.adapter(credentials_file=_credentials(tmp_path, text, mode))
    assert caught.value.code == "source-denied"


def test_a_share_that_the_user_may_not_use_is_named(any_samba, tmp_path):
    server = any_samba("invalid users = games")
    scene = Scene(server, "tree")
    error = _fails(scene, credentials_file=str(server.ordinary))
    assert (error.code, "may not use the share" in error.detail) == ("source-denied", True)


def test_a_server_that_dies_half_way_is_no_point(own_scene, monkeypatch):
    for number in range(600):
        (own_scene.tree / str(number)).write_bytes(os.urandom(3000))
    read, turn = small.SmallFiles.read, [0]

    def dying(self, entry, room):
        turn[0] += 1
        if turn[0] == 200:
            own_scene.server.stop()
        return read(self, entry, room)

    monkeypatch.setattr(small.SmallFiles, "read", dying)
    error = _fails(own_scene)
    assert (error.code, turn[0] >= 200) == ("source-failed", True)


def test_a_line_that_is_lost_once_costs_nothing(scene, monkeypatch):
    made = {str(number): os.urandom(3000) for number in range(300)}
    made["large"] = os.urandom(20 * 1024 * 1024)
    for name, data in made.items():
        (scene.tree / name).write_bytes(data)
    receive, turn = Wire.receive, [0]

    def losing(self, number):
        turn[0] += 1
        if turn[0] in (90, 1500, 2700):
            self._socket.shutdown(socket.SHUT_RDWR)
        return receive(self, number)

    monkeypatch.setattr(Wire, "receive", losing)
    done = scene.backup()
    reader = scene.rig.reader()
    back = {
        entry.path.rpartition(b"/")[2].decode(): b"".join(map(bytes, reader.read_chunks(entry.chunks)))
        for entry in reader.entries()
        if entry.kind == 1
    }
    assert (back == made, done.warnings, turn[0] > 2700) == (True, (), True)


def test_whatever_is_asked_over_a_line_that_was_lost_is_asked_once_more(scene):
    share = scene.adapter()._share
    wires = []

    def asking(wire):
        wires.append(wire)
        if len(wires) == 1:
            wire._socket.shutdown(socket.SHUT_RDWR)
        return wire.ask(smb.create(b"", access=0x100080, options=1), smb.close(smb.RELATED))[0].status

    assert (share.over(asking), len(set(map(id, wires))), wires[0].lost) == (0, 2, True)
    share.hang_up()


def test_a_file_that_changes_while_its_line_is_lost_is_not_half_one_and_half_the_other(scene, monkeypatch):
    (scene.tree / "large").write_bytes(b"1" * 40 * 1024 * 1024)
    fill, turn = OpenedShareFile._fill, [0]

    def losing(self, wire, buffer, offset):
        turn[0] += 1
        if turn[0] == 2:
            wire._socket.shutdown(socket.SHUT_RDWR)
            (scene.tree / "large").write_bytes(b"2" * 40 * 1024 * 1024)
        return fill(self, wire, buffer, offset)

    monkeypatch.setattr(OpenedShareFile, "_fill", losing)
    done = scene.backup()
    assert [(notice.code, "while the connection was lost" in notice.message) for notice in done.warnings] == [
        ("unreadable", True)
    ]


def test_a_limit_on_the_way_to_the_vault_only_makes_it_slow(scene, tmp_path):
    made = {str(number): os.urandom(20_000) for number in range(150)}
    for name, data in made.items():
        (scene.tree / name).write_bytes(data)
    reading = SmbReading(spec=scene.spec())
    with running_chief() as chief:
        bench = Bench(tmp_path / "vault", "processes", chief)
        plan = BandwidthPlan(upload=2_000_000)
        muster = bench.readers(FilesSource(paths=("/",)), reading=msgspec.msgpack.encode(reading), bandwidth=plan)
        done = bench.rig.backup("/", source=SmbAdapter(reading), muster=lambda _, writer: muster(writer))
    assert (done.stats.bytes_read, done.warnings) == (3_000_000, ())


def test_a_server_that_dies_in_a_large_file_is_no_point(own_scene, monkeypatch):
    (own_scene.tree / "large").write_bytes(os.urandom(40 * 1024 * 1024))
    fill, turn = OpenedShareFile._fill, [0]

    def dying(self, wire, buffer, offset):
        turn[0] += 1
        if turn[0] == 2:
            own_scene.server.stop()
        return fill(self, wire, buffer, offset)

    monkeypatch.setattr(OpenedShareFile, "_fill", dying)
    assert _fails(own_scene).code == "source-failed"


@pytest.mark.parametrize("more", ["server smb encrypt = off", ""])
def test_a_flipped_bit_on_the_line_ends_it(any_samba, more):
    scene = Scene(any_samba(more), "tree")
    wire = scene.adapter()._share.dial()
    exactly = wire._exactly
    frames = []

    def torn(room):
        data = exactly(room)
        if len(data) > 4:
            frames.append(len(data))
            data[-1] ^= 1
        return data

    wire._exactly = torn
    with pytest.raises(LineLost):
        wire.ask(smb.create(b"tree", access=0x100080, options=1))
    assert (len(frames), wire.lost, (wire._cipher is None) == bool(more)) == (1, True, True)


def test_a_reader_that_is_killed_leaves_no_open_file_at_the_server(own_scene, tmp_path):
    (own_scene.tree / "large").write_bytes(os.urandom(1024 * 1024))
    program = (
        "import sys, signal\n"
        "from shared.contracts.sources import SmbSource\n"
        "from workers.sources.smb.reading import SmbReading\n"
        "from workers.sources.smb.source import SmbAdapter\n"
        "from workers.engine.seen import entry_of\n"
        "source = SmbAdapter(SmbReading(spec=SmbSource(url=sys.argv[1], credentials_file=sys.argv[2])))\n"
        "(block,) = list(source.scan())\n"
        "opened = source.open(entry_of(block.paths[1], block.stats[1]))\n"
        "opened.read(10, 0)\n"
        "print('open', flush=True)\n"
        "signal.pause()\n"
    )
    spec = own_scene.spec()
    reader = subprocess.Popen(
        [sys.executable, "-c", program, spec.url, spec.credentials_file], stdout=subprocess.PIPE, text=True
    )
    try:
        assert reader.stdout.readline() == "open\n"
        assert "large" in own_scene.server.status()
        reader.send_signal(signal.SIGKILL)
        reader.wait(30)
        reader.stdout.close()
        while "large" in own_scene.server.status():
            pass  # pytest's own limit ends a test that waits for ever
    finally:
        reader.kill()
        reader.wait(30)
    assert re.search("large", own_scene.server.status()) is None


def test_hands_read_the_share_each_over_its_own_line(scene, tmp_path):
    made = {str(number): os.urandom(2000 + number) for number in range(1200)}
    made["large"] = os.urandom(150 * 1024 * 1024)
    for name, data in made.items():
        (scene.tree / name).write_bytes(data)
    reading = SmbReading(spec=scene.spec())
    with running_chief() as chief:
        bench = Bench(tmp_path / "vault", "processes", chief)
        settle(str(scene.tree))
        muster = bench.readers(FilesSource(paths=("/",)), reading=msgspec.msgpack.encode(reading))
        done = bench.rig.backup("/", source=SmbAdapter(reading), muster=lambda _, writer: muster(writer))
    reader = bench.rig.reader()
    back = {
        entry.path.rpartition(b"/")[2].decode(): b"".join(map(bytes, reader.read_chunks(entry.chunks)))
        for entry in reader.entries()
        if entry.kind == 1
    }
    assert (back == made, done.warnings) == (True, ())
