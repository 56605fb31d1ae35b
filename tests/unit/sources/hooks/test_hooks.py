"""Hooks: what may be run, how it ends, and that the command after always runs."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from shared.contracts.sources import Hooks
from shared.errors import SkyharborError
from shared.waiting import readable
from tests.support.trees import IS_ROOT
from workers.sources.hooks import running
from workers.sources.hooks.debt import KIND, left_behind, pay_for_the_dead
from workers.sources.hooks.pair import HookPair
from workers.sources.hooks.permission import allowed
from workers.sources.hooks.running import run


class Guarded:
    """A guard that only remembers."""

    def __init__(self):
        self.armed = {}

    def arm(self, kind, details, **_):
        number = len(self.armed) + 1
        self.armed[number] = (kind, dict(details))
        return number

    def disarm(self, number):
        self.armed.pop(number, None)


@pytest.fixture
def programs(tmp_path):
    folder = tmp_path / "hooks.d"
    folder.mkdir(mode=0o700)
    return folder


def _program(folder, name, script, mode=0o700):
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(mode)
    return str(path)


def _pair(tmp_path, programs, guard=None, **hooks):
    folder = tmp_path / "item"
    folder.mkdir(exist_ok=True)
    return HookPair(
        Hooks(**hooks),
        item_id="the-item",
        point_id="the-point",
        programs=None if programs is None else str(programs),
        folder=str(folder),
        guard=guard or Guarded(),
        check=lambda: None,
    )


def _lines(path):
    return path.read_text().splitlines() if path.exists() else []


# ── what may be run ──────────────────────────────────────────────────────────────────────────────────


def test_a_program_in_the_folder_may_be_named_by_its_name_or_its_path(programs):
    path = _program(programs, "thaw", "true")
    assert allowed(["thaw", "now"], str(programs)) == allowed([path, "now"], str(programs)) == [path, "now"]


@pytest.mark.parametrize("name", ["/bin/sh", "sh", "../sh", "/", "", "..", "sub/thaw"])
def test_a_program_elsewhere_is_refused(programs, name):
    with pytest.raises(SkyharborError, match="a hook is not allowed"):
        allowed([name], str(programs))


def test_without_a_folder_nothing_may_be_run(programs):
    _program(programs, "thaw", "true")
    with pytest.raises(SkyharborError, match="this worker runs no hooks"):
        allowed(["thaw"], None)


@pytest.mark.parametrize("mode", [0o720, 0o702, 0o600])
def test_a_program_that_others_may_write_or_nobody_can_run_is_refused(programs, mode):
    _program(programs, "thaw", "true", mode)
    with pytest.raises(SkyharborError):
        allowed(["thaw"], str(programs))


def test_a_folder_that_others_may_write_is_refused(programs):
    _program(programs, "thaw", "true")
    programs.chmod(0o777)
    with pytest.raises(SkyharborError, match="others than its owner may write"):
        allowed(["thaw"], str(programs))


def test_a_symlink_out_of_the_folder_is_refused(programs):
    os.symlink("/bin/sh", programs / "sh")
    with pytest.raises(SkyharborError, match="is no program"):
        allowed(["sh"], str(programs))


@pytest.mark.skipif(not IS_ROOT, reason="needs root to give a file away")
def test_a_program_of_another_user_is_refused(programs):
    os.chown(_program(programs, "thaw", "true"), 65534, 65534)
    with pytest.raises(SkyharborError, match="belongs to user 65534"):
        allowed(["thaw"], str(programs))


# ── how a command ends ───────────────────────────────────────────────────────────────────────────────


def test_the_last_words_of_a_command_are_kept():
    ended = run(["/bin/sh", "-c", "echo first; echo last >&2; exit 7"], environment={}, timeout=30)
    assert (ended.status, ended.tail) == (7, "first\nlast")


def test_a_command_without_end_is_killed_with_its_whole_family(tmp_path, monkeypatch):
    monkeypatch.setattr(running, "_GRACE", 0.3)
    family = tmp_path / "pids"
    script = f'trap "" TERM; sleep 600 & echo $! > {family}; echo $$ >> {family}; wait; while :; do sleep 1; done'
    ended = run(["/bin/sh", "-c", script], environment={}, timeout=0.5)
    assert ended.status is None
    members = _lines(family)
    assert len(members) == 2
    for pid in members:
        _must_end(int(pid))


def _must_end(pid):
    """Wait until a process runs no more; a zombie that nobody has collected yet does not run."""
    try:
        process = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        assert readable(process, seconds=60)
    finally:
        os.close(process)


def test_a_command_that_never_stops_talking_has_its_deadline():
    ended = run(["/bin/sh", "-c", "exec yes"], environment={}, timeout=0.5)
    assert ended.status is None
    assert ended.tail.endswith("y")


def test_a_child_that_keeps_the_output_open_holds_nobody(tmp_path):
    pid = tmp_path / "pid"
    ended = run(["/bin/sh", "-c", f"sleep 600 & echo $! > {pid}"], environment={}, timeout=60)
    os.kill(int(pid.read_text()), signal.SIGKILL)
    assert ended.status == 0


def test_a_cancelled_backup_ends_the_command(tmp_path):
    class Cancelled(Exception):
        pass

    def check():
        if (tmp_path / "pid").exists():
            raise Cancelled

    with pytest.raises(Cancelled):
        run(["/bin/sh", "-c", f"echo $$ > {tmp_path}/pid; exec sleep 600"], environment={}, timeout=600, check=check)
    _must_end(int((tmp_path / "pid").read_text()))


def test_a_program_that_is_not_there_has_not_ended_well(tmp_path):
    ended = run([str(tmp_path / "nothing")], environment={}, timeout=30)
    assert not ended.well
    assert "nothing" in ended.told([str(tmp_path / "nothing")], 30)


# ── the pair ─────────────────────────────────────────────────────────────────────────────────────────


def test_before_and_after_know_what_they_are_called_for(tmp_path, programs):
    said = tmp_path / "said"
    script = f'echo "$1 $SKYHARBOR_ITEM $SKYHARBOR_POINT $SKYHARBOR_OUTCOME" >> {said}'
    _program(programs, "hook", script)
    pair = _pair(tmp_path, programs, before=("hook", "before"), after=("hook", "after"))
    pair.hold()
    pair.release("read")
    pair.release("failed")
    assert _lines(said) == ["before the-item the-point ", "after the-item the-point read"]
    assert pair.notices() == []


def test_a_backup_fails_with_the_words_of_the_command_before_and_after_runs(tmp_path, programs):
    said = tmp_path / "said"
    _program(programs, "before", "echo the database is not there; exit 3")
    _program(programs, "after", f"echo $SKYHARBOR_OUTCOME >> {said}")
    guard = Guarded()
    pair = _pair(tmp_path, programs, guard, before=("before",), after=("after",))
    with pytest.raises(SkyharborError, match="before ended with status 3: the database is not there") as caught:
        pair.hold()
    assert "by hand" in caught.value.hint
    pair.release("failed")
    assert _lines(said) == ["failed"]
    assert guard.armed == {}
    assert left_behind(str(tmp_path / "item")) is None


def test_nothing_is_begun_when_the_command_after_is_not_allowed(tmp_path, programs):
    said = tmp_path / "said"
    _program(programs, "before", f"touch {said}")
    pair = _pair(tmp_path, programs, before=("before",), after=("/bin/sh",))
    with pytest.raises(SkyharborError, match="not allowed"):
        pair.hold()
    assert not said.exists()


def test_a_command_after_that_fails_is_said_and_forgotten(tmp_path, programs):
    _program(programs, "after", "echo still locked; exit 1")
    pair = _pair(tmp_path, programs, after=("after",))
    pair.hold()
    pair.release("read")
    assert [(one.code, one.message) for one in pair.notices()] == [
        ("hook-failed", "the command after: after ended with status 1: still locked")
    ]
    assert left_behind(str(tmp_path / "item")) is None


def test_the_guard_runs_what_a_dead_worker_owes_and_once(tmp_path, programs):
    said = tmp_path / "said"
    _program(programs, "after", f"echo $SKYHARBOR_POINT $SKYHARBOR_OUTCOME >> {said}")
    guard = Guarded()
    _pair(tmp_path, programs, guard, after=("after",)).hold()
    [(kind, details)] = guard.armed.values()
    assert kind == KIND
    pay_for_the_dead(details)
    pay_for_the_dead(details)
    assert _lines(said) == ["the-point lost"]


def test_the_guard_runs_nothing_that_the_worker_has_run(tmp_path, programs):
    said = tmp_path / "said"
    _program(programs, "after", f"echo $SKYHARBOR_OUTCOME >> {said}")
    guard = Guarded()
    pair = _pair(tmp_path, programs, guard, after=("after",))
    pair.hold()
    [(_, details)] = guard.armed.values()
    pair.release("read")
    pay_for_the_dead(details)
    assert _lines(said) == ["read"]


def test_the_next_backup_pays_what_a_machine_without_power_has_left(tmp_path, programs):
    said = tmp_path / "said"
    _program(programs, "after", f"echo after $SKYHARBOR_OUTCOME >> {said}")
    _program(programs, "before", f"echo before >> {said}")
    _pair(tmp_path, programs, before=("before",), after=("after",)).hold()
    again = _pair(tmp_path, programs, before=("before",), after=("after",))
    again.hold()
    again.release("read")
    assert _lines(said) == ["before", "after lost", "before", "after read"]


def test_a_command_dies_with_the_worker(tmp_path):
    code = (
        "import sys; from workers.sources.hooks.running import run; "
        f"run(['/bin/sh', '-c', 'echo $$ > {tmp_path}/pid; exec sleep 600'], environment={{}}, timeout=600)"
    )
    worker = subprocess.Popen([sys.executable, "-c", code])
    try:
        while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text().endswith("\n"):
            assert worker.poll() is None
            time.sleep(0.01)
    finally:
        worker.kill()
        worker.wait()
    _must_end(int((tmp_path / "pid").read_text()))


def test_the_note_of_what_is_owed_is_for_this_user_only(tmp_path, programs):
    _program(programs, "after", "true")
    _pair(tmp_path, programs, after=("after", "secret-looking")).hold()
    [note] = (tmp_path / "item").iterdir()
    assert note.stat().st_mode & 0o777 == 0o600
    assert json.loads(note.read_text())["command"] == ["after", "secret-looking"]
