"""What the process that reads file systems can still do when it has given everything up: nothing but compute."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from workers.disks.messages import Look
from workers.disks.parser import Parser

PROGRAM = """
import json, os, resource, socket, sys
from workers.disks import sandbox
report = os.fdopen(int(sys.argv[1]), "w")
secret = os.open(sys.argv[2], os.O_RDONLY)
os.close(secret)
if sys.argv[3] == "nobody":
    os.setgroups([]); os.setresgid(65534, 65534, 65534); os.setresuid(65534, 65534, 65534)
sandbox.shut(memory=512 << 20)

def tried(deed):
    try:
        return str(deed())
    except MemoryError:
        return "MemoryError"
    except (OSError, ValueError):
        return "refused"

def fork():
    child = os.fork()
    if not child:
        os._exit(0)
    return child

def connect():
    with socket.socket() as line:
        line.settimeout(2)
        line.connect(("127.0.0.1", int(sys.argv[4])))

done = {
    "read a secret": tried(lambda: os.open(sys.argv[2], os.O_RDONLY)),
    "make a file": tried(lambda: os.open("/tmp/made-by-the-reader", os.O_CREAT | os.O_WRONLY)),
    "fork": tried(fork),
    "execute": tried(lambda: os.execv("/bin/true", ["true"])),
    "become root": tried(lambda: os.setresuid(0, 0, 0)),
    "signal others": tried(lambda: os.kill(int(sys.argv[5]), 0)),
    "connect": tried(connect),
    "much memory": tried(lambda: len(bytearray(600 << 20))),
    "raise a limit": tried(lambda: resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))),
}
status = {"uid": os.geteuid(), "cwd": tried(lambda: os.listdir("."))}
json.dump([done, status], report)
"""


def outcome(tmp_path: Path, who: str) -> tuple[dict[str, str], dict[str, object]]:
    secret = tmp_path / "secret"
    secret.write_text("the key")
    tmp_path.chmod(0o755)
    reading, writing = os.pipe()
    with socket.create_server(("127.0.0.1", 0)) as server:
        arguments = [str(writing), str(secret), who, str(server.getsockname()[1]), str(os.getpid())]
        subprocess.run(
            [sys.executable, "-c", PROGRAM, *arguments], pass_fds=[writing], check=True, timeout=60,
            cwd=Path(__file__).resolve().parents[3],
        )  # fmt: skip
    os.close(writing)
    with os.fdopen(reading) as report:
        done, status = json.load(report)
    return done, status


REFUSED = {
    "make a file": "refused", "fork": "refused", "execute": "refused", "become root": "refused",
    "much memory": "MemoryError", "raise a limit": "refused",
}  # fmt: skip


def test_root_becomes_nobody_with_nothing(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    done, status = outcome(tmp_path, "root")
    wanted = REFUSED | {"read a secret": "refused", "signal others": "refused", "connect": "refused"}
    assert ({key: done[key] for key in wanted}, status["uid"]) == (wanted, 65534)


def test_an_ordinary_user_gives_up_what_the_kernel_lets_it(tmp_path: Path) -> None:
    done, _ = outcome(tmp_path, "nobody" if os.geteuid() == 0 else "me")
    assert {key: done[key] for key in REFUSED} == REFUSED


def test_where_there_are_user_namespaces_an_ordinary_user_has_no_files_and_no_network(tmp_path: Path) -> None:
    if Path("/proc/sys/user/max_user_namespaces").read_text().strip() == "0":
        pytest.skip("this kernel allows no user namespaces")
    trying = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "unshare", "-U", "true"]
    command = trying if os.geteuid() == 0 else trying[-3:]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("ordinary users may make no user namespaces here")
    done, _ = outcome(tmp_path, "nobody" if os.geteuid() == 0 else "me")
    assert (done["read a secret"], done["connect"]) == ("refused", "refused")


def test_the_reader_ends_with_whoever_started_it() -> None:
    program = (
        "import os, sys, time\n"
        "from workers.disks.messages import Look\n"
        "from workers.disks.parser import Parser\n"
        "parser = Parser([])\n"
        "parser.one(Look())\n"
        "print(parser._process.pid, flush=True)\n"
        "time.sleep(600)\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, cwd=Path(__file__).resolve().parents[3]
    )
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    os.kill(child, signal.SIGSTOP)  # it cannot see that its line has ended
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    deadline = time.monotonic() + 60
    while os.path.exists(f"/proc/{child}") and time.monotonic() < deadline:
        if "\nState:\tZ" in Path(f"/proc/{child}/status").read_text():
            break
        time.sleep(0.02)
    else:
        assert not os.path.exists(f"/proc/{child}")


def test_nothing_of_our_environment_reaches_the_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SKYHARBOR_TOKEN", "canary")
    parser = Parser([])
    parser.start()
    try:
        process = parser._process
        assert process is not None
        if os.geteuid() != 0:
            pytest.skip("only root may look at a process that cannot be looked at")
        assert b"canary" not in Path(f"/proc/{process.pid}/environ").read_bytes()
    finally:
        parser.close()


def test_the_reader_holds_no_mounts_of_the_machine_and_has_no_network() -> None:
    parser = Parser([])
    try:
        parser.one(Look())
        process = parser._process
        assert process is not None
        theirs = Path(f"/proc/{process.pid}/ns")
        try:
            network = os.readlink(theirs / "net") == os.readlink("/proc/self/ns/net")
            mounts = os.readlink(theirs / "mnt") == os.readlink("/proc/self/ns/mnt")
        except PermissionError:
            pytest.skip("only root may look at a process that cannot be looked at")
    finally:
        parser.close()
    assert (mounts, network) == (True, False)
