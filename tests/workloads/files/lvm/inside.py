"""What runs in the guest: ``python -m tests.workloads.files.lvm.inside OUTPUT CASE…`` writes a line of JSON per case.

Rule of the file: it says what came of it, and judges nothing; the tests outside do.
"""

from __future__ import annotations

import itertools
import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from shared.contracts.sources import FilesSource, SnapshotWay
from shared.contracts.work import BackupDone
from shared.errors import SkyharborError
from shared.model.backup import ConflictRule
from tests.exam.desk import ITEM, Desk, Watched, stop_at
from tests.support.uncontrolled import Uncontrolled
from tests.workloads.files.lvm import volumes as lvm
from tests.workloads.files.lvm.volumes import GROUP, Tree, left, of_one_moment, run
from workers.engine.ports import Stop
from workers.engine.restore import restore_point
from workers.guarding import client
from workers.guarding.client import GuardLine
from workers.sources.snapshots.lvm import tag_of
from workers.sources.snapshots.mounting import HOME

_PATIENCE = 300.0
_EARLY = 1
"""The check of a backup at which something happens to it: how many there are depends on how quick the guest is."""
Told = dict[str, Any]


class Guest:
    """The volumes, mounted, each with a tree on it; and desks."""

    def __init__(self) -> None:
        lvm.make_volumes()
        self.data = Tree(lvm.mount_volume("data", Path("/mnt/data")) / "tree")
        self.thin = Tree(lvm.mount_volume("thin", Path("/mnt/data/thin")) / "tree")
        self.other = lvm.mount(lvm.OTHER, Path("/mnt/data/tree/other"))
        (self.other / "file").write_bytes(b"other")
        self._desks = 0
        # One for all: an interpreter takes seconds to start here.
        self._guard = new_guard()

    def desk(self) -> Desk:
        """Return a desk with an empty vault."""
        self._desks += 1
        home = Path(f"/tmp/home{self._desks}")
        home.mkdir()
        desk = Desk(home)
        desk.guard = self._guard
        return desk


def new_guard() -> GuardLine:
    return GuardLine(os.environ, log_file="/tmp/guard.log")


def spec(*paths: Path | str, way: str = "lvm", percent: int = 0) -> FilesSource:
    return FilesSource(paths=tuple(map(str, paths)), snapshot=SnapshotWay(way), snapshot_percent=percent)


def backed_up(desk: Desk, tree: Tree, source: FilesSource) -> Told:
    """Back up while the writer goes on, bring it back, and say how it is."""
    watched = Watched(lambda _: tree.wait_for_turns(2))
    done = desk.backup(source, watched)
    told = [one.bytes_done for one in watched.positions]
    return {**numbers(done), **restored(desk, tree), "left": left(), "told": told}


def numbers(done: BackupDone) -> Told:
    return {"stats": msgspec.to_builtins(done.stats), "warnings": [[one.path, one.code] for one in done.warnings]}


def bring_back(desk: Desk) -> Path:
    """Restore the newest point into a folder of its own, and return that."""
    target = desk.home / f"back{len(desk.points())}"
    target.mkdir()
    restore_point(
        desk.reader(), target=str(target), paths=(), conflict=ConflictRule.SKIP, control=Uncontrolled(), muster=None
    )
    return target


def restored(desk: Desk, tree: Tree) -> Told:
    copy = Path(f"{bring_back(desk)}{tree.folder}")
    turns = tree.turns_in(copy)
    return {"turns": turns, "one_moment": of_one_moment(turns), "still": tree.still(copy) == tree.still()}


def refused(desk: Desk, source: FilesSource, control: Watched | None = None) -> Told:
    """Say how a backup fails, if it does, and what it leaves."""
    try:
        desk.backup(source, control)
    except SkyharborError as error:
        told = {"code": error.code, "detail": error.detail, "hint": error.fields.get("hint", "")}
    else:
        told = {"code": "", "detail": "it was made"}
    return {**told, "points": len(desk.points()), "left": left()}


def clean() -> list[str]:
    """Return what is left behind, now or after a guard has had its time."""
    until = time.monotonic() + _PATIENCE
    while left() and time.monotonic() < until:
        time.sleep(0.2)
    return left()


# ── cases ────────────────────────────────────────────────────────────────────────────────────────────


def classic(guest: Guest) -> Told:
    """A first backup and the next one, of a volume for whose snapshot room is set aside."""
    desk, source = guest.desk(), spec(guest.data.folder)
    first = backed_up(desk, guest.data, source)
    (guest.data.folder / "3" / "file03").write_bytes(b"changed")
    return {"first": first, "second": backed_up(desk, guest.data, source), "kernel": lvm.kernel()}


def live(guest: Guest) -> Told:
    """The same without a snapshot: it shows that the writer would be noticed."""
    return backed_up(guest.desk(), guest.data, spec(guest.data.folder, way="none"))


def full(guest: Guest) -> Told:
    """More is overwritten than fits into the snapshot."""
    flood = guest.data.folder / "flood"
    flood.write_bytes(b"a" * (12 << 20))
    os.sync()

    def at(check: int) -> None:
        if check == _EARLY:
            with open(flood, "r+b", buffering=0) as file:
                file.write(b"b" * (12 << 20))
                os.fsync(file.fileno())

    told = refused(guest.desk(), spec(guest.data.folder, percent=1), Watched(at))
    flood.unlink()
    return told


def killed(guest: Guest) -> Told:
    """A worker that is killed while it reads; then the next backup."""
    desk, source = guest.desk(), spec(guest.data.folder)
    seen = desk.home / "seen"

    def at(check: int) -> None:
        if check == _EARLY:
            seen.write_text(json.dumps(left()))
            os.kill(os.getpid(), signal.SIGKILL)

    pid = os.fork()
    if pid == 0:
        desk.guard = new_guard()
        with suppress(BaseException):
            desk.backup(source, Watched(at))
        os._exit(1)
    _, status = os.waitpid(pid, 0)
    told = {"signal": os.WTERMSIG(status), "there": json.loads(seen.read_text()), "left": clean()}
    return {**told, "points": len(desk.points()), "next": backed_up(desk, guest.data, source)}


def cancelled(guest: Guest) -> Told:
    """A backup that is stopped half-way."""
    desk = guest.desk()
    try:
        desk.backup(spec(guest.data.folder), Watched(stop_at(_EARLY)))
    except Stop:
        return {"stopped": True, "points": len(desk.points()), "left": left()}
    return {"stopped": False}


def elsewhere(guest: Guest) -> Told:
    """A path that is on no volume."""
    desk = guest.desk()
    return {"lvm": refused(desk, spec(guest.other)), **numbers(desk.backup(spec(guest.other, way="auto")))}


def thin(guest: Guest) -> Told:
    """A volume in a thin pool, with XFS."""
    desk, source = guest.desk(), spec(guest.thin.folder)
    return {"first": backed_up(desk, guest.thin, source), "second": backed_up(desk, guest.thin, source)}


def below(guest: Guest) -> Told:
    """A path with a volume and another file system mounted below it."""
    desk = guest.desk()
    told = backed_up(desk, guest.data, spec("/mnt/data", way="auto"))
    back = Path(f"{desk.home}/back1")
    turns = guest.thin.turns_in(Path(f"{back}{guest.thin.folder}"))
    other = (Path(f"{back}{guest.other}") / "file").read_text()
    return {**told, "below": of_one_moment(turns), "other": other}


def bound(guest: Guest) -> Told:
    """A path where a folder of a volume is mounted."""
    folder, place = guest.data.folder / "5", Path("/mnt/bound")
    lvm.mount(str(folder), place, "--bind")
    desk = guest.desk()
    desk.backup(spec(place))
    copy = bring_back(desk) / str(place).lstrip("/")
    told = {"same": guest.data.still(copy) == guest.data.still(folder)}
    run("umount", str(place))
    return told


def swept(guest: Guest) -> Told:
    """What a dead machine, another item and a person have left, and the next backup of the item."""
    took = ("lvcreate", "-q", "-y", "-s", "-l", "4")
    run(*took, "--addtag", tag_of(ITEM), "-n", "skyharbor_dead", f"{GROUP}/data")
    run(*took, "--addtag", tag_of("another"), "-n", "skyharbor_another", f"{GROUP}/data")
    run(*took, "--addtag", tag_of(ITEM), "-n", "tagged", f"{GROUP}/data")
    run(*took, "-n", "skyharbor_untagged", f"{GROUP}/data")
    lvm.mount_volume("skyharbor_dead", Path(HOME) / "skyharbor_dead", "-o", "ro")
    before = lvm.snapshots()
    guest.desk().backup(spec(guest.data.folder))
    after, folders = lvm.snapshots(), os.listdir(HOME)
    for name in after:
        run("lvremove", "-q", "-y", f"{GROUP}/{name}")
    return {"before": before, "after": after, "folders": folders}


def origins(guest: Guest) -> Told:
    """Volumes that are special themselves: snapshots, and one that is read-only."""
    run("lvcreate", "-q", "-y", "-s", "-l", "4", "-n", "copy", f"{GROUP}/data")
    run("lvcreate", "-q", "-y", "-s", "-K", "-n", "branch", f"{GROUP}/thin")
    run("lvcreate", "-q", "-y", "-L", "32M", "-n", "locked", GROUP)
    lvm.make_file_system("ext4", "locked")
    (lvm.mount_volume("locked", Path("/mnt/locked")) / "file").write_bytes(b"locked")
    run("umount", "/mnt/locked")
    run("lvchange", "-q", "-pr", f"{GROUP}/locked")
    places = {
        "copy": lvm.mount_volume("copy", Path("/mnt/copy")),
        "branch": lvm.mount_volume("branch", Path("/mnt/branch"), "-o", "nouuid"),
        "locked": lvm.mount_volume("locked", Path("/mnt/locked"), "-o", "ro"),
    }
    told = {name: refused(guest.desk(), spec(place)) for name, place in places.items()}
    for name, place in places.items():
        run("umount", str(place))
        run("lvremove", "-q", "-y", f"{GROUP}/{name}")
    return told


def no_room(guest: Guest) -> Told:
    """A group in which nothing is free, and a pool that is nearly full."""
    run("lvcreate", "-q", "-y", "-L", "32M", "-T", f"{GROUP}/small")
    run("lvcreate", "-q", "-y", "-V", "60M", "-T", f"{GROUP}/small", "-n", "many")
    lvm.make_file_system("ext4", "many")
    place = lvm.mount_volume("many", Path("/mnt/many"))
    for number in itertools.count():
        if lvm.percent_of("small") >= 96:
            break
        (place / f"file{number}").write_bytes(os.urandom(1 << 19))
        os.sync()
    pool = refused(guest.desk(), spec(place))
    run("umount", str(place))
    run("lvremove", "-q", "-y", f"{GROUP}/small")
    run("lvcreate", "-q", "-y", "-l", "100%FREE", "-n", "filler", GROUP)
    group = refused(guest.desk(), spec(guest.data.folder))
    auto = guest.desk().backup(spec(guest.data.folder, way="auto"))
    run("lvremove", "-q", "-y", f"{GROUP}/filler")
    return {"pool": pool, "group": group, "auto": numbers(auto)}


def no_programs(guest: Guest) -> Told:
    """A machine without LVM's programs."""
    os.rename("/usr/sbin/lvcreate", "/usr/sbin/lvcreate.away")
    told = {"lvm": refused(guest.desk(), spec(guest.data.folder))}
    auto = guest.desk().backup(spec(guest.data.folder, way="auto"))
    os.rename("/usr/sbin/lvcreate.away", "/usr/sbin/lvcreate")
    return {**told, "auto": numbers(auto)}


CORE = (classic, live, full, killed, cancelled, elsewhere)
MORE = (thin, below, bound, swept, origins, no_room, no_programs)
CASES: dict[str, Callable[[Guest], Told]] = {case.__name__: case for case in (*CORE, *MORE)}


def main(output: str, *names: str) -> None:
    client._PATIENCE = 300.0  # a guest is slow, and a machine that tests may be as well
    with open(output, "w", encoding="utf-8", buffering=1) as told:

        def say(**what: Any) -> None:
            told.write(json.dumps(what) + "\n")

        guest = Guest()
        for name in names:
            begin = time.monotonic()
            try:
                say(case=name, told=CASES[name](guest), seconds=time.monotonic() - begin)
            except BaseException:
                say(case=name, failed=traceback.format_exc(), seconds=time.monotonic() - begin)


if __name__ == "__main__":
    main(*sys.argv[1:])
