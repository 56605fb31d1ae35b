"""The door of the work API: plain ASGI in front of the framework, because workers knock several times for every job.

Rule of the file: the same refusals, in the same shape, as everywhere else; what it does not know goes on to the
framework, which says so.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

import structlog
from starlette.types import ASGIApp, Receive, Scope, Send

from orchestrator.api import work, work_collect
from orchestrator.api.auth import admit
from orchestrator.api.problems import problem
from orchestrator.api.work import Verb
from orchestrator.use_cases.application import Application
from shared.errors import SkyharborError

PREFIX = "/work/v1/"

_VERBS = {**work.VERBS, **work_collect.VERBS}

_AT_ONCE = 16
"""Calls that are answered at the same time: as many as there are connections to the database. The rest wait in line."""


class WorkDoor:
    """ASGI middleware that answers ``POST /work/v1/<verb>`` itself. ``token`` opens it."""

    def __init__(self, app: ASGIApp, *, application: Application, token: str, longest: int) -> None:
        self._app = app
        self._application = application
        self._token = token.encode()
        self._longest = longest
        self._pool = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="work")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a worker, or pass the request on."""
        path: str = scope["path"] if scope["type"] == "http" else ""
        verb = _VERBS.get(path[len(PREFIX) :]) if path.startswith(PREFIX) else None
        if verb is None:
            await self._app(scope, receive, send)
            return
        try:
            answer = await self._answer(verb, scope, receive)
        except _Refused as refused:
            await problem(refused.error, status=refused.status)(scope, receive, send)
        except SkyharborError as error:
            await problem(error)(scope, receive, send)
        except Exception as error:  # noqa: BLE001 - whatever it is, the worker gets an answer and the log the cause
            structlog.get_logger().error("api.unforeseen", method="POST", path=path, error=repr(error))
            await problem(SkyharborError("internal", "The server's log says more."))(scope, receive, send)
        else:
            await _send(answer, send)

    async def _answer(self, verb: Verb, scope: Scope, receive: Receive) -> bytes | None:
        if scope["method"] != "POST":
            raise _Refused(SkyharborError("bad-request", "the work API is asked by POST"), status=405)
        admit(_authorization(scope), self._token)
        raw = await self._body(receive)
        return await asyncio.get_running_loop().run_in_executor(self._pool, verb, self._application, raw)

    async def _body(self, receive: Receive) -> bytes:
        parts: list[bytes] = []
        size, more = 0, True
        while more:
            message = await receive()
            part = message.get("body", b"")
            more = message["type"] == "http.request" and message.get("more_body", False)
            size += len(part)
            if size > self._longest:
                raise _Refused(
                    SkyharborError("bad-request", f"a request has at most {self._longest} bytes"), status=413
                )
            parts.append(part)
        return b"".join(parts)


class _Refused(Exception):
    """A refusal for which HTTP has a better status than the registry."""

    def __init__(self, error: SkyharborError, *, status: int) -> None:
        super().__init__(error.detail)
        self.error = error
        self.status = status


def _authorization(scope: Scope) -> bytes | None:
    return next((value for name, value in scope["headers"] if name == b"authorization"), None)


async def _send(answer: bytes | None, send: Send) -> None:
    headers = [] if answer is None else [(b"content-type", b"application/json")]
    body = answer or b""
    if answer is not None:
        headers.append((b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": 204 if answer is None else 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
