"""A server's files as mariabackup sends them, and the log of changes since the last point: one stream, one point.

Whatever goes wrong, and the server's dying above all, is an error before the end of the stream, so there is no point
then. The locks that mariabackup holds are its connection's and end with it; it ends with this worker.

Rule of the file: the order of things; formats, decisions and reading are others'.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Generator, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import Final

import msgspec

from shared.clock import SystemClock
from shared.errors import SkyharborError
from shared.model.backup import Notice
from shared.vault.point import MOMENTS_FROM, MOMENTS_UNTIL
from shared.vault.reader import PointReader
from workers.engine.ports import Kept, Pushed
from workers.sources.mysql import reports
from workers.sources.mysql.binlogs import Gap, Part, part_path, parts_between, proof_of, with_parts
from workers.sources.mysql.chain import INFO, STATE, Info, Owner, Place, Step, encoded, shown, step_name
from workers.sources.mysql.child import Check, Child
from workers.sources.mysql.draining import Drain
from workers.sources.mysql.endpoint import Endpoint
from workers.sources.mysql.mbstream import MbstreamReader
from workers.sources.mysql.planning import Plan
from workers.sources.mysql.pushed import Bytes, Node, Remembering, Stretch, Text, Tree
from workers.sources.mysql.server import Facts, Server
from workers.sources.mysql.unraveling import Unraveled

LOCK_PATIENCE: Final = 60
"""Seconds that mariabackup waits for its locks: while it waits, others wait behind it."""
_STALL: Final = 900.0

_NOT_INNODB: Final = (b".MYD", b".MAD", b".CSV", b".ARZ", b".MRG")
_SERVERS_OWN: Final = frozenset({b"mysql", b"sys", b"performance_schema"})
_MOST_NAMED: Final = 5

Item = Pushed | Kept | Notice


@dataclass(frozen=True, slots=True)
class Site:
    """A server on this machine, as a session has found it."""

    endpoint: Endpoint
    facts: Facts
    owner: Owner
    inode: int
    mariabackup: str

    @property
    def binlogs(self) -> str:
        """The folder of the log of changes; empty where there is none."""
        return os.path.dirname(self.facts.binlog)


class PhysicalStream:
    """The engine's ``StreamSource`` over one run of mariabackup.

    ``state`` and ``notices`` are those of the stream that has ended.
    """

    def __init__(self, site: Site, plan: Plan, *, folder: str, check: Check) -> None:
        self.state: dict[str, str] = {}
        self.notices: list[Notice] = []
        self._site = site
        self._plan = plan
        self._folder = folder
        self._check = check
        self._held = ExitStack()
        self._tree = Tree(site.owner)
        self._locked: set[str] = set()
        self._elsewhere: set[str] = set()

    def close(self) -> None:
        """End mariabackup, wherever it is: a stream that nobody reads any more may never be asked for its end."""
        self._held.close()

    def stream(self, reference: PointReader | None) -> Iterator[Item]:
        """Yield the new step, what is kept of the reference, the log of changes, and ``info.json`` at last."""
        plan = self._plan if reference is not None else Plan.full()
        yield from plan.notices
        before = plan.before
        for kept in before.steps if before is not None else ():
            self._tree.keep(kept.name.encode())
            yield Kept(kept.name.encode())
        name = step_name(1, full=True) if before is None else before.next_name(full=plan.from_lsn == 0)
        step = yield from self._step(name, plan.from_lsn)
        if step.is_full:
            self.notices.extend(self._about_tables())
        info = Info(
            version=self._site.facts.version,
            series=self._site.facts.series,
            hostname=self._site.facts.hostname,
            datadir=self._site.facts.datadir,
            owner=self._site.owner,
            inode=self._site.inode,
            variables=self._site.facts.variables,
            steps=(*(before.steps if before is not None else ()), step),
        )
        info = yield from self._log_of_changes(before, info)
        text = encoded(info)
        yield from self._pushed(INFO, Text(text))
        self.state[STATE] = text.decode()
        if info.window is not None:
            self.state[MOMENTS_FROM], self.state[MOMENTS_UNTIL] = map(shown, info.window)

    # ── files ────────────────────────────────────────────────────────────────────────────────────────

    def _step(self, name: str, from_lsn: int) -> Generator[Item, None, Step]:
        begun = SystemClock().now().timestamp()
        told: dict[bytes, Remembering] = {}
        size = 0
        with ExitStack() as stack:
            self._held = stack
            child, unraveled = self._mariabackup(from_lsn, stack)
            try:
                for path, file in unraveled.files():
                    self._look_at(path)
                    content: Bytes = file
                    if path in reports.REPORTS:
                        content = told[path] = Remembering(file)
                    made = self._tree.tablespace if _is_tablespace(path) else self._tree.file
                    folders, node = made(name.encode() + b"/" + path, content)
                    yield from folders
                    yield node
                    size += node.size
            except SkyharborError:
                # A stream that breaks off is the consequence; what the program says is the cause.
                if self._gave_up(child):
                    raise reports.why_failed(child.said()) from None
                raise
            if child.wait() or "completed OK!" not in child.said():
                raise reports.why_failed(child.said())
            before, after = reports.moments(child.said(), begun=begun, ended=SystemClock().now().timestamp())
        texts = {path: bytes(one.text) for path, one in told.items()}
        from_told, to_lsn = reports.lsns(texts)
        if from_told != from_lsn:
            raise SkyharborError("source-failed", f"mariabackup began at {from_told}, and was told {from_lsn}")
        place, gtid = reports.binlog(texts)
        return Step(
            name=name,
            from_lsn=from_lsn,
            to_lsn=to_lsn,
            not_before=before,
            not_after=after,
            binlog=place if self._site.binlogs else None,
            gtid=gtid,
            bytes=size,
            names=unraveled.names,
        )

    def _mariabackup(self, from_lsn: int, stack: ExitStack) -> tuple[Child, Unraveled]:
        """Start the program; the stack ends it, and lets go of what it has sent."""
        options = self._site.endpoint.option_file()
        stack.callback(options.close)
        child = Child(
            [
                self._site.mariabackup,
                *options.arguments,
                "--backup",
                "--stream=mbstream",
                "--check-privileges",
                f"--ftwrl-wait-timeout={LOCK_PATIENCE}",
                f"--target-dir={self._folder}/nothing-is-made-here",
                f"--tmpdir={self._folder}",
                *([f"--incremental-lsn={from_lsn}"] if from_lsn else []),
            ],
            check=self._check,
            folder=self._folder,
            stall=_STALL,
            options=options,
            cwd="/",
        )
        stack.callback(child.close)
        drain = Drain(
            child.output(),
            folder=self._folder,
            in_a_hurry=lambda: child.has_said(*reports.HOLDING),
            check=self._check,
            stall=_STALL,
        )
        stack.callback(drain.close)
        stack.callback(child.close)  # before the drain, which ends when nobody writes into it any more
        return child, Unraveled(MbstreamReader(drain.read_into), self._folder)

    def _look_at(self, path: bytes) -> None:
        folder, _, name = path.rpartition(b"/")
        if name.endswith(_NOT_INNODB) and folder not in _SERVERS_OWN:
            self._locked.add(os.fsdecode(folder + b"." + name.rpartition(b".")[0]))
        elif name.endswith(b".isl"):
            self._elsewhere.add(os.fsdecode(folder + b"." + name.rpartition(b".")[0]))

    def _gave_up(self, child: Child) -> bool:
        try:
            return child.wait(patience=5.0) != 0
        except SkyharborError:
            return False

    # ── the log of changes ───────────────────────────────────────────────────────────────────────────

    def _log_of_changes(self, before: Info | None, info: Info) -> Generator[Item, None, Info]:
        """Yield what the log has between the last step and this one; return the point's description with it."""
        to = info.last.binlog
        if to is None:
            return msgspec.structs.replace(info, replay_from=len(info.steps) - 1)
        with ExitStack() as stack:
            parts, replay_from, kept = self._opened(before, info, to, stack)
            for one in kept.binlogs if kept is not None else ():
                for begin, _ in one.parts:
                    yield Kept(part_path(one.file, begin))
            for part in parts:
                yield from self._pushed(part_path(part.file, part.begin), Stretch(part.fd, part.begin, part.end))
            shipped = with_parts(kept.binlogs if kept is not None else (), parts)
        proof = ""
        with suppress(Gap):  # purged in this very moment: the next backup will see it
            proof = proof_of(self._site.binlogs, to)
        return msgspec.structs.replace(info, binlogs=shipped, replay_from=replay_from, proof=proof)

    def _opened(
        self, before: Info | None, info: Info, to: Place, stack: ExitStack
    ) -> tuple[Sequence[Part], int, Info | None]:
        """Return the new parts, the first step that they lead on from, and of what the parts are kept."""
        folder, names = self._site.binlogs, Server(self._site.endpoint).binlogs()
        if before is not None and before.last.binlog is not None:
            with suppress(Gap):
                if self._plan.log_goes_on:
                    return parts_between(folder, names, before.last.binlog, to, stack), before.replay_from, before
            self.notices.append(gap_notice(self._site.facts.binlog))
        try:
            return parts_between(folder, names, None, to, stack), len(info.steps) - 1, None
        except Gap:
            raise SkyharborError(
                "source-failed", f"the server has purged its log of changes while it was backed up: {to.file} is gone"
            ) from None

    def _pushed(self, path: bytes, content: Text | Stretch) -> Iterator[Node]:
        folders, node = self._tree.file(path, content)
        yield from folders
        yield node

    def _about_tables(self) -> Iterator[Notice]:
        """What stays as it is from increment to increment is said with every full."""
        if self._locked:
            words = "tables that are not InnoDB's are copied whole each time, and writing to them may wait meanwhile: "
            yield Notice(self._site.facts.datadir, "locked-tables", words + named(self._locked))
        if self._elsewhere:
            words = "tables with a DATA DIRECTORY of their own come back inside of the data folder: "
            yield Notice(self._site.facts.datadir, "moved-tables", words + named(self._elsewhere))


def _is_tablespace(path: bytes) -> bool:
    return path.endswith(b".ibd") or (b"/" not in path and path.startswith((b"ibdata", b"undo")))


def named(names: Collection[str]) -> str:
    """Return the first of these names as text."""
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return ", ".join(sorted(names)[:_MOST_NAMED]) + more


def gap_notice(binlog: str) -> Notice:
    """Return what has to be said when a part of the log of changes is missing."""
    return Notice(
        binlog,
        "window-begins-again",
        "the server has purged or reset its log of changes since the last point: moments between the last point and "
        "this one cannot be restored; keep the log longer (expire_logs_days), or back up more often",
    )
