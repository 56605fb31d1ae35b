"""Who may ask: one token for operators, another for workers, neither good for the other's API.

Rule of the file: tokens are compared in constant time, are never logged, and never travel in a URL.
"""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable
from typing import Annotated

from fastapi import Depends
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from shared.errors import SkyharborError

OPERATOR = "operator"
"""The actor of everything asked through the public API, as jobs and the audit log name it."""

_BEARER = HTTPBearer(auto_error=False, description="The token of the API that is asked.")


def bearer(token: str) -> Callable[..., Awaitable[None]]:
    """Return a dependency that lets only this token in; ``unauthenticated`` else.

    It never waits, so it does not need a thread of its own: that is what ``async`` says here.
    """
    expected = token.encode()

    async def check(credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_BEARER)]) -> None:
        _check(None if credentials is None else credentials.credentials.encode("utf-8", "surrogateescape"), expected)

    return check


def admit(authorization: bytes | None, token: bytes) -> None:
    """Let only this token in, by the ``Authorization`` header as it came; ``unauthenticated`` else."""
    scheme, _, given = (authorization or b"").partition(b" ")
    _check(given.strip() if scheme.lower() == b"bearer" else None, token)


def _check(given: bytes | None, expected: bytes) -> None:
    if not given:
        raise SkyharborError("unauthenticated", "send 'Authorization: Bearer TOKEN'")
    if not hmac.compare_digest(given, expected):
        raise SkyharborError("unauthenticated", "the token is not one of this API")
