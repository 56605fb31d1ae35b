"""Sources that push: contents go in as they come, entries are in order, what is kept is kept, and a session is told."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence

import pytest

from shared.clock import SystemClock
from shared.contracts.work import BackupDone, Fence
from shared.errors import SkyharborError
from shared.model.backup import BackupType, Notice
from shared.vault.entry import Entry
from shared.vault.point import PointBody
from shared.vault.reader import PointReader
from tests.support.uncontrolled import Uncontrolled
from tests.unit.engine.rig import Recorder, Rig
from workers.engine.backup import BackupOptions, run_backup
from workers.engine.doors import Doors
from workers.engine.ports import Kept, Pushed, Stop

MIB = 1024 * 1024


class Content:
    """A file on its way, in pieces of odd sizes."""

    def __init__(self, path: str, data: bytes) -> None:
        self.entry = Entry(path.encode(), 1, 0o600, 26, 26, 0, 5, 0, 0, 0)
        self._rest = memoryview(data)

    def read_into(self, buffer: memoryview) -> int:
        got = min(len(buffer), len(self._rest), 70_001)
        buffer[:got], self._rest = self._rest[:got], self._rest[got:]
        return got


def folder(path: str) -> Content:
    node = Content(path, b"")
    node.entry.kind = 2
    return node


class Sent:
    """A session whose source sends these, and that remembers what it was told."""

    def __init__(self, *nodes: Pushed | Kept | Notice | Exception, state: Mapping[str, str] | None = None) -> None:
        self.nodes = nodes
        self.state: Mapping[str, str] = state or {}
        self.told: list[str] = []
        self.paths: Sequence[str] = ()
        self.reading = self
        self.reference: PointReader | None = None

    def stream(self, reference: PointReader | None) -> Iterator[Pushed | Kept | Notice]:
        self.reference = reference
        for node in self.nodes:
            if isinstance(node, Exception):
                raise node
            yield node

    def notices(self) -> Sequence[Notice]:
        self.told.append("notices")
        return [Notice("", "said", "by the session")]

    def confirm(self) -> None:
        self.told.append("confirm")

    def sealed(self) -> None:
        self.told.append("sealed")

    def close(self) -> None:
        self.told.append("close")


def send(
    rig: Rig,
    session: Sent | Callable[[PointBody | None], Sent],
    *,
    type: BackupType = BackupType.INCREMENTAL,
    control: Recorder | None = None,
    checkpoint_every: float = 180.0,
) -> BackupDone:
    def open_session(reference: PointBody | None) -> Sent:
        return session if isinstance(session, Sent) else session(reference)

    def no_source(_: bytes) -> object:
        raise AssertionError("a stream is not opened again")

    return run_backup(
        doors=Doors(open_session, no_source),  # type: ignore[arg-type]
        vault=rig.vault,
        keys=rig.keys,
        index=rig.index(),
        instruction=rig.instruction("/", type=type),
        fence=Fence(job_id="job", unit=0, epoch=1, claim_id="claim"),
        control=control or Uncontrolled(),
        clock=SystemClock(),
        options=BackupOptions(checkpoint_every=checkpoint_every),
    )


def tree(rig: Rig) -> dict[str, bytes]:
    reader = rig.reader()
    found = {}
    for entry in reader.entries():
        data = b"".join(map(bytes, reader.read_chunks(entry.chunks)))
        assert len(data) == entry.size
        found[entry.path.decode()] = data
    return found


def test_whatever_order_nodes_come_in_the_point_is_sorted_and_whole() -> None:
    rig, rng = Rig(), random.Random(3)
    sizes = [0, 1, 5000, MIB - 1, MIB, MIB + 1, 9 * MIB, *(rng.randrange(60_000) for _ in range(200))]
    files = {f"base/{rng.randrange(3)}/{number}": rng.randbytes(size) for number, size in enumerate(sizes)}
    names = list(files)
    rng.shuffle(names)
    done = send(rig, Sent(*(Content(name, files[name]) for name in names), folder("base/0"), folder("base")))
    assert tree(rig) == {"base": b"", "base/0": b"", **files}
    assert done.stats.files == done.stats.files_new == len(files)
    assert done.stats.bytes_read == done.stats.bytes_scanned == sum(map(len, files.values()))


def test_what_is_kept_moves_no_bytes_and_what_is_not_kept_is_gone() -> None:
    rig, rng = Rig(), random.Random(4)
    base, log = rng.randbytes(3 * MIB), rng.randbytes(1000)
    send(rig, Sent(Content("base/0/data", base), Content("base/0x", b"beside"), Content("wal/1", log)))
    second = Sent(Kept(b"base/0"), Kept(b"wal/1"), Content("wal/2", b"more"), Content("base/0x", b"new"))
    done = send(rig, second)
    assert tree(rig) == {"base/0/data": base, "wal/1": log, "wal/2": b"more", "base/0x": b"new"}
    assert done.stats.bytes_read == 7
    counts = done.stats.files_unchanged, done.stats.files_changed, done.stats.files_new, done.stats.files_removed
    assert counts == (2, 1, 1, 0)
    assert send(rig, Sent(Kept(b"base"))).stats.files_removed == 2


def test_a_session_is_told_in_order_and_its_state_comes_back_with_the_reference() -> None:
    rig = Rig()
    first = Sent(Content("a", b"a"), state={"lsn": "0/42"})
    done = send(rig, first)
    assert first.told == ["notices", "confirm", "sealed", "close"]
    assert [notice.code for notice in done.warnings] == ["said"]
    states = []

    def second(reference: PointBody | None) -> Sent:
        states.append(None if reference is None else dict(reference.state))
        return Sent(Kept(b"a"))

    send(rig, second)
    assert states == [{"lsn": "0/42"}]


@pytest.mark.parametrize(
    ("nodes", "words"),
    [
        ([Content("a", b"1"), Content("a", b"2")], "sent /a twice"),
        ([Kept(b"a"), Content("a/b", b"2")], "sent /a/b, which it keeps"),
        ([Content("c", b"1"), SkyharborError("source-failed", "the server is gone")], "the server is gone"),
    ],
)
def test_a_stream_that_is_wrong_makes_no_point_and_lets_go(nodes: list[Pushed], words: str) -> None:
    rig = Rig()
    send(rig, Sent(Content("a/b", b"1")))
    for node in nodes:
        if isinstance(node, Content):
            node._rest = memoryview(b"again")
    session = Sent(*nodes)
    with pytest.raises(SkyharborError, match=words):
        send(rig, session)
    assert len(rig.points()) == 1
    assert session.told == ["close"]


def test_a_cancelled_stream_makes_no_point_and_lets_go() -> None:
    rig = Rig()
    session = Sent(*(Content(str(number), b"x" * 5 * MIB) for number in range(4)))
    with pytest.raises(Stop):
        send(rig, session, control=Recorder(stop_after=2))
    assert rig.points() == []
    assert session.told == ["close"]


def test_a_reference_that_has_lost_data_is_not_kept_from() -> None:
    rig, sessions = Rig(), []
    send(rig, Sent(Content("a", b"a" * 100)))
    for name in [listed.name for listed in rig.store.list("packs/d/")]:
        rig.store.delete(name)

    def opened(reference: PointBody | None) -> Sent:
        sessions.append(Sent(Kept(b"a") if reference is not None else Content("a", b"a" * 100)))
        return sessions[-1]

    done = send(rig, opened)
    assert [session.told for session in sessions] == [["close"], ["notices", "confirm", "sealed", "close"]]
    assert sessions[1].reference is None
    assert done.point.type is BackupType.FULL
    assert "reference-unusable" in [notice.code for notice in done.warnings]
    assert tree(rig) == {"a": b"a" * 100}


def test_what_was_stored_before_a_stream_broke_off_is_not_stored_again() -> None:
    rig, data = Rig(), random.Random(5).randbytes(40 * MIB)
    with pytest.raises(SkyharborError):
        send(rig, Sent(Content("big", data), SkyharborError("source-failed", "gone")), checkpoint_every=0.0)
    done = send(rig, Sent(Content("big", data)))
    assert done.stats.bytes_transferred < len(data) // 4
