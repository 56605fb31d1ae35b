"""A base backup beside ``pg_basebackup | zstd -1``: the same cluster, the same disk, rounds in turn, medians.

    python -m tests.benchmarks.workloads.postgres [--major 18] [--scale 40] [--rounds 5]

The peer writes one compressed file; ours is a whole backup into a new vault: cut, identified, compressed, encrypted,
with its log and its manifest, by a worker that runs already: the start of Python (0.7 s) is not in its seconds, but in
its CPU seconds, which are those of everybody but the server.

Below stands what a point of the log alone costs, of which there may be one every minute: on a server where nothing
happened, and after so many transactions of pgbench.

Rule of the file: it measures and prints; nothing is judged here.
"""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.workloads.postgres.cluster import NOBODY, Cluster, programs_of

_OURS = """
import sys, time
from shared.storage.open import open_store
from tests.workloads.postgres.rig import PgRig
rig = PgRig(sys.argv[1], store=open_store("file://" + sys.argv[2]))
begin = time.perf_counter()
rig.backup()
print(time.perf_counter() - begin)
"""

_LOG = """
import subprocess, sys, time
from shared.storage.open import open_store
from tests.workloads.postgres.rig import PgRig
store = open_store("file://" + sys.argv[2])
rig = PgRig(sys.argv[1], store=store)
rig.backup()
for transactions in map(int, sys.argv[3].split(",")):
    if transactions:
        subprocess.run([*sys.argv[4:], "-t", str(transactions)], check=True, capture_output=True)
    begin = time.perf_counter()
    stats = rig.backup().stats
    print(transactions, time.perf_counter() - begin, stats.bytes_transferred)
"""
_TRANSACTIONS = (0, 100, 1000, 10000)


@dataclass
class Runs:
    """What one contender took."""

    seconds: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    stored: int = 0


def main() -> int:
    """Run the rounds and print a table."""
    parser = argparse.ArgumentParser(description="Base backup of PostgreSQL beside pg_basebackup | zstd -1.")
    parser.add_argument("--major", type=int, default=18)
    parser.add_argument("--scale", type=int, default=40, help="of pgbench; 15 MiB each")
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    programs = programs_of(asked.major)
    if programs is None or shutil.which("zstd") is None:
        print(f"skipped: PostgreSQL {asked.major} and zstd are needed")  # noqa: T201
        return 0
    top = tempfile.mkdtemp(prefix="pgbench-")
    os.chmod(top, 0o755)  # noqa: S103
    try:
        _compare(programs, top, scale=asked.scale, rounds=asked.rounds)
    finally:
        shutil.rmtree(top)
    return 0


def _compare(programs: str, top: str, *, scale: int, rounds: int) -> None:
    place = os.path.join(top, "c")
    os.mkdir(place)
    if os.geteuid() == 0:
        os.chown(place, NOBODY, NOBODY)
    with Cluster(programs, os.path.join(place, "data")).create() as cluster:
        cluster.start()
        cluster.pgbench("-i", "-q", "-s", str(scale))
        cluster.pgbench("-n", "-c", "2", "-t", "2000")
        cluster.sql("CHECKPOINT")
        size = cluster.sql("SELECT sum(pg_database_size(oid)) FROM pg_database")[0][0]
        contenders = {"pg_basebackup | zstd -1": _peer(cluster, top), "skyharbor": _ours(cluster, top)}
        runs = {name: Runs() for name in contenders}
        for _ in range(rounds):
            for name, run in contenders.items():
                _timed(run, runs[name])
        _print(runs, int(size))
        _print_log(cluster, os.path.join(top, "vault-of-log"))


def _print_log(cluster: Cluster, vault: str) -> None:
    os.mkdir(vault)
    load = [cluster.program("pgbench"), "-n", "-h", cluster.sockets, "-p", str(cluster.port), "-U", "postgres"]
    command = [sys.executable, "-c", _LOG, cluster.dsn, vault, ",".join(map(str, _TRANSACTIONS)), *load, "postgres"]
    told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    print(f"{'a point of the log, after':26}{'seconds':>9}{'transferred KiB':>17}")  # noqa: T201
    for transactions, seconds, sent in map(str.split, told.splitlines()):
        print(f"{transactions + ' transactions':26}{float(seconds):9.2f}{int(sent) / 1024:17.0f}")  # noqa: T201


def _peer(cluster: Cluster, top: str) -> Callable[[], tuple[float, int]]:
    out = os.path.join(top, "peer.zst")
    base = [cluster.program("pg_basebackup"), "-D", "-", "-Ft", "-X", "none", "-c", "fast"]
    base += ["-h", cluster.sockets, "-p", str(cluster.port), "-U", "postgres"]

    def run() -> tuple[float, int]:
        begin = time.perf_counter()
        subprocess.run(f"{shlex.join(base)} 2>/dev/null | zstd -1 -q -f -o {shlex.quote(out)}", shell=True, check=True)  # noqa: S602
        return time.perf_counter() - begin, os.path.getsize(out)

    return run


def _ours(cluster: Cluster, top: str) -> Callable[[], tuple[float, int]]:
    vault = os.path.join(top, "vault")

    def run() -> tuple[float, int]:
        shutil.rmtree(vault, ignore_errors=True)
        os.mkdir(vault)
        told = subprocess.run([sys.executable, "-c", _OURS, cluster.dsn, vault], check=True, capture_output=True).stdout
        return float(told), sum(
            os.path.getsize(os.path.join(f, name)) for f, _, names in os.walk(vault) for name in names
        )

    return run


def _timed(run: Callable[[], tuple[float, int]], into: Runs) -> None:
    cpu = os.times()
    seconds, into.stored = run()
    into.seconds.append(seconds)
    after = os.times()
    into.cpu.append(after.children_user + after.children_system - cpu.children_user - cpu.children_system)


def _print(runs: dict[str, Runs], size: int) -> None:
    first = statistics.median(next(iter(runs.values())).seconds)
    print(f"{size / 2**20:.0f} MiB of databases")  # noqa: T201
    print(f"{'':26}{'seconds':>9}{'MiB/s':>8}{'CPU s':>8}{'stored MiB':>12}{'ratio':>8}")  # noqa: T201
    for name, one in runs.items():
        wall = statistics.median(one.seconds)
        columns = f"{wall:9.2f}{size / 2**20 / wall:8.0f}{statistics.median(one.cpu):8.2f}{one.stored / 2**20:12.1f}"
        print(f"{name:26}{columns}{wall / first:8.2f}")  # noqa: T201


if __name__ == "__main__":
    sys.exit(main())
