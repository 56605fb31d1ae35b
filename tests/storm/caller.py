"""Asks the tower over HTTP as a careful client does: again until it is answered, with a key where asking twice counts.

Rule of the file: only what a client may do; no answer within a minute is itself a finding.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import httpx

_PATIENCE = 60.0


class Caller:
    """A client of one home's API. ``url`` is asked for at every call: it changes with a power cut."""

    def __init__(self, url: Callable[[], str], *, token: str) -> None:
        self._url = url
        self._http = httpx.Client(headers={"Authorization": f"Bearer {token}"}, timeout=20, trust_env=False)

    def ask(self, method: str, path: str, body: object = None, *, key: str | None = None) -> httpx.Response:
        """Return the first answer that is one (below 500). Only for requests that may be repeated."""
        headers = {} if key is None else {"Idempotency-Key": key}
        deadline = time.monotonic() + _PATIENCE
        while True:
            try:
                reply = self._http.request(method, self._url() + path, json=body, headers=headers)
            except httpx.TransportError as error:
                said = repr(error)
            else:
                if reply.status_code < 500:
                    return reply
                said = f"{reply.status_code}: {reply.text[:300]}"
            if time.monotonic() > deadline:
                raise AssertionError(f"{method} {path} was not answered for {_PATIENCE:.0f} s: {said}")
            time.sleep(0.2)

    def once(self, method: str, path: str, body: object = None) -> httpx.Response | None:
        """Return the answer to one attempt; None when there was none."""
        try:
            return self._http.request(method, self._url() + path, json=body)
        except httpx.TransportError:
            return None

    def json(self, method: str, path: str, body: object = None) -> Any:
        """Like ``ask``, insisting on success."""
        reply = self.ask(method, path, body)
        assert reply.status_code < 300, f"{method} {path}: {reply.status_code} {reply.text}"
        return reply.json()

    def close(self) -> None:
        """Let go of the connections."""
        self._http.close()
