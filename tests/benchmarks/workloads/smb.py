"""Shares: how fast the engine reads one, with two hands and a local vault, beside ``smbclient tar`` and ``sftp``.

    python -m tests.benchmarks.workloads.smb [--files N] [--mib N] [--rounds N]

starts a Samba, an sshd and an nfs-ganesha of its own and prints medians over interleaved rounds: files/s of small ones
(4 KiB) and MiB/s of a large one, for a full backup by SMB (encrypted), SFTP and NFS (3 and 4), and for the peers that
copy the same; and nodes/s of a second backup in which nothing has changed. ``files`` is the engine on the same folder
without a server, which is the most that there is to have. A backup chunks, hashes, compresses, encrypts and packs what
it reads, and keeps descriptors and streams; the peers copy contents.

Rule of the file: everything reads the same bytes from the same server on the same machine.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from shared.contracts.sources import FilesSource, SftpSource, SmbSource
from tests.support.crews import Bench, running_chief
from tests.support.ganesha import Ganesha
from tests.support.samba import PASSWORD, USER, Samba
from tests.support.ssh_server import SshServer
from workers.crew.chief import Chief
from workers.sources.files import FilesReading
from workers.sources.nfs.reading import NfsReading
from workers.sources.opening import Reading, open_source
from workers.sources.sftp.reading import SftpReading
from workers.sources.smb.reading import SmbReading

_SMALL = 4096


def main() -> None:
    """Measure and print."""
    asked = argparse.ArgumentParser()
    asked.add_argument("--files", type=int, default=5000)
    asked.add_argument("--mib", type=int, default=512)
    asked.add_argument("--rounds", type=int, default=3)
    wanted = asked.parse_args()
    with tempfile.TemporaryDirectory(prefix="skyharbor-bench-", ignore_cleanup_errors=True) as place:
        folder = Path(place)
        folder.chmod(0o755)
        samba, sshd = Samba(folder / "samba"), SshServer(folder / "ssh")
        ganesha = Ganesha(folder / "nfs", samba.share)
        try:
            _plant(samba.share, wanted.files, wanted.mib)
            with running_chief() as chief:
                _print(_measured(folder, samba, sshd, ganesha, chief, wanted), wanted)
        finally:
            ganesha.stop()
            samba.stop()
            sshd.stop()


def _plant(share: Path, files: int, mib: int) -> None:
    for number in range(files):
        place = share / "small" / f"d{number % 25}" / f"{number}.dat"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(os.urandom(_SMALL))
    (share / "large").mkdir()
    with (share / "large" / "file").open("wb") as file:
        for _ in range(mib):
            file.write(os.urandom(1 << 20))


def _measured(
    folder: Path, samba: Samba, sshd: SshServer, ganesha: Ganesha, chief: Chief, wanted: Any
) -> dict[str, list[float]]:
    found: dict[str, list[float]] = defaultdict(list)
    for number in range(wanted.rounds):
        for part in ("small", "large"):
            for name, reading in (
                ("smb", _smb(samba, part)),
                ("sftp", _sftp(samba, sshd, part)),
                ("nfs 3", NfsReading(spec=ganesha.spec(f"/{part}"))),
                ("nfs 4", NfsReading(spec=ganesha.spec(f"/{part}", version=4))),
                ("files", FilesReading(source=FilesSource(paths=(f"{samba.share}/{part}",)))),
            ):
                bench = Bench(folder / f"vault-{number}-{part}-{name}", "processes", chief)
                found[f"{name} {part}"].append(_seconds(partial(_backup, bench, reading)))
                if part == "small":
                    found[f"{name} unchanged"].append(_seconds(partial(_backup, bench, reading)))
                shutil.rmtree(folder / f"vault-{number}-{part}-{name}")
            found[f"smbclient {part}"].append(_seconds(partial(_smbclient, samba, part)))
            found[f"sftp(1) {part}"].append(_seconds(partial(_sftp_get, samba, sshd, part, folder)))
    return found


def _seconds(act: Callable[[], object]) -> float:
    began = time.perf_counter()
    act()
    return time.perf_counter() - began


def _smb(samba: Samba, part: str) -> SmbReading:
    return SmbReading(spec=SmbSource(url=samba.url(f"data/{part}"), credentials_file=str(samba.credentials)))


def _sftp(samba: Samba, sshd: SshServer, part: str) -> SftpReading:
    url = f"sftp://127.0.0.1:{sshd.port}{samba.share}/{part}"
    spec = SftpSource(url=url, credentials_file=str(sshd.credentials), known_hosts=str(sshd.known))
    return SftpReading(spec=spec)


def _backup(bench: Bench, reading: Reading) -> None:
    told = msgspec.msgpack.encode(reading)
    muster = bench.readers(FilesSource(paths=("/",)), reading=told)
    done = bench.rig.backup("/", source=open_source(told), muster=lambda _, writer: muster(writer))
    if done.warnings:
        raise SystemExit(f"not a clean backup: {done.warnings[:3]}")


def _smbclient(samba: Samba, part: str) -> None:
    command = ["smbclient", "-s", str(samba.conf), "-p", str(samba.port), f"//{samba.host}/data"]
    options = ["-U", f"{USER}%{PASSWORD}", "-D", part, "--client-protection=encrypt", "-Tc", "/dev/null"]
    subprocess.run([*command, *options], check=True, capture_output=True, timeout=600)


def _sftp_get(samba: Samba, sshd: SshServer, part: str, folder: Path) -> None:
    target = folder / "got"
    options = ["-P", str(sshd.port), "-i", str(sshd.folder / "user"), "-o", f"UserKnownHostsFile={sshd.known}", "-q"]
    command = ["sftp", *options, "-r", f"{sshd.user}@127.0.0.1:{samba.share}/{part}", str(target)]
    subprocess.run(command, check=True, capture_output=True, timeout=600)
    shutil.rmtree(target)


def _print(found: dict[str, list[float]], wanted: Any) -> None:
    for name, seconds in sorted(found.items()):
        median = statistics.median(seconds)
        amount = f"{wanted.mib / median:8.0f} MiB/s" if "large" in name else f"{wanted.files / median:8.0f} files/s"
        print(f"{name:20} {median:7.2f} s  {amount}")  # noqa: T201


if __name__ == "__main__":
    main()
