"""The API behind a real server on loopback."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import uvicorn
from fastapi import FastAPI

from orchestrator.api.app import create_app
from orchestrator.use_cases.application import Application

TOKEN = "operator-token"
WORKER_TOKEN = "worker-token"


@contextmanager
def served(app: FastAPI) -> Iterator[str]:
    """Run the application on a free port for as long as the block; gives its URL."""
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(app, log_config=None, lifespan="off", timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    deadline = time.monotonic() + 10
    while not server.started:
        assert time.monotonic() < deadline, "uvicorn did not start"
        time.sleep(0.005)
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(10)
        listener.close()


@contextmanager
def clients(application: Application) -> Iterator[tuple[httpx.Client, httpx.Client]]:
    """An operator's and a worker's client of the API of an application."""
    app = create_app(application, token=TOKEN, worker_token=WORKER_TOKEN)
    with served(app) as url, client(url, TOKEN) as operator, client(url, WORKER_TOKEN) as worker:
        yield operator, worker


def client(url: str, token: str | None) -> httpx.Client:
    """A client that sends this token."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return httpx.Client(base_url=url, headers=headers, timeout=10, trust_env=False)
