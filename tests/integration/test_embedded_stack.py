"""up, status and down, as people use them: once, twice, on a bad home, and after every kind of death."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import psycopg
import pytest

import orchestrator
from orchestrator.embedded.home import find_home
from orchestrator.embedded.processes import marked
from orchestrator.embedded.valkey import PrivateValkey
from tests.support.postgres import database_url, postgres_server  # noqa: F401 - fixtures
from tests.support.stack import Stack, wait_for

pytestmark = pytest.mark.stack

NOBODY = 65534
PARTS = {"postgres", "valkey", "api", "loops", "auditor", "worker"}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """One home for the module: tests find it running or start it again, and it is stopped at the end."""
    path = tmp_path_factory.mktemp("sky") / "home"
    yield path
    Stack(path).down()


@pytest.fixture
def stack(home: Path) -> Stack:
    """The stack of that home, running."""
    running = Stack(home)
    if running.run("status").code != 0:
        running.up()
    return running


def survivors(home: Path) -> list[int]:
    found = find_home(str(home))
    return [process.pid for process in marked(found.id)] if found else []


def healthy_again(stack: Stack) -> bool:
    status = stack.status()
    return bool(status["healthy"]) and httpx.get(status["url"] + "/readyz").status_code == 200


def part_pid(stack: Stack, part: str) -> int | None:
    return next((p["pid"] for p in stack.status()["processes"] if p["name"] == part), None)


def test_up_answers_and_status_names_every_process(stack: Stack) -> None:
    status = stack.status()

    assert {process["name"] for process in status["processes"]} == PARTS
    assert all(process["alive"] and process["rss"] > 0 for process in status["processes"])
    assert (status["running"], status["healthy"], status["warnings"]) == (True, True, [])
    assert httpx.get(status["url"] + "/readyz").status_code == 200


def test_nothing_in_the_home_is_open_to_others(stack: Stack) -> None:
    paths = [stack.home, *stack.home.rglob("*")]
    assert [path for path in paths if stat.S_IMODE(path.lstat().st_mode) & 0o007 and not path.is_symlink()] == []


def test_the_worker_is_not_told_how_to_reach_the_database(stack: Stack) -> None:
    environment = Path(f"/proc/{stack.pid('worker')}/environ").read_bytes()

    assert b"SKYHARBOR_BROKER_URL=" in environment
    assert b"postgresql" not in environment


def test_a_second_up_finds_the_first_and_changes_nothing(stack: Stack) -> None:
    before = stack.status()

    second = stack.ask("up", "--detach", "--port", "1")

    assert (second["already_running"], second["url"], second["pid"]) == (True, before["url"], before["pid"])
    assert [p["pid"] for p in stack.status()["processes"]] == [p["pid"] for p in before["processes"]]


@pytest.mark.parametrize("part", ["postgres", "valkey", "api", "loops", "auditor", "worker"])
def test_a_part_that_is_killed_is_started_again(stack: Stack, part: str) -> None:
    before = stack.pid(part)

    stack.signal(part, signal.SIGKILL)

    wait_for(lambda: part_pid(stack, part) not in (None, before), f"{part} to be back", seconds=20)
    wait_for(lambda: healthy_again(stack), f"the stack to be well again after {part}", seconds=20)


def test_when_the_supervisor_is_killed_nothing_is_left_and_up_works_again(stack: Stack) -> None:
    url = stack.status()["url"]

    os.kill(int(stack.status()["pid"]), signal.SIGKILL)

    wait_for(lambda: not survivors(stack.home), "every child to be gone", seconds=10)
    assert stack.run("status").code == 6
    with pytest.raises(httpx.ConnectError):
        httpx.get(url + "/healthz")
    stack.up()
    assert healthy_again(stack)


def test_when_everything_is_killed_at_once_up_works_again(stack: Stack) -> None:
    stack.kill_everything()

    stack.up()

    assert healthy_again(stack)


def test_down_leaves_nothing_and_down_again_is_fine(stack: Stack) -> None:
    down = stack.run("--json", "down")

    assert (down.code, down.json["stopped"]) == (0, True)
    assert survivors(stack.home) == []
    assert not (stack.home / "run" / "stack.json").exists()
    again = stack.run("--json", "down")
    assert (again.code, again.json["stopped"]) == (0, False)
    assert stack.run("status").code == 6


def test_up_in_the_foreground_ends_in_good_order_on_ctrl_c(home: Path) -> None:
    Stack(home).down()
    command = [sys.executable, "-m", "orchestrator", "--home", str(home), "--json", "up", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        announced = json.loads(process.stdout.readline())
        assert httpx.get(announced["url"] + "/healthz").status_code == 200
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
    assert survivors(home) == []


def test_down_while_up_is_starting_is_told_as_what_it_is(home: Path) -> None:
    stack = Stack(home)
    stack.down()
    command = [sys.executable, "-m", "orchestrator", "--home", str(home), "--json", "up", "--detach", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as starting:
        wait_for(lambda: stack.status()["pid"] is not None, "the supervisor", seconds=20)
        assert stack.ask("down")["stopped"] is True
        said = json.loads(starting.communicate(timeout=60)[0])["error"]
    assert (starting.returncode, said["code"], said["message"]) == (
        1,
        "stack-start-failed",
        "it was stopped while starting",
    )
    assert survivors(home) == []


def test_flower_runs_beside_it_on_request_and_changes_nothing(tmp_path: Path) -> None:
    stack = Stack(tmp_path)
    try:
        up = stack.ask("up", "--detach", "--port", "0", "--flower")
        pages = httpx.get(up["flower"] + "/workers").status_code
        wait_for(lambda: flower_shows(up["flower"], "local@"), "Flower to show the worker", seconds=30)
        arguments = {p["name"]: Path(f"/proc/{p['pid']}/cmdline").read_text() for p in up["processes"]}
        order = httpx.post(up["flower"] + "/api/worker/shutdown/local").status_code
        assert "flower" in {process["name"] for process in up["processes"]}
    finally:
        stack.down()
    assert (pages, order) == (200, 401)
    assert {name for name, said in arguments.items() if "redis" in said or "postgresql" in said} == set()


def flower_shows(flower: str, worker: str) -> bool:
    """Whether a worker of this name has reported: it shows in what the page of workers is made of."""
    found = httpx.get(f"{flower}/workers", params={"json": "1"}).json()["data"]
    return any(one["hostname"].startswith(worker) and one["status"] for one in found)


# ── refusals, all before anything is started ─────────────────────────────────────────────────────


def refused(stack: Stack, *arguments: str) -> tuple[int, str]:
    ran = stack.run("--json", "up", "--detach", *arguments)
    return ran.code, ran.json["error"]["code"]


def test_a_busy_port_is_refused_before_anything_is_started(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert refused(Stack(tmp_path), "--port", str(taken.getsockname()[1])) == (1, "port-busy")
    assert not (tmp_path / "postgres").exists()
    assert survivors(tmp_path) == []


def test_a_newer_home_is_refused(tmp_path: Path) -> None:
    (tmp_path / "home.json").write_text('{"format": 99, "id": "x"}')

    assert refused(Stack(tmp_path), "--port", "0") == (5, "home-newer")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_a_home_of_somebody_else_is_refused(tmp_path: Path) -> None:
    os.chown(tmp_path, 65534, 65534)

    assert refused(Stack(tmp_path), "--port", "0") == (5, "home-foreign")
    assert os.listdir(tmp_path) == []


def test_servers_that_somebody_else_runs_are_used_instead(tmp_path: Path, database_url: str) -> None:  # noqa: F811
    sockets = tmp_path / "s"
    sockets.mkdir()
    broker = PrivateValkey(str(tmp_path / "valkey"), sockets=str(sockets), log=str(tmp_path / "log"), environment={})
    broker.prepare()
    with subprocess.Popen([*broker.command().argv], stdout=subprocess.DEVNULL) as server:
        wait_for(broker.is_ready, "the broker", seconds=10)
        stack = Stack(tmp_path / "home", {"SKYHARBOR_DATABASE_URL": database_url, "SKYHARBOR_BROKER_URL": broker.url})
        stack.up()
        names = {process["name"] for process in stack.status()["processes"]}
        stack.down()
        server.terminate()
    assert names == {"api", "loops", "auditor", "worker"}


def test_a_broker_that_nobody_can_speak_to_is_refused_before_anything_is_started(tmp_path: Path) -> None:
    stack = Stack(tmp_path / "home", {"SKYHARBOR_BROKER_URL": "nonsense://x"})

    assert refused(stack, "--port", "0") == (2, "bad-request")
    assert not (tmp_path / "home" / "postgres").exists()


def test_a_database_of_a_newer_version_is_refused_and_untouched(tmp_path: Path, database_url: str) -> None:  # noqa: F811
    plain = database_url.replace("+psycopg", "")
    with psycopg.connect(plain, autocommit=True) as connection:
        connection.execute("CREATE TABLE alembic_version (version_num text PRIMARY KEY)")
        connection.execute("INSERT INTO alembic_version VALUES ('from-the-future')")
    stack = Stack(tmp_path / "home", {"SKYHARBOR_DATABASE_URL": database_url})

    assert refused(stack, "--port", "0") == (5, "home-newer")
    with psycopg.connect(plain) as connection:
        assert connection.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").fetchone() == (1,)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become an ordinary user")
def test_an_ordinary_user_can_run_it() -> None:
    ours = Path("/tmp") / f"skyharbor-test-{os.getpid()}"  # pytest's own folders are closed to others
    ours.mkdir(mode=0o755)
    try:
        python = interpreter_for_everybody(ours)
        home = ours / "home"
        home.mkdir(mode=0o700)
        os.chown(home, NOBODY, NOBODY)

        up = as_nobody(python, "-m", "orchestrator", "--home", str(home), "--json", "up", "--detach", "--port", "0")
        owners = {path.lstat().st_uid for path in home.rglob("*")}
        down = as_nobody(python, "-m", "orchestrator", "--home", str(home), "--json", "down")

        assert (up.returncode, json.loads(up.stdout)["healthy"]) == (0, True), up.stdout
        assert (down.returncode, json.loads(down.stdout)["stopped"]) == (0, True)
        assert owners == {NOBODY}
    finally:
        shutil.rmtree(ours)


def interpreter_for_everybody(folder: Path) -> str:
    """Return a Python that an ordinary user may run, with our packages; skips the test where there is none."""
    system = f"/usr/bin/python{sys.version_info[0]}.{sys.version_info[1]}"
    if not os.access(system, os.X_OK):
        pytest.skip(f"an ordinary user needs {system} to run these packages")
    venv = folder / "venv"
    subprocess.run([system, "-m", "venv", "--without-pip", str(venv)], check=True)
    code = [path for path in sys.path if path.endswith("site-packages")]
    code.append(os.path.dirname(os.path.dirname(os.path.abspath(orchestrator.__file__))))
    packages = next(venv.glob("lib/*/site-packages"))
    packages.joinpath("here.pth").write_text("\n".join(code) + "\n")
    # What redis needs before Python 3.11.3 only, so that it is not among these packages; the system may be that old.
    packages.joinpath("async_timeout.py").write_text("from asyncio import timeout\n")
    python = str(venv / "bin" / "python")
    if as_nobody(python, "-c", "import orchestrator, celery, psycopg, redis").returncode:
        pytest.skip("an ordinary user may not read these packages")
    return python


def as_nobody(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        user=NOBODY,
        group=NOBODY,
        extra_groups=[],
        cwd="/",
        env={"PATH": "/usr/bin:/bin"},
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
