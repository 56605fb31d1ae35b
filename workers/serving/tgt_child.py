"""The program beside tgtd: ``python -m workers.serving.tgt_child LINE PARENT TGTD HOST:PORT``.

It makes the room, hands out the file by which the mount in it is answered, runs tgtd, tells it what to serve when it is
asked to, and ends with its line, with its parent, or with tgtd; tgtd ends with it. It knows no key and reads no vault.

Rule of the file: messages are packets of JSON, one each; nothing secret comes in arguments or goes out again.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from typing import Any

from shared.waiting import readable
from workers.disks import sandbox
from workers.serving.tgt_management import Management, ManagementError
from workers.serving.tgt_room import POINT, ROOM, Room

MOST_TOLD = 128 * 1024

_TO_BEGIN = 30.0
_TICK = 0.02
_LOG = f"{ROOM}/log"
_SOCKET = f"{ROOM}/tgtd"
_PDEATHSIG = 1
_FALLBACK = "tgtd would listen elsewhere"


def main() -> None:
    """Do what the module says."""
    line, parent, program, portal = socket.socket(fileno=int(sys.argv[1])), int(sys.argv[2]), sys.argv[3], sys.argv[4]
    line.set_inheritable(False)
    sandbox.die_with(parent)
    try:
        room = Room(f"skyharbor:{parent}")
        socket.send_fds(line, [b"{}"], [room.fuse])
        os.close(room.fuse)
        room.give_up_rights()
        sandbox.die_with(parent)  # once more: the kernel forgets it with a change of the user
    except OSError as error:
        _tell(line, error="target-invalid", detail=f"this machine lets this user make no room for tgtd: {error}")
        return
    tgtd = _start(program, portal)
    try:
        _serve(line, tgtd, portal)
    except ManagementError as error:
        _tell(line, error="target-invalid", detail=str(error))
    finally:
        tgtd.kill()
        tgtd.wait()


def _start(program: str, portal: str) -> subprocess.Popen[bytes]:
    own = os.getpid()

    def end_with_us() -> None:
        sandbox.prctl(_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != own:
            os._exit(0)

    with open(_LOG, "wb") as log:
        return subprocess.Popen(
            [program, "-f", "-C", "0", "--iscsi", f"portal={portal}"], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            env={"LC_ALL": "C.UTF-8", "TGT_IPC_SOCKET": _SOCKET}, cwd="/",
            preexec_fn=end_with_us,  # this process has one thread
        )  # fmt: skip


def _serve(line: socket.socket, tgtd: subprocess.Popen[bytes], portal: str) -> None:
    management = Management(f"{_SOCKET}.0")
    portals = _portals(management, tgtd)
    host, _, port = portal.rpartition(":")
    bound = portals[0] if len(portals) == 1 else ""
    # When it cannot listen where it was told to, tgtd listens at port 3260 of all addresses. Nothing is served there:
    # it hangs up on everybody for as long as it has no target.
    if bound.rpartition(":")[0] != host or (port != "0" and bound != portal):
        _tell(line, error="port-busy", detail=f"{portal}: {_last_words() or _FALLBACK}")
        return
    _tell(line, portal=bound)
    order = _heard(line)
    if order is None:
        return
    units = [str(unit) for unit in order["units"]]
    management.add_target(order["name"], user=order["user"], secret=order["secret"])
    for number, shown_as in enumerate(units, 1):
        os.symlink(os.path.join(os.fsencode(POINT), bytes.fromhex(order["paths"][number - 1])), f"{ROOM}/{number}")
        management.add_disk(number, f"{ROOM}/{number}", shown_as=shown_as)
    if management.read_only_units() != len(units):
        raise ManagementError("tgtd would let people write")
    management.let_in()
    _tell(line, serving=len(units))
    ended = os.pidfd_open(tgtd.pid)
    if ended in readable(line.fileno(), ended):
        _tell(line, error="target-invalid", detail=f"tgtd has ended ({tgtd.wait()}): {_last_words()}")


def _portals(management: Management, tgtd: subprocess.Popen[bytes]) -> list[str]:
    """Wait until tgtd answers, and return where it listens."""
    ends = time.monotonic() + _TO_BEGIN
    while True:
        try:
            return management.portals()
        except ManagementError:
            if tgtd.poll() is not None or time.monotonic() > ends:
                raise ManagementError(f"tgtd does not begin: {_last_words()}") from None
            time.sleep(_TICK)


def _last_words() -> str:
    """Return the last line about what went wrong that tgtd has written; it writes no secrets."""
    with suppress(OSError), open(_LOG, encoding="utf-8", errors="replace") as log:
        # Without privileges it may not adjust limits of its own: that is no reason for anything.
        lines = [line.strip() for line in log if "iser" not in line and "adjust" not in line]
        return next((line for line in reversed(lines) if "unable" in line or "can't" in line or "fail" in line), "")
    return ""


def _heard(line: socket.socket) -> dict[str, Any] | None:
    packet = line.recv(MOST_TOLD)
    return json.loads(packet) if packet else None


def _tell(line: socket.socket, **message: object) -> None:
    with suppress(OSError):  # who does not listen any more need not know
        line.send(json.dumps(message).encode())


if __name__ == "__main__":
    main()
