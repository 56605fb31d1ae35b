"""A server that ends in the middle of a request answers it and logs no traceback."""

from __future__ import annotations

import logging
import socket
from urllib.parse import urlsplit

import pytest

from orchestrator.api.app import create_app
from tests.unit.api.served import TOKEN, WORKER_TOKEN, served
from tests.unit.api.test_edge import application, no_database


@pytest.mark.parametrize(("path", "token"), [("/api/v1/vaults", TOKEN), ("/work/v1/renew", WORKER_TOKEN)])
def test_who_is_still_sending_when_the_server_ends_is_told_to_come_again(
    path: str, token: str, caplog: pytest.LogCaptureFixture
) -> None:
    app = create_app(application(no_database), token=TOKEN, worker_token=WORKER_TOKEN)
    with caplog.at_level(logging.ERROR, "uvicorn.error"), served(app) as url:
        parts = urlsplit(url)
        line = socket.create_connection((parts.hostname or "", parts.port or 0), timeout=10)
        head = f"POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nExpect: 100-continue\r\n"
        line.sendall(f"{head}Content-Type: application/json\r\nContent-Length: 100\r\n\r\n".encode())
        assert line.recv(100).startswith(b"HTTP/1.1 100")  # it waits for the body now
        line.sendall(b'{"a":')
    with line:
        answer = line.recv(1000)
    assert answer.startswith(b"HTTP/1.1 503")
    assert b"server-unreachable" in answer
    assert [record.message for record in caplog.records if record.exc_info] == []
