"""The private PostgreSQL: reachable by us alone, and back after whatever happened to it."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import create_engine, text

from orchestrator.embedded.binaries import postgres_bin
from orchestrator.embedded.postgres import PrivatePostgres
from orchestrator.embedded.processes import is_alive
from shared.errors import SkyharborError
from tests.support.postgres import FAST
from tests.support.stack import wait_for

START = """
import os, sys
from orchestrator.embedded.postgres import PrivatePostgres
server = PrivatePostgres(sys.argv[1], settings={"fsync": "off"})
server.start()
print(server.pid, flush=True)
if sys.argv[2:] == ["stopped"]:
    os.kill(server.pid, 19)
os.kill(os.getpid(), 9)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One cluster for the module; every test starts and stops its own server on it."""
    return tmp_path_factory.mktemp("pg")


@pytest.fixture
def server(folder: Path) -> Iterator[PrivatePostgres]:
    with PrivatePostgres(folder, settings=FAST) as running:
        yield running


def test_sqlalchemy_reaches_it_by_its_url_and_checksums_are_on(server: PrivatePostgres) -> None:
    engine = create_engine(server.url)
    with engine.connect() as connection:
        answer = connection.execute(
            text("SELECT current_setting('data_checksums'), current_setting('server_encoding')")
        )
        assert answer.one() == ("on", "UTF8")
    engine.dispose()


def test_it_listens_on_no_network_address(server: PrivatePostgres) -> None:
    with psycopg.connect(server.dsn) as connection:
        assert connection.execute("SHOW listen_addresses").fetchone() == ("",)


def test_a_wrong_password_is_refused(server: PrivatePostgres) -> None:
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(server.dsn, password="wrong")


def test_the_server_never_runs_as_root_and_its_files_stay_the_callers(server: PrivatePostgres, folder: Path) -> None:
    with psycopg.connect(server.dsn) as connection:
        row = connection.execute("SELECT pg_read_file('/proc/self/status')").fetchone()
    assert row is not None
    uids = next(line for line in row[0].splitlines() if line.startswith("Uid:")).split()[1:]
    assert "0" not in uids
    owners = {path.stat().st_uid for path in folder.rglob("*")}
    assert owners == {os.geteuid()}
    assert stat.S_IMODE((folder / "password").stat().st_mode) == 0o600


def test_committed_rows_survive_a_kill_of_the_server(folder: Path) -> None:
    with PrivatePostgres(folder, settings=FAST) as first:
        with psycopg.connect(first.dsn, autocommit=True) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
        assert first.pid is not None
        os.kill(first.pid, signal.SIGKILL)
    with PrivatePostgres(folder, settings=FAST) as second, psycopg.connect(second.dsn) as connection:
        assert connection.execute("SELECT answer FROM kept").fetchone() == (42,)


def test_it_ends_by_itself_when_its_parent_is_killed(folder: Path) -> None:
    done = subprocess.run([sys.executable, "-c", START, str(folder)], stdout=subprocess.PIPE, text=True, check=False)
    pid = int(done.stdout)

    assert done.returncode == -signal.SIGKILL
    wait_for(lambda: not is_alive(pid), "the orphaned server to end", seconds=10)


def test_a_server_that_is_still_ending_is_waited_for(folder: Path) -> None:
    command = [sys.executable, "-c", START, str(folder), "stopped"]
    orphan = int(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False).stdout)
    woken = threading.Timer(0.5, os.kill, (orphan, signal.SIGCONT))  # the orphan needs so long to end
    woken.start()

    with PrivatePostgres(folder, settings=FAST) as server:
        assert server.is_ready()
        assert not is_alive(orphan)
    woken.join()


def test_a_pid_file_that_names_an_innocent_process_does_not_keep_it_from_starting(folder: Path) -> None:
    innocent = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
    (folder / "data" / "postmaster.pid").write_text(f"{innocent.pid}\n{folder}/data\n0\n5432\n\n\n")

    with PrivatePostgres(folder, settings=FAST) as server:
        assert server.is_ready()

    assert innocent.poll() is None
    innocent.communicate()


def test_a_half_made_cluster_is_made_again(tmp_path: Path) -> None:
    (tmp_path / "data.new").mkdir()
    (tmp_path / "data.new" / "PG_VERSION").write_text("18\n")

    with PrivatePostgres(tmp_path, settings=FAST) as server:
        assert server.is_ready()
    assert not (tmp_path / "data.new").exists()


def test_a_cluster_of_a_major_version_without_programs_is_refused(tmp_path: Path) -> None:
    (tmp_path / "PG_VERSION").write_text("9\n")

    with pytest.raises(SkyharborError, match="PostgreSQL 9") as caught:
        postgres_bin(data=str(tmp_path))
    assert caught.value.code == "stack-start-failed"


def test_a_folder_whose_path_is_too_long_for_a_socket_works(tmp_path: Path) -> None:
    with PrivatePostgres(tmp_path / ("long" * 30), settings=FAST) as server:
        assert server.is_ready()
