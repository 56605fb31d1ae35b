"""A wire believes only what was asked for, counts its credits, and ends when it cannot go on."""

import socket
import struct
import threading

import pytest

from workers.sources.smb import messages as smb
from workers.sources.smb.crypt import SessionKeys, Signer
from workers.sources.smb.wire import LineLost, Terms, Wire

KEYS = SessionKeys(session_id=7, signing=b"s" * 16, signing_algorithm=2)
_HEADER = struct.Struct("<4sHHIHHIIQIIQ16s")


class Server:
    """The other end, which says what a test wants it to say."""

    def __init__(self, credits=8):
        ours, self.socket = socket.socketpair()
        self.socket.settimeout(5)
        terms = Terms(keys=KEYS, tree_id=1, next_id=0, credits=credits, most_read=1 << 20, most_write=1 << 20)
        self.wire = Wire(ours, terms, patience=0.2)

    def asked(self):
        size = int.from_bytes(self.socket.recv(4), "big")
        data = b""
        while len(data) < size:
            data += self.socket.recv(size - len(data))
        return data

    def say(self, number, *, body=b"", status=0, flags=9, granted=1, signed=True):
        message = bytearray(_HEADER.pack(b"\xfeSMB", 64, 1, status, 6, granted, flags, 0, number, 0, 1, 7, b"") + body)
        if signed:
            message[48:64] = Signer(KEYS).sign(message, number, reply=True)
        self.socket.sendall(len(message).to_bytes(4, "big") + message)


@pytest.fixture
def server():
    server = Server()
    yield server
    server.wire.close()
    server.socket.close()


def test_replies_may_come_in_any_order(server):
    numbers = server.wire.send(smb.close(b"a" * 16)) + server.wire.send(smb.close(b"b" * 16))
    server.say(numbers[1], body=b"second")
    server.say(numbers[0], body=b"first")
    got = [bytes(server.wire.receive(number).message[64:]) for number in numbers]
    assert got == [b"first", b"second"]


def test_a_reply_that_is_pending_is_waited_for(server):
    (number,) = server.wire.send(smb.close(b"a" * 16))
    server.say(number, status=0x103, flags=3, signed=False)
    server.say(number, body=b"done")
    assert bytes(server.wire.receive(number).message[64:]) == b"done"


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"signed": False, "flags": 1}, "not signed"),
        ({"signed": False}, "wrong signature"),
        ({"flags": 8}, "nobody has asked"),
    ],
)
def test_what_is_not_the_servers_is_not_believed(server, said, words):
    (number,) = server.wire.send(smb.close(b"a" * 16))
    server.say(number, **said)
    with pytest.raises(LineLost, match=words):
        server.wire.receive(number)


def test_a_number_that_nobody_has_used_ends_the_line(server):
    (number,) = server.wire.send(smb.close(b"a" * 16))
    server.say(number + 50)
    with pytest.raises(LineLost, match="nobody has asked"):
        server.wire.receive(number)


def test_a_message_longer_than_any_is_not_waited_for(server):
    (number,) = server.wire.send(smb.close(b"a" * 16))
    server.socket.sendall(b"\xff\xff\xff\xff")
    with pytest.raises(LineLost):
        server.wire.receive(number)


def test_a_server_that_says_nothing_is_given_up(server):
    (number,) = server.wire.send(smb.close(b"a" * 16))
    with pytest.raises(LineLost, match="said nothing"):
        server.wire.receive(number)
    with pytest.raises(LineLost):
        server.wire.send(smb.close(b"a" * 16))


def test_a_server_that_says_that_it_is_working_is_given_more_time_and_not_for_ever(server):
    (number,) = server.wire.send(smb.close(b"a" * 16))
    server.say(number, status=0x103, flags=3, signed=False)
    late = threading.Timer(0.5, lambda: server.say(number, body=b"recalled"))  # longer than the patience of 0.2 s
    late.start()
    assert bytes(server.wire.receive(number).message[64:]) == b"recalled"
    late.join()
    (number,) = server.wire.send(smb.close(b"a" * 16))
    server.say(number, status=0x103, flags=3, signed=False)
    with pytest.raises(LineLost, match="said nothing"):
        server.wire.receive(number)


def test_a_session_that_was_closed_is_a_lost_line(server):
    (number,) = server.wire.send(smb.close(b"a" * 16))
    server.say(number, status=0xC0000203)
    with pytest.raises(LineLost, match="closed the session"):
        server.wire.receive(number)


def test_without_credits_replies_are_taken_before_more_is_asked(server):
    numbers = [server.wire.send(smb.close(b"a" * 16))[0] for _ in range(8)]
    server.say(numbers[0], granted=1)
    (last,) = server.wire.send(smb.close(b"b" * 16))
    assert last == 8
    assert bytes(server.wire.receive(numbers[0]).message[64:]) == b""


def test_a_server_that_grants_nothing_is_no_use():
    server = Server(credits=1)
    with pytest.raises(LineLost, match="credits"):
        server.wire.send(smb.read(b"a" * 16, 0, 1 << 20))
    server.socket.close()


def test_a_large_request_takes_the_numbers_that_it_pays_for(server):
    first = server.wire.send(smb.read(b"a" * 16, 0, 4 * 65536))
    second = server.wire.send(smb.close(b"a" * 16))
    assert (first, second) == ([0], [4])


def test_what_is_forgotten_is_dropped_when_it_comes(server):
    (number,) = server.wire.send(smb.close(b"a" * 16))
    server.wire.forget([number])
    (other,) = server.wire.send(smb.close(b"b" * 16))
    server.say(number)
    server.say(other, body=b"x")
    assert bytes(server.wire.receive(other).message[64:]) == b"x"
    assert server.wire._replies == {}


@pytest.mark.parametrize("read", [smb.created, smb.closed, smb.rows, smb.streams, smb.looked, smb.told, smb.data_read])
def test_a_reply_that_makes_no_sense_is_a_lost_line(read):
    with pytest.raises(LineLost, match="makes no sense"):
        read(memoryview(bytes(66)))


def test_rows_that_lie_about_their_names_are_not_read():
    row = struct.pack("<IIQQQQQQIIIIQ", 0, 0, 1, 1, 1, 1, 1, 1, 0x20, 7, 0, 0, 1) + b"abcdefg"
    body = bytes(64) + struct.pack("<HHI", 9, 72, len(row)) + row
    with pytest.raises(LineLost, match="makes no sense"):
        smb.rows(memoryview(body))
