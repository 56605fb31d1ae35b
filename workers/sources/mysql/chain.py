"""What a physical point is made of: a full backup, increments on top of it, and the log of changes between them.

It is written into the point twice: as ``info.json`` in its tree, for whoever restores, and as the state by which the
next session finds its place.

Times: when the server was as a step has it is only known between two moments, ``not_before`` and ``not_after``, in
seconds since the epoch.

Rule of the file: values and their consequences; nothing is asked, read or run.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

import msgspec

from shared.decoders import json_decoder

FORMAT: Final = 1
MOST_INCREMENTS: Final = 30
"""Each has to be applied in turn at a restore, so there is a new full after so many."""
STATE: Final = "info"
INFO: Final = b"info.json"


class Place(msgspec.Struct, frozen=True):
    """A place in the log of changes: a file's name, and a position in it."""

    file: str
    position: int


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One run of mariabackup; ``name`` is its folder in the tree, ``bytes`` what is in it.

    ``names`` are files that are called otherwise, or not wanted, once the step is unpacked: by their name in the tree.
    """

    name: str
    from_lsn: int
    to_lsn: int
    not_before: int
    not_after: int
    binlog: Place | None
    gtid: str
    bytes: int
    names: dict[str, str | None] = {}

    @property
    def is_full(self) -> bool:
        """Whether it needs no other."""
        return self.from_lsn == 0


class Shipped(msgspec.Struct, frozen=True):
    """A file of the log of changes as far as the point has it: ``parts`` are (begin, end), one behind the other."""

    file: str
    parts: tuple[tuple[int, int], ...]

    @property
    def end(self) -> int:
        """How far it goes."""
        return self.parts[-1][1]


class Owner(msgspec.Struct, frozen=True):
    """To whom the data folder belongs."""

    user: str
    group: str
    uid: int
    gid: int
    mode: int


class Info(msgspec.Struct, frozen=True, kw_only=True):
    """The whole of a point.

    ``replay_from`` is the number of the first step from which the log of changes leads to the last one without a gap.
    ``proof`` tells the log at the last step's place from any other; ``inode`` is that of the system tablespace.
    """

    format: int = FORMAT
    version: str
    series: str
    hostname: str
    datadir: str
    owner: Owner
    inode: int
    variables: dict[str, str]
    steps: tuple[Step, ...]
    binlogs: tuple[Shipped, ...] = ()
    replay_from: int = 0
    proof: str = ""

    @property
    def last(self) -> Step:
        """The newest step."""
        return self.steps[-1]

    @property
    def window(self) -> tuple[int, int] | None:
        """Return the first and the last second of those that can be brought back; None when there are none."""
        first, last = self.steps[self.replay_from].not_after, self.last.not_before
        return (first, last) if self.binlogs and first <= last else None

    def chain(self, number: int) -> tuple[Step, ...]:
        """Return the steps that make up the state at this one: a full, and the increments up to it."""
        first = max(at for at in range(number + 1) if self.steps[at].is_full)
        return self.steps[first : number + 1]

    def trimmed(self) -> Info:
        """Return the point without what is older than its last full."""
        first = max(at for at, step in enumerate(self.steps) if step.is_full)
        oldest = self.steps[max(first, self.replay_from)].binlog
        names = [one.file for one in self.binlogs]
        begin = names.index(oldest.file) if oldest is not None and oldest.file in names else len(names)
        return msgspec.structs.replace(
            self,
            steps=self.steps[first:],
            binlogs=self.binlogs[begin:],
            replay_from=max(0, self.replay_from - first),
        )

    @property
    def wants_full(self) -> bool:
        """Whether the next step had better be a full one."""
        steps = self.chain(len(self.steps) - 1)
        return len(steps) > MOST_INCREMENTS or sum(step.bytes for step in steps[1:]) > steps[0].bytes

    def next_name(self, *, full: bool) -> str:
        """Return the folder of the next step."""
        number = int(self.last.name.rpartition("/")[2]) + 1
        return step_name(number, full=full)


def step_name(number: int, *, full: bool) -> str:
    """Return the folder of a step."""
    return f"{'full' if full else 'incr'}/{number:04d}"


def shown(second: int) -> str:
    """Return a second as people and other programs write it (RFC 3339, UTC)."""
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def encoded(info: Info) -> bytes:
    """Return the text of ``info.json``."""
    return msgspec.json.format(msgspec.json.encode(info), indent=1)


def decoded(text: bytes | str) -> Info | None:
    """Return what such a text says, None when it is none of ours or of a newer format."""
    try:
        info = json_decoder(Info).decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    return info if info.format == FORMAT and info.steps and info.steps[0].is_full else None


def number_for(info: Info, until: int) -> int | None:
    """Return the last step that was surely over at this second and from which the log leads on; None: there is none."""
    fitting = [at for at, step in enumerate(info.steps) if at >= info.replay_from and step.not_after <= until]
    return fitting[-1] if fitting else None
