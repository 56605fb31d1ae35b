"""One HTTP question to a process of ours on the loopback address.

Rule of the file: it is bounded in time and never raises; no proxy, no redirects, no library.
"""

from __future__ import annotations

import http
import http.client

LOOPBACK = "127.0.0.1"


def get(port: int, path: str, *, token: str | None = None) -> bytes | None:
    """Return the body of a 200 answer; None for anything else, after a second at most."""
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=1.0)
    try:
        connection.request("GET", path, headers={"Authorization": f"Bearer {token}"} if token else {})
        answer = connection.getresponse()
        body = answer.read()
        return body if answer.status == http.HTTPStatus.OK else None
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()
