"""What the engine needs of the world around it: a source to read, and somebody who may stop it.

Rule of the file: Protocols and the values that cross them; no behaviour.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from enum import Enum, StrEnum
from typing import NamedTuple, Protocol, runtime_checkable

from shared.contracts.sources import SourceSpec
from shared.contracts.work import Progress, RestoreDone, RestoreInstruction, Shards
from shared.model.backup import Notice
from shared.vault.entry import Entry
from shared.vault.point import PointBody
from shared.vault.reader import PointReader
from workers.engine.span import EVERYTHING, Span


class StopReason(StrEnum):
    """Why a unit has to end before its result."""

    CANCELLED = "cancelled"  # a person said so: clean up and report
    LOST = "lost"  # somebody else may own the unit: touch nothing
    DRAIN = "drain"  # this process is going down: give the unit back


class Stop(Exception):
    """Raised by ``Control.check``; the engine drops what is unfinished and lets it pass."""

    def __init__(self, reason: StopReason) -> None:
        self.reason = reason
        super().__init__(reason.value)


class Elsewhere(Exception):
    """What a session holds is out of this worker's reach, or something else has its name here: others may read it."""


class Control(Protocol):
    """The unit's tie to the tower. All methods are called from one thread and must be cheap."""

    def check(self) -> None:
        """Raise ``Stop`` when the unit must end now."""
        ...

    def progress(self, progress: Progress) -> None:
        """Take the latest position; only the last one matters."""
        ...

    def commit(self) -> None:
        """Ask for leave to seal. Raises ``stale-claim`` (somebody else owns the unit), ``cancelled``, or ``Stop``."""
        ...


class Unreadable(Exception):
    """A node could not be read; the rest of the source can. The notice's code is ``vanished`` or ``unreadable``."""

    def __init__(self, notice: Notice) -> None:
        self.notice = notice
        super().__init__(notice.message)


class Stat(Protocol):
    """What the scan knows of a node: the fields of ``os.stat_result`` of these names."""

    @property
    def st_mode(self) -> int: ...  # noqa: D102
    @property
    def st_ino(self) -> int: ...  # noqa: D102
    @property
    def st_dev(self) -> int: ...  # noqa: D102
    @property
    def st_nlink(self) -> int: ...  # noqa: D102
    @property
    def st_uid(self) -> int: ...  # noqa: D102
    @property
    def st_gid(self) -> int: ...  # noqa: D102
    @property
    def st_size(self) -> int: ...  # noqa: D102
    @property
    def st_rdev(self) -> int: ...  # noqa: D102
    @property
    def st_mtime_ns(self) -> int: ...  # noqa: D102
    @property
    def st_ctime_ns(self) -> int: ...  # noqa: D102


class Found(NamedTuple):
    """Consecutive nodes that the scan met: their paths, and what they looked like."""

    paths: list[bytes]
    stats: Sequence[Stat]


BYTES_OF_AN_ENTRY = 64 * 1024
"""As so many entries what there is to read of large files counts where a backup is shared out by their number."""


class Unchanged(NamedTuple):
    """A directory that is, with all that is below it, as the session's reference has it: an offer of the scan.

    The scan yields it in its place in the order, before the directory itself. Whoever answers with ``send(True)`` takes
    the reference's entries at and below ``path``, and nothing below it is met; after any other answer it is scanned.
    ``stat`` is what the directory looks like. ``doubtful`` are inode numbers of nodes that may have changed even so:
    they, and all whose change time the reference does not trust, are to be looked at, by path, with ``look``, which
    raises ``Unreadable``.
    """

    path: bytes
    stat: Stat
    doubtful: frozenset[int]
    look: Callable[[bytes], Stat]


class Survey(NamedTuple):
    """A quick look at the upper folders: their paths in the order of a point, and how many entries each has.

    With ``cut_off`` there are more below; folders that were met and not listed have 0 entries.
    """

    folders: list[tuple[bytes, int]]
    cut_off: bool


class ReadRange(NamedTuple):
    """A part of a large file: its chunks, the data found in it, and what the file looked like after it was read.

    ``ids`` are those of the chunks, 32 bytes each; ``data`` lists (offset, length) without the holes. ``entry`` has
    the file's columns, xattrs and flags. ``ended`` says that the file ends in this part, ``young`` that it was changed
    right before it was read, so that its change time cannot be trusted.
    """

    entry: Entry
    ids: bytes
    data: tuple[tuple[int, int], ...]
    ended: bool
    young: bool


class OpenedFile(Protocol):
    """A regular file held open for reading. Used by one thread at a time."""

    entry: Entry
    """The file as it was at the last ``look``, with its xattrs and flags; never with content."""

    def changes(self) -> list[tuple[int, int]] | None:
        """Return the (offset, length) of what can differ from the session's reference, in order; None: anything.

        Only asked of sources that are cut into blocks; the engine reads whole blocks around these ranges. A file of
        which something can have changed must have another ``st_ctime_ns`` than in the reference, or it is not opened.
        """
        ...

    def look(self) -> bool:
        """Look at the attributes again and return whether nothing has changed since the last look."""
        ...

    def next_data(self, offset: int) -> int | None:
        """Return where data at or behind ``offset`` begins, None when only a hole follows."""
        ...

    def data(self, begin: int, end: int) -> list[tuple[int, int]]:
        """Return the (offset, length) of data between two offsets, in order; between and behind them are holes."""
        ...

    def read(self, size: int, offset: int) -> bytes:
        """Return up to ``size`` bytes; fewer only at the end of the file or on files that lie about their size."""
        ...

    def read_into(self, buffer: memoryview, offset: int) -> int:
        """Fill ``buffer`` from ``offset`` as far as the file goes and return how many bytes were read."""
        ...

    def close(self) -> None:
        """Let go of the file."""
        ...


class Haste(Enum):
    """How a quick reading of a small file went."""

    NO = 0  # there is something special about the file: ``open`` finds out
    READ = 1
    WAITED = 2  # read, but from the disk: the page cache did not have it


class Source(Protocol):
    """What is protected, as a tree of entries that may be read at will."""

    @property
    def block(self) -> int:
        """Into how large pieces files are cut, from the first byte on; 0: by content. Bytes, a power of two."""
        ...

    @property
    def excluded(self) -> int:
        """How many nodes of its span the last scan left out because a rule says so: no reason for a notice."""
        ...

    def scan(self, span: Span = EVERYTHING) -> Iterator[Found | Notice | Unchanged]:
        """Yield every node of the span, in blocks, in the order of ``sort_key``; notices for what is missing.

        A generator may offer what is ``Unchanged``, when the span is everything; other iterators have no offers.

        Raises ``source-missing`` before the first item when a path to protect does not exist, and ``source-failed``
        when this machine has run out of what reading needs, or the server that it reads from is gone. One thread only.
        """
        ...

    def survey(self, most: int) -> Survey:
        """List so many folders at most, upper ones first. What cannot be read is passed over: a scan will tell.

        Not asked of sources of blocks: these are shared out by what there is to read of their files.
        """
        ...

    def complete(self, entry: Entry) -> Entry:
        """Return a node that is no file with its xattrs, flags and link target. Any thread. Raises ``Unreadable``."""
        ...

    def read_whole(self, entry: Entry, room: memoryview) -> Haste:
        """Read a small regular file the quick way into ``room`` (its size and one byte more) and complete its entry.

        Only when the file was, after it was read, the very node that the scan met, unchanged, and has no holes; ``NO``
        in every other case, whatever the reason. Any thread.
        """
        ...

    def warm(self, entries: Iterable[Entry]) -> None:
        """Have the content of small files fetched into the page cache, without waiting for it. Any thread."""
        ...

    def open(self, entry: Entry) -> OpenedFile:
        """Open a regular file that the scan met. Any thread. Raises ``Unreadable``."""
        ...

    def names_of_owners(self, uids: Iterable[int], gids: Iterable[int]) -> tuple[dict[str, str], dict[str, str]]:
        """Return the names of users and groups where the source has any, by the decimal text of their number."""
        ...

    def close(self) -> None:
        """Let go of connections and threads, when nobody reads any more. Idempotent; then nothing may be asked of it.

        A worker runs for months, and a server counts its guests: nothing is left to the garbage collector.
        """
        ...


@runtime_checkable
class Complaining(Protocol):
    """A ``Source`` that may lose some of what belongs to a node and still read the node."""

    def complaints(self) -> Sequence[Notice]:
        """Return, once, what could not be had of nodes that were read since the last time. Any thread."""
        ...


@runtime_checkable
class Distant(Protocol):
    """A ``Source`` behind a network, where asking ahead of need hides the way there and back."""

    def announce(self, entries: Sequence[Entry]) -> None:
        """Take note of the nodes that this thread reads next, in this order; it is told instead of ``warm``."""
        ...


class Pushed(Protocol):
    """A node that a stream brings. Its content must be read, or left, before the next one is asked for."""

    entry: Entry
    """The node without content and size: the engine fills these in as they come. Files only have content."""

    def read_into(self, buffer: memoryview) -> int:
        """Fill the beginning of ``buffer`` and return how many bytes came; 0 at the end of the node."""
        ...


@runtime_checkable
class PushedInBlocks(Pushed, Protocol):
    """A node that is cut into blocks of so many bytes instead of by content: what changes in it does not shift."""

    @property
    def block(self) -> int: ...  # noqa: D102


class Kept(NamedTuple):
    """Everything that the reference has at or below this path is in the new point as it is there."""

    under: bytes


class StreamSource(Protocol):
    """What is protected, as its server sends it: once, in whatever order, every path at most once."""

    def stream(self, reference: PointReader | None) -> Iterator[Pushed | Kept | Notice]:
        """Yield all nodes. Raises ``source-failed`` when the stream breaks off: then there is no point. One thread.

        ``reference`` is the point to compare with; ``Kept`` is only for those that are given one.
        """
        ...


class Session(Protocol):
    """The hold of one backup on its source: a point in time, from its beginning until it is let go of.

    Held by the lead, used by one thread. Whatever it leaves in the source is undone by ``close``, by the guard when the
    worker dies, and by the item's next session when the machine did (decision 14).
    """

    @property
    def reading(self) -> bytes | StreamSource:
        """How the source is read: a description by which hands and shards open a ``Source``, or a stream."""
        ...

    @property
    def paths(self) -> tuple[str, ...]:
        """What is protected, as paths of the tree: absolute, for people and for telling blindness from trouble."""
        ...

    @property
    def state(self) -> Mapping[str, str]:
        """What the item's next session has to know about the point; asked right before it is sealed."""
        ...

    def notices(self) -> Sequence[Notice]:
        """Return what has to be said of the session as a whole, so far; asked right before the point is sealed."""
        ...

    def confirm(self) -> None:
        """Raise ``source-failed`` unless all that was read is of one point in time. Asked right before sealing."""
        ...

    def sealed(self) -> None:
        """Take note that the point exists. Failing here takes nothing from the point: say so in the log only."""
        ...

    def close(self) -> None:
        """Let go of the source; without ``sealed`` as if nothing had ever begun. Idempotent; never raises."""
        ...


class Guard(Protocol):
    """Undoes what a dead worker has left behind: a process of its own, which outlives the worker (decision 14).

    Kinds of deeds are registered in ``workers.guard``. A deed must be safe to do twice, and when nothing is there.
    """

    def arm(self, kind: str, details: Mapping[str, str], *, within: float | None = None) -> int:
        """Have a deed done when this worker dies, or after so many seconds; told before anything is made.

        Returns its number. The guard has it when this returns.
        """
        ...

    def disarm(self, number: int) -> None:
        """Nothing is left to undo. Idempotent."""
        ...


class SessionOrder(NamedTuple):
    """What a session is opened for.

    ``reference`` is the point to compare with: what it says about itself, its ``state`` above all; None for a full.
    ``leave_out`` are absolute folders that must never be entered. ``folder`` is one of this worker for what has to be
    kept between the item's backups, and may be lost: it exists. ``check`` raises ``Stop`` when the unit must end.
    """

    spec: SourceSpec
    item_id: str
    point_id: str
    reference: PointBody | None
    leave_out: Sequence[str]
    folder: str
    guard: Guard
    check: Callable[[], None]


class Lander(Protocol):
    """Makes of a point what people of its workload want to have in the target."""

    def __call__(
        self, reader: PointReader, instruction: RestoreInstruction, *, control: Control, folder: str
    ) -> RestoreDone:
        """Bring the point back. ``folder`` is the worker's own, for what is needed meanwhile.

        Raises ``target-invalid``, ``path-not-in-point``, ``bad-request`` for options before anything is written, and
        otherwise what ``restore_point`` raises. Killed, it leaves nothing half made under a real name.
        """
        ...


class Leg(NamedTuple):
    """A shard that this worker has claimed: its number from 1, what the lead wrote about it, its tie to the tower."""

    unit: int
    payload: bytes
    control: Control


class Formation(Protocol):
    """The other workers that may do parts of this backup. Used by one thread.

    Every method insists while the tower does not answer, for as long as the unit may go on: ``Stop`` after that.
    """

    @property
    def helpers(self) -> int:
        """How many other workers are alive."""
        ...

    def offer(self, payloads: Sequence[bytes]) -> None:
        """Make shards 1 and up of these."""
        ...

    def ask(self, have: Iterable[int]) -> Shards:
        """Return where the shards are, with results of those not in ``have``."""
        ...

    def take(self) -> Leg | None:
        """Claim a shard that nobody has; None when there is none any more."""
        ...

    def finish(self, leg: Leg, result: bytes) -> None:
        """Report a leg that was taken."""
        ...

    def drop(self, leg: Leg) -> None:
        """Forget a leg that was taken. Idempotent."""
        ...
