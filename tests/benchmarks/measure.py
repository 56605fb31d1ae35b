"""What a command cost: wall time, CPU seconds and peak memory of everything that worked for it.

A peer's command is one process tree and the kernel adds it up (``wait4``). Ours is a client plus a running stack: CPU
is the growth of every stack process's ticks, peak memory that of the worker (its high-water mark is reset before each
run).

Rule of the file: Linux's own accounting, no sampling.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Cost:
    """Seconds of wall and CPU time, and peak resident bytes of the largest process."""

    wall: float
    cpu: float
    peak: int


def run_alone(command: list[str], env: dict[str, str] | None = None, cwd: str | None = None) -> Cost:
    """Run a self-contained command to its end; an exit status other than 0 is an error with its last words."""
    began = time.perf_counter()
    process = subprocess.Popen(
        command, env={**os.environ, **(env or {})}, cwd=cwd, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    assert process.stderr is not None
    words = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{command[0]} failed ({process.returncode}): {words[-2000:].decode(errors='replace')}")
    return Cost(time.perf_counter() - began, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024)


def run_through(command: list[str], *, stack: Iterable[int], worker: int) -> Cost:
    """Run a client command whose work is done by the processes ``stack``; ``worker`` carries the data."""
    pids = list(stack)
    Path(f"/proc/{worker}/clear_refs").write_text("5")
    before = sum(cpu_of(pid) for pid in pids)
    alone = run_alone(command)
    cpu = alone.cpu + sum(cpu_of(pid) for pid in pids) - before
    return Cost(alone.wall, cpu, max(alone.peak, peak_of(worker)))


def cpu_of(pid: int) -> float:
    """CPU seconds of a process and its reaped children so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return sum(int(fields[index]) for index in (11, 12, 13, 14)) / _TICKS


def peak_of(pid: int) -> int:
    """Peak resident bytes since the last reset."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise SystemExit(f"no peak memory for process {pid}")


def warm(tree: Path) -> None:
    """Read the whole tree once, so that every run starts from the same page cache."""
    with subprocess.Popen(["tar", "-c", str(tree)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as reader:
        assert reader.stdout is not None
        while reader.stdout.read(1 << 20):
            pass


def drop_caches() -> None:
    """Start cold; needs root."""
    subprocess.run(["sync"], check=True)
    Path("/proc/sys/vm/drop_caches").write_text("3")


def stored(folder: Path) -> int:
    """Bytes of all files below a folder."""
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file())
