"""Databases of SQLite are taken whole, sound and as of one commit, whatever their applications do meanwhile."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import pytest

from shared.errors import SkyharborError
from tests.unit.sources.sqlite.rig import make, query, take, writer
from workers.sources.sqlite import copying, fingerprint


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "own"


@pytest.fixture
def old(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let change times count at once, as they do two seconds later."""
    monkeypatch.setattr(fingerprint, "_YOUNG_NS", -(10**15))


def test_what_is_only_in_the_wal_is_in_the_copy(tmp_path: Path, folder: Path) -> None:
    app = make(tmp_path / "a.db", wal=True, rows=10)
    app.execute("PRAGMA wal_autocheckpoint=0")
    app.execute("INSERT INTO t (a) VALUES (4711)")
    taken = take(folder, tmp_path / "a.db")
    assert query(taken.files[str(tmp_path / "a.db")], "SELECT count(*), max(a) FROM t") == [(11, 4711)]
    app.close()


def test_what_is_not_committed_is_not_in_the_copy(tmp_path: Path, folder: Path) -> None:
    app = make(tmp_path / "a.db", wal=True, rows=10)
    app.execute("BEGIN IMMEDIATE")
    app.execute("DELETE FROM t")
    taken = take(folder, tmp_path / "a.db")
    app.execute("ROLLBACK")
    assert query(taken.files[str(tmp_path / "a.db")], "SELECT count(*) FROM t") == [(10,)]
    app.close()


def test_a_copy_is_of_one_commit_while_a_writer_goes_on_and_it_comes_to_its_end(tmp_path: Path, folder: Path) -> None:
    make(tmp_path / "a.db", wal=True, rows=80_000).close()  # several steps of copying
    with writer(tmp_path / "a.db") as done:
        asked: list[int] = []

        def wait_for_a_commit() -> None:
            """Between two steps there is a commit, always: what would make a copy without a transaction start over."""
            before = len(done)
            asked.append(before)
            assert len(asked) < 1000, "the copy begins again with every commit"
            while len(done) == before:
                time.sleep(0.001)

        taken = take(folder, tmp_path / "a.db", check=wait_for_a_commit)
    assert taken.notices == []
    content = taken.files[str(tmp_path / "a.db")]
    assert content[18:20] == b"\2\2"  # what is restored has a WAL again
    assert query(content, "SELECT sum(a), count(*) FROM t") == [(0, 80_000)]
    assert len(asked) > 3  # or nothing was proved


def test_writers_of_a_database_without_a_wal_wait_and_then_go_on(tmp_path: Path, folder: Path) -> None:
    make(tmp_path / "a.db").close()
    with writer(tmp_path / "a.db") as done:
        taken = take(folder, tmp_path / "a.db")
        before = len(done)
        while len(done) == before:
            time.sleep(0.001)
    assert query(taken.files[str(tmp_path / "a.db")], "SELECT sum(a), count(*) FROM t") == [(0, 2000)]


def test_the_entry_is_the_database_file_as_it_was(tmp_path: Path, folder: Path) -> None:
    make(tmp_path / "a.db").close()
    os.chmod(tmp_path / "a.db", 0o640)
    os.utime(tmp_path / "a.db", ns=(5, 1_234_567_890_000_000_007))
    entry = take(folder, tmp_path / "a.db").entries[str(tmp_path / "a.db")]
    assert (entry.mode, entry.mtime_ns, entry.uid) == (0o640, 1_234_567_890_000_000_007, os.getuid())


def test_an_unchanged_database_is_not_read_again(tmp_path: Path, folder: Path, old: None) -> None:
    app = make(tmp_path / "a.db", wal=True, rows=10)
    first = take(folder, tmp_path / "a.db")
    second = take(folder, tmp_path / "a.db", state=first.state)
    assert (second.kept, second.files) == ([str(tmp_path / "a.db")], {})
    assert second.state == first.state
    app.close()


@pytest.mark.parametrize("wal", [True, False])
def test_one_commit_more_and_it_is_read_again(tmp_path: Path, folder: Path, old: None, wal: bool) -> None:
    app = make(tmp_path / "a.db", wal=wal, rows=10)
    first = take(folder, tmp_path / "a.db")
    app.execute("UPDATE t SET a = 9 WHERE id = 3")
    second = take(folder, tmp_path / "a.db", state=first.state)
    assert query(second.files[str(tmp_path / "a.db")], "SELECT a FROM t WHERE id = 3") == [(9,)]
    app.close()


def test_a_change_that_hides_its_modification_time_is_seen(tmp_path: Path, folder: Path, old: None) -> None:
    app = make(tmp_path / "a.db", rows=10)
    first = take(folder, tmp_path / "a.db")
    info = os.stat(tmp_path / "a.db")
    app.execute("UPDATE t SET a = 9 WHERE id = 3")
    app.close()
    os.utime(tmp_path / "a.db", ns=(info.st_atime_ns, info.st_mtime_ns))
    assert take(folder, tmp_path / "a.db", state=first.state).kept == []


def test_a_database_that_changed_a_moment_ago_is_never_taken_for_unchanged(tmp_path: Path, folder: Path) -> None:
    app = make(tmp_path / "a.db", rows=10)
    first = take(folder, tmp_path / "a.db")
    assert first.state == {}
    assert take(folder, tmp_path / "a.db", state=first.state).kept == []
    app.close()


def test_a_backup_leaves_the_source_as_it_was(tmp_path: Path, folder: Path) -> None:
    app = make(tmp_path / "a.db", wal=True, rows=10)
    app.execute("INSERT INTO t (a) VALUES (1)")
    looks = {name: os.stat(tmp_path / name).st_mtime_ns for name in ("a.db", "a.db-wal")}
    take(folder, tmp_path / "a.db")
    assert {name: os.stat(tmp_path / name).st_mtime_ns for name in ("a.db", "a.db-wal")} == looks
    assert list(folder.iterdir()) == []
    app.close()


def test_a_crashed_application_s_wal_is_taken_and_not_thrown_away(tmp_path: Path, folder: Path) -> None:
    script = """
        import os, sqlite3, sys
        c = sqlite3.connect(sys.argv[1], isolation_level=None)
        c.execute("PRAGMA journal_mode=WAL"); c.execute("CREATE TABLE t (a)"); c.execute("INSERT INTO t VALUES (5)")
        os.kill(os.getpid(), 9)
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(script), tmp_path / "a.db"], check=False, timeout=60)
    wal = (tmp_path / "a.db-wal").read_bytes()
    assert wal
    taken = take(folder, tmp_path / "a.db")
    assert query(taken.files[str(tmp_path / "a.db")], "SELECT a FROM t") == [(5,)]
    assert (tmp_path / "a.db-wal").read_bytes() == wal


def test_what_a_crash_left_half_written_is_not_in_the_copy(tmp_path: Path, folder: Path) -> None:
    make(tmp_path / "a.db").close()
    script = """
        import os, sqlite3, sys
        c = sqlite3.connect(sys.argv[1], isolation_level=None)
        c.execute("PRAGMA cache_size=2"); c.execute("BEGIN"); c.execute("UPDATE t SET a = 7, b = randomblob(200)")
        os.kill(os.getpid(), 9)
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(script), tmp_path / "a.db"], check=False, timeout=60)
    assert (tmp_path / "a.db-journal").exists()
    taken = take(folder, tmp_path / "a.db")
    assert query(taken.files[str(tmp_path / "a.db")], "SELECT count(*), max(a) FROM t") == [(2000, 0)]


def test_a_database_that_is_locked_for_too_long_is_a_notice_and_others_are_taken(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copying, "_PATIENCE", 0.2)
    locked, free = make(tmp_path / "a.db"), make(tmp_path / "b.db")
    locked.execute("BEGIN EXCLUSIVE")
    taken = take(folder, tmp_path / "a.db", tmp_path / "b.db")
    assert list(taken.files) == [str(tmp_path / "b.db")]
    (notice,) = taken.notices
    assert (notice.path, notice.code) == (str(tmp_path / "a.db"), "unreadable")
    assert "kept it locked" in notice.message
    locked.close()
    free.close()


@pytest.mark.parametrize("content", [b"no database at all, but long enough to be looked at" * 100, os.urandom(8192)])
def test_no_database_at_all_is_an_error_that_says_so(tmp_path: Path, folder: Path, content: bytes) -> None:
    (tmp_path / "a.db").write_bytes(content)
    with pytest.raises(SkyharborError, match="no SQLite database, or an encrypted one") as caught:
        take(folder, tmp_path / "a.db")
    assert caught.value.code == "source-failed"


def test_an_empty_file_is_said_to_be_one(tmp_path: Path, folder: Path) -> None:
    (tmp_path / "a.db").touch()
    with pytest.raises(SkyharborError, match="it is empty"):
        take(folder, tmp_path / "a.db")


def test_a_missing_database_stops_the_backup_before_it_begins(tmp_path: Path, folder: Path) -> None:
    make(tmp_path / "a.db").close()
    with pytest.raises(SkyharborError, match=r"b\.db") as caught:
        take(folder, tmp_path / "a.db", tmp_path / "b.db")
    assert caught.value.code == "source-missing"
    assert not (tmp_path / "b.db").exists()


def test_a_damaged_database_is_taken_said_and_never_kept(tmp_path: Path, folder: Path, old: None) -> None:
    make(tmp_path / "a.db").close()
    with open(tmp_path / "a.db", "r+b") as file:
        file.seek(4096 * 20)
        file.write(b"\xff" * 4096)
    first = take(folder, tmp_path / "a.db")
    (notice,) = first.notices
    assert notice.code == "source-damaged"
    assert first.files[str(tmp_path / "a.db")][100:] == (tmp_path / "a.db").read_bytes()[100:]
    assert take(folder, tmp_path / "a.db", state=first.state).kept == []


def test_a_stop_ends_the_copy_between_two_steps_and_leaves_nothing(tmp_path: Path, folder: Path) -> None:
    make(tmp_path / "a.db", rows=40_000).close()

    class Stopped(Exception):
        pass

    asked: list[int] = []

    def stop() -> None:
        asked.append(1)
        if len(asked) > 2:
            raise Stopped

    with pytest.raises(Stopped):
        take(folder, tmp_path / "a.db", check=stop)
    assert list(folder.iterdir()) == []
    app = sqlite3.connect(tmp_path / "a.db", timeout=0, isolation_level=None)
    app.execute("DELETE FROM t")  # nothing holds it
    app.close()


def test_a_killed_backup_leaves_no_copy_and_no_lock(tmp_path: Path, folder: Path) -> None:
    make(tmp_path / "a.db", rows=40_000).close()
    script = f"""
        import os, pathlib
        from tests.unit.sources.sqlite.rig import take
        def check():
            asked.append(1)
            if len(asked) > 2: os.kill(os.getpid(), 9)
        asked = []
        take(pathlib.Path({str(folder)!r}), pathlib.Path({str(tmp_path / "a.db")!r}), check=check)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], check=False, timeout=60, cwd=os.getcwd())
    assert done.returncode == -9
    assert list(folder.iterdir()) == []
    app = sqlite3.connect(tmp_path / "a.db", timeout=0, isolation_level=None)
    app.execute("DELETE FROM t")
    app.close()


def test_what_a_kill_in_the_moment_of_making_a_copy_left_is_swept(tmp_path: Path, folder: Path) -> None:
    make(tmp_path / "a.db").close()
    folder.mkdir()
    (folder / (copying.COPY_PREFIX + "x")).touch()
    (folder / "something-else").touch()
    take(folder, tmp_path / "a.db")
    assert [path.name for path in folder.iterdir()] == ["something-else"]


def test_a_name_with_everything_that_a_uri_minds_is_a_name(tmp_path: Path, folder: Path) -> None:
    path = tmp_path / "a b?mode=memory&x=%41#ü.db"
    make(path, rows=3).close()
    assert query(take(folder, path).files[str(path)], "SELECT count(*) FROM t") == [(3,)]


def test_no_copy_is_left_open(tmp_path: Path, folder: Path) -> None:
    make(tmp_path / "a.db").close()
    open_before = set(os.listdir("/proc/self/fd"))
    sizes: list[Any] = []
    take(folder, tmp_path / "a.db", on_file=lambda node: sizes.append(node))
    assert set(os.listdir("/proc/self/fd")) <= open_before | {str(max(map(int, open_before)) + 1)}
    with pytest.raises(OSError, match="descriptor"):
        sizes[0].read_into(memoryview(bytearray(1)))
