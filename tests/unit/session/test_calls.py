"""Connections that a worker keeps to its tower, against real sockets."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from workers.session.calls import FAILURES, Caller

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@contextmanager
def server(serve: Callable[[socket.socket], None]) -> Iterator[Caller]:
    """A caller of a server that hands every connection to ``serve``."""
    listener = socket.create_server(("127.0.0.1", 0))

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                serve(connection)

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    caller = Caller(f"http://127.0.0.1:{listener.getsockname()[1]}/base", {"A": "b"}, timeout=5, connect=5)
    yield caller
    caller.close()
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join(10)


def hear(connection: socket.socket) -> bytes:
    """One whole request whose body is ``.``; empty at the end."""
    heard = b""
    while not heard.endswith(b"\r\n\r\n."):
        got = connection.recv(1000)
        if not got:
            return b""
        heard += got
    return heard


def test_a_connection_is_used_again() -> None:
    heard: list[list[bytes]] = []

    def serve(connection: socket.socket) -> None:
        heard.append([])
        while request := hear(connection):
            heard[-1].append(request)
            connection.sendall(OK)

    with server(serve) as caller:
        assert [caller.post("/verb", b".") for _ in range(3)] == [(200, b"ok")] * 3
    assert [len(one) for one in heard] == [3]
    assert heard[0][0].startswith(b"POST /base/verb HTTP/1.1\r\n")
    assert b"\r\nA: b\r\n" in heard[0][0]


def test_a_connection_that_the_tower_closed_while_it_rested_is_not_used_again() -> None:
    closed = threading.Semaphore(0)

    def serve(connection: socket.socket) -> None:
        hear(connection)
        connection.sendall(OK)
        connection.shutdown(socket.SHUT_WR)
        closed.release()

    with server(serve) as caller:
        for _ in range(3):
            assert caller.post("/verb", b".") == (200, b"ok")
            assert closed.acquire(timeout=10)


def test_a_call_that_was_sent_and_not_answered_is_not_sent_again() -> None:
    heard: list[bytes] = []

    def serve(connection: socket.socket) -> None:
        heard.append(hear(connection))
        if len(heard) == 1:
            connection.sendall(OK)
            heard.append(hear(connection))

    with server(serve) as caller:
        assert caller.post("/verb", b".") == (200, b"ok")
        with pytest.raises(FAILURES):
            caller.post("/verb", b".")
    assert len(heard) == 2


@pytest.mark.parametrize("answer", [b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nok", b"hello\r\n\r\n"])
def test_half_an_answer_is_none(answer: bytes) -> None:
    def serve(connection: socket.socket) -> None:
        hear(connection)
        connection.sendall(answer)

    with server(serve) as caller, pytest.raises(FAILURES):
        caller.post("/verb", b".")
