"""What the kernel says about processes.

Rule of the file: reads /proc, and ends processes only by the mark that their environment carries.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass

from orchestrator.embedded.part import MARK


@dataclass(frozen=True, slots=True)
class Marked:
    """A process of some stack: of which home, of which run of its supervisor, and which part."""

    pid: int
    home_id: str
    run_id: str
    part: str


def is_alive(pid: int) -> bool:
    """Whether the process exists and is more than a zombie."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as handle:
            return handle.read().rpartition(")")[2].split()[0] not in ("Z", "X")
    except (FileNotFoundError, ProcessLookupError):
        return False


def resident_bytes(pid: int) -> int:
    """Return the memory a process occupies now, in bytes; 0 when it is gone."""
    try:
        with open(f"/proc/{pid}/statm", encoding="ascii") as handle:
            return int(handle.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (FileNotFoundError, ProcessLookupError):
        return 0


def marked(home_id: str) -> Iterator[Marked]:
    """Yield every living process that carries the mark of this home, whoever its parent is by now."""
    wanted = f"{MARK}={home_id}/".encode()
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            with open(f"/proc/{entry}/environ", "rb") as handle:
                variables = handle.read().split(b"\0")
        except OSError:  # gone, or somebody else's
            continue
        for variable in variables:
            if variable.startswith(wanted) and is_alive(int(entry)):
                _, run_id, part = variable.decode().rsplit("/", 2)
                yield Marked(int(entry), home_id, run_id, part)


def end_marked(home_id: str, *, spare: str) -> int:
    """Kill the marked processes of a home but for the part called ``spare``; the number that was alive."""
    found = 0
    for process in marked(home_id):
        if process.part != spare:
            found += 1
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)
    return found
