"""I8: who comes with the wrong token, or with none, gets nothing, wherever he knocks.

Rule of the file: the doors are those of the API's own document and of the work protocol's; what may be open to all is
named here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

import httpx

from tests.storm.checker.violation import Violation

OPEN = {"/healthz", "/readyz", "/metrics", "/api/openapi.json"}
WORK = ("hello", "claim", "renew", "commit", "complete", "release", "offer", "shards")
_METHODS = ("get", "post", "put", "patch", "delete")


def doors(http: httpx.Client) -> Iterator[tuple[str, str]]:
    """Yield every closed door as (method, path), with some word for each parameter in it."""
    document = http.get("/api/openapi.json").json()
    for path, operations in document["paths"].items():
        if path not in OPEN:
            yield from ((method, re.sub(r"\{[^}]*\}", "x", path)) for method in _METHODS if method in operations)
    yield from (("post", f"/work/v1/{verb}") for verb in WORK)


def trespasses(http: httpx.Client, tokens: Mapping[str, str]) -> tuple[int, list[Violation]]:
    """I8: knock at every door with what does not open it; returns how often, and the doors that opened.

    ``tokens`` are ``operator`` and ``worker``. ``http`` must send no token of its own.
    """
    knocks, found = 0, []
    for method, path in doors(http):
        other = tokens["worker" if path.startswith("/api/") else "operator"]
        right = tokens["operator" if path.startswith("/api/") else "worker"]
        wrong = {"none": None, "of the other API": other, "cut short": right[:-1], "longer": right + "x"}
        for name, sent in wrong.items():
            headers = {} if sent is None else {"Authorization": f"Bearer {sent}"}
            reply = http.request(method, path, headers=headers, json={} if method != "get" else None)
            knocks += 1
            if reply.status_code not in (401, 403):
                claim = f"{method} {path} with a token that is {name} is answered {reply.status_code}"
                found.append(Violation("I8", claim, reply.text[:200]))
    return knocks, found
