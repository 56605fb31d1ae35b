"""Problem documents (RFC 9457): the one shape in which every failure leaves.

Rule of the file: the code, title and status come from the error registry. What nobody foresaw is ``internal`` and says
nothing of its cause; the log does.
"""

from __future__ import annotations

from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Receive, Scope, Send

from shared.errors import SkyharborError

MEDIA_TYPE = "application/problem+json"

_TAKEN = frozenset({"type", "title", "status", "detail", "code", "hint"})


class Problem(BaseModel):
    """The document; further fields depend on the code, such as ``errors`` of ``policy-invalid``.

    ``hint`` is the next step; it is empty where ``detail`` says it.
    """

    model_config = ConfigDict(extra="allow")

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    code: str
    hint: str


PROBLEM_RESPONSES: dict[int | str, dict[str, Any]] = {
    "default": {
        "description": "A problem; its code is stable",
        "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
    },
    422: {
        "description": "The request is not right",
        "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
    },
}
"""What every operation may answer besides its own, for OpenAPI."""


def install(app: FastAPI) -> None:
    """Have every failure of the application answered as a problem."""
    app.add_exception_handler(SkyharborError, _known)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(Exception, _unforeseen)


def problem(error: SkyharborError, *, status: int | None = None) -> JSONResponse:
    """Return the answer for an error; ``status`` where HTTP knows better than the registry (405, 413)."""
    document: dict[str, Any] = {
        "type": "about:blank",
        "title": error.kind.title,
        "status": status or error.kind.status,
        "detail": error.detail,
        "code": error.code,
        "hint": error.hint,
    }
    document.update({key: value for key, value in error.fields.items() if key not in _TAKEN})
    headers = {"WWW-Authenticate": "Bearer"} if document["status"] == 401 else None
    return JSONResponse(document, status_code=document["status"], media_type=MEDIA_TYPE, headers=headers)


class RefuseLongBodies:
    """ASGI middleware: a body that announces itself as too long is refused unread, as a problem.

    The framework's own limit catches those that do not announce themselves.
    """

    def __init__(self, app: ASGIApp, *, longest: int) -> None:
        self._app = app
        self._longest = longest

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on or refuse it."""
        if scope["type"] == "http":
            announced = Headers(scope=scope).get("content-length", "0")
            if announced.isdecimal() and int(announced) > self._longest:
                error = SkyharborError("bad-request", f"a request has at most {self._longest} bytes")
                await problem(error, status=413)(scope, receive, send)
                return
        await self._app(scope, receive, send)


def _known(_request: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, SkyharborError):
        raise error
    return problem(error)


def _invalid(_request: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, RequestValidationError):
        raise error
    fields = [{"field": _field(one["loc"]), "message": _plain(one["msg"])} for one in error.errors()]
    said = "; ".join(f"{field['field']}: {field['message']}" for field in fields[:3])
    return problem(SkyharborError("bad-request", said, errors=fields))


def _http(_request: Request, error: Exception) -> JSONResponse:
    """Answer what the framework refused: an unknown path, a wrong method, a body that is too large."""
    if not isinstance(error, HTTPException):
        raise error
    code = "not-found" if error.status_code == 404 else "bad-request"
    # 400 is the framework's word for a body that is not even text; the registry has one status for what cannot be read.
    status = None if error.status_code == 400 else error.status_code
    answer = problem(SkyharborError(code, error.detail), status=status)
    answer.headers.update(error.headers or {})
    return answer


def _unforeseen(request: Request, error: Exception) -> JSONResponse:
    structlog.get_logger().error("api.unforeseen", method=request.method, path=request.url.path, error=repr(error))
    return problem(SkyharborError("internal", "The server's log says more."))


def _field(location: tuple[int | str, ...]) -> str:
    """Return where in the request the trouble is, without the part (body, query) unless it is all there is."""
    parts = list(location[1:] or location)
    if parts[0] == "source" and len(parts) > 2:
        del parts[1]  # the workload, by which the framework has chosen the model
    return ".".join(str(part) for part in parts)


def _plain(message: str) -> str:
    return message.removeprefix("Value error, ")
