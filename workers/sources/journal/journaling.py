"""One backup's use of the journal: a mark before anything is read, and what happened since the reference's mark.

The point's state has the mark that was set before its reading began, so whatever happens from then on is told to the
backup that compares with it. It also has what the mark was about: the item's description and the mounts.

Rule of the file: without a doubt about the reference there are changes, with one there is a reason to scan.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence

import msgspec

from shared.contracts.sources import FilesSource
from shared.model.backup import Notice
from shared.vault.point import PointBody
from workers.sources.journal.changes import Changes, Gap, resolved
from workers.sources.journal.client import JournalLine
from workers.sources.journal.mapped import Unseen, written_unseen
from workers.sources.journal.messages import Happened, Marked
from workers.sources.journal.mount_table import layout_of, read_mounts
from workers.sources.roots import real_place, roots_of

SCAN_EVERY = 24
"""After so many points everything is scanned once: some changes are told by nobody."""

_JOURNAL, _MARK, _ABOUT, _RUNS = "journal", "journal-mark", "journal-of", "journal-runs"


class Journaling:
    """Used by one thread, in this order: made, ``changes`` asked once everything is held still, ``state`` at the end.

    ``journal`` is None where this worker has none.
    """

    def __init__(self, journal: JournalLine | None, source: FilesSource, leave_out: Sequence[str]) -> None:
        self._journal = journal
        self._source = source
        self._roots = [real_place(os.fsdecode(root)) for root in roots_of(source.paths).walked]
        self._mounts = read_mounts()
        self._layout = layout_of(self._roots, self._mounts)
        self._about = _digest(source, leave_out, self._layout.digest)
        self._runs = 0
        self._mark = self._begin()
        self.notices: list[Notice] = []

    def changes(self, reference: PointBody | None) -> Changes | None:
        """Return what has changed since the reference; None when everything has to be scanned, which is said."""
        if self._mark.problem:
            self._say(self._mark.problem)
            return None
        if reference is None or _JOURNAL not in reference.state:
            return None
        try:
            changes = self._changes(reference)
        except Gap as gap:
            self._say(str(gap))
            return None
        self._runs = int(reference.state[_RUNS]) + 1
        return changes

    @property
    def state(self) -> Mapping[str, str]:
        """What the next backup has to know."""
        if self._mark.problem:
            return {}
        return {
            _JOURNAL: self._mark.journal,
            _MARK: str(self._mark.mark),
            _ABOUT: self._about,
            _RUNS: str(self._runs),
        }

    # ── inside ───────────────────────────────────────────────────────────────────────────────────────

    def _begin(self) -> Marked:
        if self._journal is None:
            return Marked(problem="this worker keeps no journal")
        if not self._layout.places:
            return Marked(problem="no path is on a file system that a journal can be trusted with")
        return self._journal.mark(self._layout.places)

    def _changes(self, reference: PointBody) -> Changes:
        state, rules = reference.state, self._source.rules
        if rules.nodump:
            raise Gap("nobody is told when the attribute changes that --exclude-nodump asks for")
        if state[_ABOUT] != self._about:
            raise Gap("what is protected, or what is mounted there, is not what it was")
        if int(state[_RUNS]) + 1 >= SCAN_EVERY:
            raise Gap(f"the last {SCAN_EVERY} points relied on it; some changes are told by nobody")
        also = _said(reference)
        try:
            unseen = written_unseen()  # before the journal is asked: what ends meanwhile is told by that
        except Unseen as error:
            raise Gap(str(error)) from error
        happened = self._happened(state)
        if happened.inodes and (rules.caches or rules.larger_than is not None):
            raise Gap("a file with names elsewhere has changed, which a rule of the item may be about")
        return resolved(happened, self._layout, self._mounts, doubtful=unseen, also=also)

    def _happened(self, state: Mapping[str, str]) -> Happened:
        if self._journal is None:
            raise Gap("this worker keeps no journal")
        happened = self._journal.since(state[_JOURNAL], int(state[_MARK]), self._layout.places)
        if happened.gap:
            raise Gap(happened.gap)
        return happened

    def _say(self, why: str) -> None:
        self.notices.append(Notice("", "everything-scanned", f"the journal of changes could not be used: {why}"))


def _said(reference: PointBody) -> list[bytes]:
    """Return the paths that the reference had something to say about: they are looked at, and it is said, again."""
    if reference.stats.get("warnings", 0) > len(reference.notices):
        raise Gap("the point to compare with has more warnings than it lists")
    paths = [notice.path for notice in reference.notices if notice.path]
    if any("\\x" in path for path in paths):
        raise Gap("the point to compare with has a warning about a name that is no text")
    return [os.fsencode(path) for path in paths]


def _digest(source: FilesSource, leave_out: Sequence[str], layout: str) -> str:
    about = (source.paths, source.excludes, source.rules, sorted(leave_out), layout)
    return hashlib.sha256(msgspec.msgpack.encode(about)).hexdigest()
