"""The NBD server says what the protocol says, refuses what writes, and outlives whoever lies, stalls or shouts."""

from __future__ import annotations

import random
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from shared.vault.chunk_table import ID_SIZE
from tests.unit.serving import nbd_peer as peer
from tests.unit.serving.nbd_peer import Chunk, Peer, Reply, meta, wish
from tests.unit.serving.points import Bench, File, Told, random_file
from workers.images.chunk_cache import ChunkCache
from workers.images.image import open_image
from workers.serving import nbd_negotiation
from workers.serving.addresses import UnixAddress
from workers.serving.exports import Export, Exports, choose_exports
from workers.serving.nbd_server import NbdServer

SIZE = 3_000_000
FILE = random_file(1, size=SIZE, holes=6, smallest=20_000, largest=300_000)
OTHER = File(b"other" * 1000)
FLAGS = 0b1_0000_0111  # has flags, read-only, flush, several connections
WITH_DF = FLAGS | 128


@pytest.fixture(scope="module")
def exports() -> Exports:
    reader = Bench().seal([], {b"disk0.raw": FILE, b"disk1.raw": OTHER, b"notes.txt": File(b"no disk")})
    return choose_exports(reader, [], Told().complaints())


Start = Callable[..., tuple[NbdServer, Callable[[], Peer]]]


@pytest.fixture
def start(tmp_path: Path, exports: Exports) -> Iterator[Start]:
    """Start servers with options; each comes with a way to connect to it."""
    with ExitStack() as stack:

        def make(served: Exports = exports, **options: object) -> tuple[NbdServer, Callable[[], Peer]]:
            path = str(tmp_path / f"{len(stack._exit_callbacks)}.sock")  # type: ignore[attr-defined]
            server = NbdServer(served, UnixAddress(path), **options)  # type: ignore[arg-type]
            server.start()
            stack.callback(server.stop)

            def connect() -> Peer:
                one = Peer.at(path)
                stack.callback(one.close)
                return one

            return server, connect

        yield make


@pytest.fixture
def connect(start: Start) -> Callable[[], Peer]:
    return start()[1]


# ── coming to terms ──────────────────────────────────────────────────────────────────────────────────


def test_the_disks_of_a_point_are_listed_in_order_without_what_is_no_disk(connect: Callable[[], Peer]) -> None:
    one = connect()
    assert one.greet() == (0x4E42444D41474943, 0x49484156454F5054, 3)
    *servers, end = one.ask(peer.LIST)
    names = [reply.data[4 : 4 + struct.unpack(">I", reply.data[:4])[0]] for reply in servers]
    assert (names, end) == ([b"disk0", b"disk1"], Reply(peer.ACK, b""))
    assert b"the item of the machine, point " in servers[0].data


@pytest.mark.parametrize(("name", "size"), [("", SIZE), ("disk0", SIZE), ("disk1", 5000)])
def test_a_disk_is_found_by_its_name_and_the_first_one_without(
    connect: Callable[[], Peer], name: str, size: int
) -> None:
    assert connect().go(name) == (size, WITH_DF)
    assert connect().go(name, structured=False) == (size, FLAGS)


def test_information_is_given_as_it_is_asked_for(connect: Callable[[], Peer]) -> None:
    one = connect()
    one.greet()
    replies = one.ask(peer.INFO, wish("disk1", 1, 2, 3))
    kinds = [struct.unpack(">H", reply.data[:2])[0] for reply in replies[:-1]]
    assert (kinds, replies[-1].kind) == ([0, 3, 1, 2], peer.ACK)
    assert struct.unpack(">III", replies[1].data[2:]) == (1, 4096, 32 << 20)
    assert replies[2].data[2:] == b"disk1"
    assert one.ask(peer.GO, wish("nothing"))[-1].kind == peer.UNKNOWN
    assert one.ask(peer.GO, wish("disk0"))[-1].kind == peer.ACK


@pytest.mark.parametrize("no_zeroes", [False, True])
def test_the_oldest_way_of_asking_for_a_disk_works(connect: Callable[[], Peer], no_zeroes: bool) -> None:
    one = connect()
    one.greet(flags=3 if no_zeroes else 1)
    one.option(peer.EXPORT_NAME, b"disk0")
    assert struct.unpack(">QH", one.take(10)) == (SIZE, FLAGS)
    if not no_zeroes:
        assert one.take(124) == bytes(124)
    one.request(peer.READ, 1000, 500)
    assert one.simple(500) == (0, FILE.content[1000:1500])


def test_contexts_need_structured_replies_and_are_listed_and_set(connect: Callable[[], Peer]) -> None:
    one = connect()
    one.greet()
    assert one.ask(peer.SET_META, meta("", ["base:allocation"]))[-1].kind == peer.INVALID
    one.ask(peer.STRUCTURED)
    for queries in ([], ["base:"], ["qemu:x", "base:allocation"]):
        replies = one.ask(peer.LIST_META, meta("disk0", queries))
        assert [(reply.kind, reply.data[4:]) for reply in replies] == [
            (peer.CONTEXT, b"base:allocation"), (peer.ACK, b""),
        ]  # fmt: skip
    assert [reply.kind for reply in one.ask(peer.LIST_META, meta("disk0", ["other:"]))] == [peer.ACK]
    assert [reply.kind for reply in one.ask(peer.SET_META, meta("gone", ["base:allocation"]))] == [peer.UNKNOWN]
    assert [reply.kind for reply in one.ask(peer.SET_META, meta("disk0", ["base:"]))] == [peer.ACK]
    assert [reply.kind for reply in one.ask(peer.SET_META, meta("disk0", ["base:allocation"]))] == [
        peer.CONTEXT, peer.ACK,
    ]  # fmt: skip


def test_a_map_that_was_chosen_for_another_disk_is_not_to_be_had(connect: Callable[[], Peer]) -> None:
    one = connect()
    one.greet()
    one.ask(peer.STRUCTURED)
    one.ask(peer.SET_META, meta("disk1", ["base:allocation"]))
    one.ask(peer.GO, wish("disk0"))
    one.request(peer.STATUS, 0, 4096)
    assert one.chunks() == [Chunk(1, peer.ERROR, struct.pack(">IH", 22, 0))]


def test_what_is_not_known_or_not_right_is_refused_and_the_talk_goes_on(connect: Callable[[], Peer]) -> None:
    one = connect()
    one.greet()
    assert one.ask(99, b"anything") == [Reply(peer.UNSUPPORTED, b"")]
    assert one.ask(peer.STARTTLS) == [Reply(peer.UNSUPPORTED, b"")]
    for number in (peer.LIST, peer.STRUCTURED):
        assert one.ask(number, b"?") == [Reply(peer.INVALID, b"")]
    for data in (b"", b"\0\0", b"\xff\xff\xff\xff", wish("disk0")[:-1], wish("disk0", 1)[:-1], wish("disk0") + b"\0\0"):
        assert one.ask(peer.GO, data)[-1].kind == peer.INVALID, data
    assert one.ask(peer.GO, struct.pack(">I", 2) + b"\xff\xfe" + b"\0\0")[-1].kind == peer.INVALID
    one.ask(peer.STRUCTURED)
    for data in (meta("disk0", ["x"])[:-1], meta("disk0", ["x"]) + b"\0", struct.pack(">II", 0, 0xFFFFFFFF)):
        assert one.ask(peer.SET_META, data)[-1].kind == peer.INVALID, data
    assert one.ask(99, bytes(100_000))[-1].kind == peer.TOO_BIG
    assert one.ask(peer.ABORT) == [Reply(peer.ACK, b"")]
    assert one.is_dropped()


# ── reading ──────────────────────────────────────────────────────────────────────────────────────────


def places() -> list[tuple[int, int]]:
    rng = random.Random(9)
    found = [(0, SIZE), (SIZE - 1, 1), (0, 1)]
    return found + [(at, min(rng.randint(1, 2_000_000), SIZE - at)) for at in rng.sample(range(SIZE), 40)]


def test_every_way_of_reading_gives_the_bytes_of_the_disk(connect: Callable[[], Peer]) -> None:
    structured, plain = connect(), connect()
    structured.go()
    plain.go(structured=False)
    for offset, length in places():
        wanted = FILE.content[offset : offset + length]
        assert structured.read(offset, length) == wanted
        structured.request(peer.READ, offset, length, flags=4)
        assert structured.chunks() == [Chunk(1, peer.DATA, struct.pack(">Q", offset) + wanted)]
        plain.request(peer.READ, offset, length)
        assert plain.simple(length) == (0, wanted)


def test_holes_are_sent_as_holes_and_data_in_parts_of_a_megabyte_at_most(connect: Callable[[], Peer]) -> None:
    one = connect()
    one.go()
    one.request(peer.READ, 0, SIZE)
    chunks = one.chunks()
    assert {struct.unpack(">QI", chunk.data) for chunk in chunks if chunk.kind == peer.HOLE} == set(FILE.holes)
    assert max(len(chunk.data) for chunk in chunks) <= (1 << 20) + 8
    assert [chunk.flags for chunk in chunks] == [0] * (len(chunks) - 1) + [1]


def test_the_map_of_a_disk_is_its_holes_in_whole_blocks(connect: Callable[[], Peer]) -> None:
    one = connect()
    one.go(contexts=["base:allocation"])
    at, holes = 0, []
    for length, state in one.map(0, SIZE):
        if state == 3:
            holes.append((at, at + length))
        else:
            assert state == 0
        at += length
    whole = [(-(-begin // 4096) * 4096, (begin + length) // 4096 * 4096) for begin, length in FILE.holes]
    assert (at, holes) == (SIZE, [(begin, end) for begin, end in whole if begin < end])
    first, end = holes[0]
    assert one.map(first - 10, SIZE - first, flags=8) == [(10, 0)]
    assert one.map(first, 4096) == [(4096, 3)]
    assert one.map(first + 1, 5) == [(5, 0)]
    assert one.map(end - 4096, 8192) == [(4096, 3), (4096, 0)]


def test_a_hole_at_the_end_of_a_disk_goes_to_the_end(start: Start) -> None:
    reader = Bench().seal([], {b"disk0.raw": File(b"a" * 100 + bytes(9900), [(100, 9900)], (60,))})
    _, connect = start(choose_exports(reader, [], Told().complaints()))
    one = connect()
    one.go(contexts=["base:allocation"])
    assert one.map(0, 10_000) == [(4096, 0), (5904, 3)]


@pytest.mark.parametrize("structured", [False, True])
def test_writing_is_refused_and_reading_goes_on(connect: Callable[[], Peer], structured: bool) -> None:
    one = connect()
    one.go(structured=structured)

    def refused() -> int:
        if not structured:
            return one.simple()[0]
        (chunk,) = one.chunks()
        return struct.unpack(">IH", chunk.data)[0] if chunk.kind == peer.ERROR else 0

    one.request(peer.WRITE, 0, 200_000)
    one.send(bytes(200_000))
    assert refused() == 1
    for kind in (peer.TRIM, peer.ZEROES):
        one.request(kind, 0, 4096)
        assert refused() == 1
    one.request(peer.FLUSH)
    assert refused() == 0
    bad = [(peer.READ, SIZE - 1, 2), (peer.READ, 0, 0), (peer.READ, 2**64 - 1, 5), (peer.CACHE, 0, 1), (77, 0, 1)]
    for kind, offset, length in bad:
        one.request(kind, offset, length)
        assert refused() == 22, (kind, offset, length)
    one.request(peer.READ, 0, 4096, flags=0x8000)
    assert refused() == 22
    one.request(peer.STATUS, 0, 4096)
    assert refused() == 22
    one.request(peer.READ, 5, 50)
    assert (one.simple(50)[1] if not structured else one.chunks()[0].data[8:]) == FILE.content[5:55]
    one.request(peer.DISCONNECT)
    assert one.is_dropped()


def test_lost_bytes_are_an_error_at_their_place_behind_bytes_that_are_right(start: Start) -> None:
    reader = Bench().seal([], {b"disk0.raw": (file := File(random.Random(2).randbytes(5 << 20)))})
    entry = next(reader.entries(b"disk0.raw"))
    whole = entry.chunks
    entry.chunks = whole[: 3 * ID_SIZE] + b"\1" * ID_SIZE + whole[4 * ID_SIZE :]
    told = Told()
    image = open_image(entry, ChunkCache(reader.chunks), told.complaints().about)
    _, connect = start(Exports([Export("disk0", b"disk0.raw", image, "")]))
    one, plain = connect(), connect()
    one.go()
    one.request(peer.READ, 2 << 20, 3 << 20)
    first, error = one.chunks()
    assert first.data[8:] == file.content[2 << 20 : 3 << 20]
    assert (error.kind, struct.unpack(">IHQ", error.data)) == (peer.ERROR_AT, (5, 0, 3 << 20))
    assert one.read(4 << 20, 1 << 20) == file.content[4 << 20 :]
    plain.go(structured=False)
    plain.request(peer.READ, (3 << 20) - 1, 2)
    assert plain.simple() == (5, b"")
    plain.request(peer.READ, 0, 100)
    assert plain.simple(100) == (0, file.content[:100])
    assert len(told.lines) == 1


# ── whoever lies, stalls or shouts ───────────────────────────────────────────────────────────────────


def bad_magic_of_an_option(one: Peer) -> None:
    one.greet()
    one.send(struct.pack(">QII", 1, peer.LIST, 0))


def unknown_flags(one: Peer) -> None:
    one.greet(flags=1 << 5)


def endless_option(one: Peer) -> None:
    one.greet()
    one.option(peer.LIST, length=0xFFFFFFFF)


def endless_options(one: Peer) -> None:
    one.greet()
    for _ in range(129):
        one.option(99)


def name_of_nothing(one: Peer) -> None:
    one.greet()
    one.option(peer.EXPORT_NAME, b"nothing")


def bad_magic_of_a_request(one: Peer) -> None:
    one.go()
    one.send(bytes(28))


def endless_write(one: Peer) -> None:
    one.go()
    one.request(peer.WRITE, 0, 0xFFFFFFFF)


@pytest.mark.parametrize(
    "lie",
    [
        bad_magic_of_an_option, unknown_flags, endless_option, endless_options, name_of_nothing,
        bad_magic_of_a_request, endless_write,
    ],
)  # fmt: skip
def test_who_breaks_the_protocol_is_dropped_and_others_are_served(
    connect: Callable[[], Peer], lie: Callable[[Peer], None]
) -> None:
    bystander = connect()
    bystander.go()
    liar = connect()
    with suppress(OSError):  # the server may be quicker
        lie(liar)
    heard = liar.heard_until_dropped()
    assert heard == b"" or lie is endless_options
    assert bystander.read(0, 100) == FILE.content[:100]


def stalls_in_a_request(one: Peer) -> None:
    one.go()
    one.send(b"\x25\x60")


def stalls_in_a_write(one: Peer) -> None:
    one.go()
    one.request(peer.WRITE, 0, 1000)
    one.send(bytes(10))


def takes_nothing(one: Peer) -> None:
    one.go()
    for _ in range(64):
        one.request(peer.READ, 0, SIZE, flags=4)


@pytest.mark.parametrize("stall", [stalls_in_a_request, stalls_in_a_write, takes_nothing])
def test_who_stalls_in_the_middle_is_dropped_and_who_idles_between_is_not(
    start: Start, stall: Callable[[Peer], None]
) -> None:
    server, connect = start(patience=0.3)
    idle = connect()
    idle.go()
    stall(one := connect())
    wait_for_clients(server, 1)
    assert one.is_dropped()
    assert idle.read(0, 100) == FILE.content[:100]


@pytest.mark.parametrize("said", [b"", b"\0", b"\0\0\0\3" + struct.pack(">QII", 0x49484156454F5054, 7, 50)])
def test_a_greeting_that_does_not_end_is_ended(start: Start, monkeypatch: pytest.MonkeyPatch, said: bytes) -> None:
    monkeypatch.setattr(nbd_negotiation, "SECONDS", 0.3)
    _, connect = start()
    one = connect()
    one.send(said)
    assert one.is_dropped()


def test_no_more_clients_than_allowed_and_a_place_is_free_again_when_one_leaves(start: Start) -> None:
    server, connect = start(most_clients=2)
    first, second = connect(), connect()
    first.go()
    second.go()
    assert connect().is_dropped()
    first.request(peer.DISCONNECT)
    wait_for_clients(server, 1)
    assert connect().go()[0] == SIZE


def test_stopping_cuts_everybody_off_and_takes_the_socket_away(start: Start) -> None:
    server, connect = start()
    reading, greeting = connect(), connect()
    reading.go()
    greeting.greet()
    server.stop()
    assert (reading.is_dropped(), greeting.is_dropped(), server.clients) == (True, True, 0)
    with pytest.raises(FileNotFoundError):
        connect()


def conversation(one: Peer, rng: random.Random) -> bytes:
    """What a decent client says, as bytes."""
    said = struct.pack(">I", 3)
    for number, data in ((8, b""), (10, meta("disk0", ["base:allocation"])), (3, b""), (7, wish("disk0", 1, 2, 3))):
        said += struct.pack(">QII", 0x49484156454F5054, number, len(data)) + data
    for _ in range(20):
        kind = rng.choice((0, 0, 0, 7, 1, 3, 4, 6))
        said += struct.pack(">IHHQQI", 0x25609513, 0, kind, 7, rng.randrange(SIZE), rng.randrange(5000))
    return said


@pytest.mark.parametrize("seed", range(150))
def test_hostile_bytes_do_nothing_to_the_server(connect: Callable[[], Peer], seed: int) -> None:
    rng = random.Random(seed)
    noise: list[str] = []
    before = threading.excepthook
    threading.excepthook = lambda args: noise.append(str(args.exc_value))
    try:
        one = connect()
        said = bytearray(conversation(one, rng))
        for _ in range(rng.choice((1, 1, 2, 8, 60))):
            how, at = rng.randrange(4), rng.randrange(len(said))
            if how == 0:
                said[at] = rng.randrange(256)
            elif how == 1:
                del said[at : at + rng.randrange(1, 30)]
            elif how == 2:
                said[at:at] = rng.randbytes(rng.randrange(1, 30))
            else:
                said[at : at + 4] = rng.choice((b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x7f\xff\xff\xff"))
        with suppress(OSError):  # it may be dropped while it is talking
            one.send(bytes(said))
            one.socket.shutdown(1)
        assert one.is_dropped()
        decent = connect()
        decent.go("disk1")
        assert decent.read(0, 5000) == OTHER.content
        assert noise == []
    finally:
        threading.excepthook = before


def wait_for_clients(server: NbdServer, count: int) -> None:
    """Wait until so many are connected."""
    pause = threading.Event()
    for _ in range(6000):
        if server.clients == count:
            return
        pause.wait(0.01)
    pytest.fail(f"{server.clients} clients, not {count}")
