"""What goes wrong with a MariaDB server makes no point, leaves nothing behind, and is said in words that help."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from shared.contracts.work import Progress
from shared.errors import SkyharborError
from shared.model.backup import BackupType
from shared.storage.local import LocalStore
from tests.support.mariadb import MariaDb, mariadb, needs_mariadb, started_on
from tests.support.small_disk import NoDisk, small_disk
from tests.unit.engine.rig import Rig
from tests.workloads.mysql.rig import PASSWORD, ServerRig
from tests.workloads.mysql.test_physical import at, fill
from workers.engine.ports import Stop, StopReason
from workers.sources.mysql import physical, session
from workers.sources.mysql.target import WORK

pytestmark = [needs_mariadb, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def db() -> Iterator[MariaDb]:
    with mariadb() as server:
        fill(server)
        server.ask(
            "USE d",
            "CREATE TABLE big (b LONGBLOB)",
            "INSERT INTO big SELECT REPEAT(MD5(seq), 30000) FROM seq_1_to_40",
        )
        yield server


@pytest.fixture
def item(db: MariaDb, tmp_path: Path) -> ServerRig:
    item = ServerRig(db, tmp_path / "own")
    item.grant()
    return item


class Watch:
    """A control that calls somebody at every check, once a mariabackup is under way."""

    def __init__(self, at: Any, *, after: int = 0) -> None:
        self.at = at
        self.after = after

    def check(self) -> None:
        if mariabackups():
            if self.after:
                self.after -= 1
            else:
                self.at()

    def progress(self, progress: Progress) -> None:
        """Nobody looks."""

    def commit(self) -> None:
        """Always."""


def mariabackups(parent: int | None = None) -> list[int]:
    """The children of this process, or of another, that run mariabackup."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat") as file:
                    words = file.read().rsplit(")", 1)
            except OSError:
                continue
            if "(mariabackup" in words[0] and int(words[1].split()[1]) == (parent or os.getpid()):
                found.append(int(name))
    return found


def is_free(db: MariaDb) -> bool:
    """Nobody holds the server back: tables may be made, and written, and no backup is under way."""
    db.ask("SET STATEMENT lock_wait_timeout=20 FOR CREATE OR REPLACE TABLE d.made (a INT) ENGINE=MyISAM")
    db.ask("SET STATEMENT lock_wait_timeout=20 FOR INSERT INTO d.made VALUES (1)")
    deadline = time.monotonic() + 30
    while held := db.ask("SELECT USER, INFO FROM information_schema.PROCESSLIST WHERE USER = 'backup'"):
        assert time.monotonic() < deadline, held
        time.sleep(0.05)
    return True


def test_a_cancelled_backup_leaves_no_program_no_lock_and_no_file(item: ServerRig) -> None:
    def cancel() -> None:
        raise Stop(StopReason.CANCELLED)

    with pytest.raises(Stop):
        item.backup(control=Watch(cancel, after=5))
    assert (mariabackups(), item.left_behind(), item.rig.points()) == ([], [], [])
    assert is_free(item.server)
    item.backup()


def test_a_stream_that_nobody_reads_to_its_end_ends_with_its_session(item: ServerRig) -> None:
    session = item.doors(lambda: None).open_session(None)
    assert not isinstance(session.reading, bytes)
    stream = session.reading.stream(None)
    left = [next(stream) for _ in range(3)]
    assert mariabackups()
    session.close()
    assert (mariabackups(), len(left)) == ([], 3)
    assert is_free(item.server)


def test_a_killed_worker_takes_its_program_and_all_locks_with_it(item: ServerRig, db: MariaDb) -> None:
    """It is killed while mariabackup holds the server's locks: that is when others would have to wait."""
    holding = db.connect()
    with holding.cursor() as cursor:
        cursor.execute("LOCK TABLES d.old WRITE")  # mariabackup has to wait for it, in the midst of its work
    script = f"""
        import sys
        from pathlib import Path
        from tests.support.mariadb import MariaDb
        from tests.workloads.mysql.rig import ServerRig
        db = MariaDb(Path({str(db.folder)!r}), Path({str(db.data)!r}))
        ServerRig(db, Path({str(item.folder)!r})).backup()
    """
    worker = subprocess.Popen([sys.executable, "-c", textwrap.dedent(script)], cwd=os.getcwd())
    try:
        deadline = time.monotonic() + 60
        while not db.ask(
            "SELECT 1 FROM information_schema.PROCESSLIST WHERE USER = 'backup' AND STATE LIKE 'Waiting for %lock'"
        ):
            assert worker.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
        programs = mariabackups(worker.pid)
        assert programs
    finally:
        worker.kill()
        worker.wait()
    # Still waiting for its lock, it writes nothing, and would not even notice that nobody reads it any more.
    deadline = time.monotonic() + 30
    while any(os.path.exists(f"/proc/{pid}") for pid in programs):
        assert time.monotonic() < deadline, "mariabackup has outlived its worker"
        time.sleep(0.02)
    holding.close()
    assert is_free(db)
    assert item.left_behind() == []
    item.backup()


def test_tables_that_stay_locked_end_the_backup_and_not_the_patience_of_others(
    item: ServerRig, db: MariaDb, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(physical, "LOCK_PATIENCE", 1)
    holding = db.connect()
    with holding.cursor() as cursor:
        cursor.execute("LOCK TABLES d.old WRITE")
        with pytest.raises(SkyharborError, match="kept tables locked") as caught:
            item.backup()
    holding.close()
    assert caught.value.code == "source-failed"
    assert "PROCESSLIST" in str(caught.value.fields["hint"])
    assert (item.rig.points(), item.left_behind()) == ([], [])
    assert is_free(db)


def test_a_program_that_dies_half_way_makes_no_point(item: ServerRig) -> None:
    def kill() -> None:
        for pid in mariabackups():
            os.kill(pid, signal.SIGKILL)

    with pytest.raises(SkyharborError) as caught:
        item.backup(control=Watch(kill, after=5))
    assert caught.value.code == "source-failed"
    assert (item.rig.points(), item.left_behind()) == ([], [])
    item.backup()


def test_a_server_that_dies_half_way_makes_no_point(tmp_path: Path) -> None:
    with mariadb() as db:
        item = ServerRig(db, tmp_path / "own")
        item.grant()
        fill(db)
        item.backup()
        with pytest.raises(SkyharborError) as caught:
            item.backup(control=Watch(db.kill, after=3))
        assert caught.value.code == "source-failed"
        assert len(item.rig.points()) == 1
        with pytest.raises(SkyharborError, match="does not answer"):
            item.backup()
        db.start()
        item.backup()


def test_the_password_is_nowhere_to_be_seen(item: ServerRig) -> None:
    seen: list[bytes] = []

    def look() -> None:
        for pid in mariabackups():
            for name in ("cmdline", "environ"):
                with suppress(OSError), open(f"/proc/{pid}/{name}", "rb") as file:
                    seen.append(file.read())

    item.backup(control=Watch(look))
    assert any(b"--backup" in one for one in seen)
    assert not [one for one in seen if PASSWORD.encode() in one]
    target = item.folder.parent / "files"
    item.restore(target, "/info.json", "/full")
    texts = [path for path in target.rglob("*") if path.is_file() and path.stat().st_size < 100_000]
    assert not [path for path in texts if PASSWORD.encode() in path.read_bytes()]


def test_a_wrong_password_is_said(item: ServerRig) -> None:
    item.write_credentials("wrong")
    with pytest.raises(SkyharborError, match="does not let 'backup' in") as caught:
        item.backup()
    assert caught.value.code == "source-denied"
    assert "credentials file" in str(caught.value.fields["hint"])
    assert "wrong" not in str(caught.value)


@pytest.mark.parametrize(
    "rights", ["USAGE", "PROCESS, LOCK TABLES, BINLOG MONITOR", "RELOAD, LOCK TABLES, BINLOG MONITOR"]
)
def test_a_missing_right_is_said_with_what_to_grant(item: ServerRig, rights: str) -> None:
    item.grant(rights)
    with pytest.raises(SkyharborError) as caught:
        item.backup()
    assert caught.value.code == "source-failed"
    assert "GRANT RELOAD, PROCESS, LOCK TABLES, BINLOG MONITOR" in str(caught.value.fields["hint"])
    assert item.rig.points() == []


def test_a_server_that_is_not_there_is_said(item: ServerRig, tmp_path: Path) -> None:
    away = ServerRig(MariaDb(tmp_path, tmp_path / "data"), tmp_path / "own")
    with pytest.raises(SkyharborError, match="does not answer") as caught:
        away.backup()
    assert "that it runs" in str(caught.value.fields["hint"])


def test_a_missing_program_is_said_with_the_package(
    item: ServerRig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SkyharborError, match="has no mariabackup") as caught:
        item.backup()
    assert "mariadb-backup" in str(caught.value.fields["hint"])


def test_a_program_of_another_series_is_not_used(
    item: ServerRig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "mariabackup"
    other.write_text("#!/bin/sh\necho 'mariabackup based on MariaDB server 10.6.12-MariaDB Linux (x86_64)'\n")
    other.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(SkyharborError, match=r"of the series 10\.6, the server of 10\.11"):
        item.backup()


def test_the_server_of_another_machine_is_not_taken_for_the_files_of_this_one(
    item: ServerRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session.os, "uname", lambda: os.uname_result(("Linux", "elsewhere", "", "", "")))
    with pytest.raises(SkyharborError, match="can only be read there"):
        item.backup()


# ── restores ─────────────────────────────────────────────────────────────────────────────────────────


def test_a_folder_with_anything_in_it_is_never_restored_into(item: ServerRig, tmp_path: Path) -> None:
    item.backup()
    target = tmp_path / "target"
    target.mkdir()
    (target / "mine").write_text("mine")
    with pytest.raises(SkyharborError, match="is not empty") as caught:
        item.restore(target)
    assert caught.value.code == "target-invalid"
    assert os.listdir(target) == ["mine"]


def test_a_restore_without_the_program_of_the_series_writes_nothing(
    item: ServerRig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    item.backup()
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SkyharborError, match=r"the point is of MariaDB 10\.11, and ") as caught:
        item.restore(tmp_path / "target")
    assert caught.value.code == "target-invalid"
    assert not (tmp_path / "target").exists()


@pytest.mark.parametrize("phase", ["restoring", "preparing"])
def test_a_restore_that_is_killed_can_be_made_again(item: ServerRig, db: MariaDb, phase: str) -> None:
    item.backup()
    target = db.folder / f"back-{phase}"
    pid = os.fork()
    if pid == 0:

        class Dying(Watch):
            def check(self) -> None:
                """Go on."""

            def progress(self, progress: Progress) -> None:
                if progress.phase == phase:
                    os.kill(os.getpid(), signal.SIGKILL)

        try:
            item.restore(target, control=Dying(None))
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL
    assert os.listdir(target) == [WORK]
    item.restore(target)
    assert WORK not in os.listdir(target)
    with started_on(target) as back:
        assert back.checksums() == db.checksums()


def test_a_cancelled_restore_leaves_nothing_of_the_data(item: ServerRig, tmp_path: Path) -> None:
    item.backup()

    class Cancelling(Watch):
        def progress(self, progress: Progress) -> None:
            if progress.phase == "preparing":
                raise Stop(StopReason.CANCELLED)

    with pytest.raises(Stop):
        item.restore(tmp_path / "target", control=Cancelling(None))
    assert os.listdir(tmp_path / "target") == []


@pytest.mark.parametrize(
    "room", [pytest.param(0, id="the-server-cannot-start"), pytest.param(32 << 20, id="the-server-waits-for-room")]
)
def test_a_disk_that_is_full_when_changes_are_done_again_is_said_and_not_waited_for(
    item: ServerRig, db: MariaDb, room: int
) -> None:
    db.ask("CREATE OR REPLACE TABLE d.grown (b LONGTEXT) ENGINE=MyISAM")
    item.backup(type=BackupType.FULL)
    for _ in range(64):
        db.ask("INSERT INTO d.grown VALUES (REPEAT(MD5(RAND()), 32768))")
    grown = db.pass_a_second()
    db.pass_a_second()
    item.backup()
    db.ask("DROP TABLE d.grown")
    try:
        with small_disk(str(db.folder / "disk"), 1 << 30) as disk:

            class Filling(Watch):
                def progress(self, progress: Progress) -> None:
                    if progress.phase == "replaying":
                        there = os.statvfs(disk.path)
                        disk.resize((there.f_blocks - there.f_bfree) * there.f_frsize + room)

            os.chmod(disk.path, 0o755)  # noqa: S103 - the server's user has to get in
            with pytest.raises(SkyharborError) as caught:
                item.restore(Path(disk.path) / "back", until=at(grown), control=Filling(None, after=1 << 30))
            assert caught.value.code == "target-full"
            assert os.listdir(Path(disk.path) / "back") == []
    except NoDisk as error:
        pytest.skip(f"no small disk here: {error}")


def test_a_damaged_point_is_never_made_into_a_data_folder(item: ServerRig, tmp_path: Path) -> None:
    item.rig = Rig(LocalStore.create(str(tmp_path / "vault")))
    item.backup()
    largest = tmp_path / "vault" / max(item.rig.reader().packs, key=lambda pack: pack.size).name
    data = bytearray(largest.read_bytes())
    data[len(data) // 2] ^= 1
    largest.chmod(0o600)
    largest.write_bytes(data)
    with pytest.raises(SkyharborError) as caught:
        item.restore(tmp_path / "target")
    assert caught.value.code == "object-damaged"
    assert os.listdir(tmp_path / "target") == []


def test_options_that_mean_nothing_are_refused(item: ServerRig, tmp_path: Path) -> None:
    item.backup()
    reader = item.rig.reader()
    with pytest.raises(SkyharborError, match="without format"):
        _land(item, reader, tmp_path / "target", {"format": "raw"})
    with pytest.raises(SkyharborError, match="no moment with a time zone"):
        _land(item, reader, tmp_path / "target", {"until": "some-name"})
    assert not (tmp_path / "target").exists()


def _land(item: ServerRig, reader: Any, target: Path, options: dict[str, str]) -> None:
    from shared.contracts.work import PointRef, RestoreInstruction
    from tests.support.uncontrolled import Uncontrolled
    from workers.sources.mysql.landing import land_mysql

    told = item.rig.instruction()
    point = PointRef(point_id=item.rig.points()[-1], machine=told.machine, item=told.item, vault=told.vault)
    instruction = RestoreInstruction(point=point, target=str(target), options=options)
    land_mysql(reader, instruction, control=Uncontrolled(), folder=str(item.folder))


def test_a_failed_restore_of_a_new_folder_may_be_followed_by_another(item: ServerRig, db: MariaDb) -> None:
    item.backup()
    target = db.folder / "again"
    item.restore(target)
    shutil.rmtree(target)
    item.restore(target)
    with started_on(target) as back:
        assert back.checksums() == db.checksums()
