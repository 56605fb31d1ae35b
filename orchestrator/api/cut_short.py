"""Requests that are not over when the server has to end: they are answered, or dropped, without a word of alarm.

A server that is told to end waits for its requests for as long as it may, and then cancels those that still wait for
somebody to go on sending. That is nobody's defect, and the log is read by people who look for one.

Rule of the file: only what the server itself cancels is caught.
"""

from __future__ import annotations

import asyncio

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from orchestrator.api.problems import problem
from shared.errors import SkyharborError


class CutShort:
    """ASGI middleware, the outermost: a request that is cancelled gets a 503 where it has no answer yet."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on; end it in peace when the server does."""
        begun = over = False

        async def watched(message: Message) -> None:
            nonlocal begun, over
            begun, over = True, message["type"] == "http.response.body" and not message.get("more_body", False)
            await send(message)

        try:
            await self._app(scope, receive, watched)
        except asyncio.CancelledError:
            if scope["type"] != "http":
                raise
            structlog.get_logger().info("api.cut-short", method=scope["method"], path=scope["path"])
            if begun and not over:  # a stream: whoever follows it comes again
                await send({"type": "http.response.body", "body": b""})
            elif not begun:
                await problem(SkyharborError("server-unreachable", "the server is going down"))(scope, receive, send)
