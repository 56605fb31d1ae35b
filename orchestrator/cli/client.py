"""The tower's public API over HTTP, as the command line needs it.

Rule of the file: every failure leaves as ``SkyharborError``: the server's own problem with its own code, or
``server-unreachable``. GET, and POST with an Idempotency-Key, are repeated for a few seconds when a connection breaks
under them or the tower says 503 (its database restarts, say); nothing else is.
"""

from __future__ import annotations

import ipaddress
import json
import ssl
import sys
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from shared.clock import Clock
from shared.errors import REGISTRY, SkyharborError

if TYPE_CHECKING:
    import httpx

_PAUSES = (0.2, 0.6, 1.5, 2.5)
"""Seconds before each repetition: long enough for a restarted API or database, short enough for a person."""

_STREAM_SILENCE = 35.0
"""Seconds without a byte after which an event stream is taken for dead; the server sends a comment every 10 s."""

_TIMEOUT = 30.0


class Tower:
    """A connection to one API, for one thread. Opening it connects to nothing."""

    def __init__(self, *, url: str, token: str | None, clock: Clock) -> None:
        # httpx imports a command line of its own if it can, for two thirds of its time: this says that it cannot.
        sys.modules.setdefault("httpx._main", None)  # type: ignore[arg-type]
        import httpx

        self._url = url.rstrip("/")
        self._clock = clock
        headers = {"Accept": "application/json", "User-Agent": "skyharbor-cli"}
        _check_address(url)
        if token:
            _check_token(token)
            headers["Authorization"] = f"Bearer {token}"
        try:
            # A proxy of the environment can never reach a server on this machine's loopback.
            self._http = httpx.Client(
                base_url=f"{self._url}/api/v1",
                headers=headers,
                timeout=_TIMEOUT,
                verify=_trust(self._url),
                trust_env=not _is_loopback(self._url),
            )
        except (httpx.InvalidURL, ValueError) as error:
            raise _not_an_address(url) from error

    @property
    def url(self) -> str:
        """The server's URL without a trailing slash."""
        return self._url

    def close(self) -> None:
        """Let go of the connection. Idempotent."""
        self._http.close()

    def get(self, path: str, **query: str | int | None) -> dict[str, Any]:
        """Return the document at ``path`` (below ``/api/v1``, see :func:`at`); query values of None are left out."""
        asked = {name: value for name, value in query.items() if value is not None}
        if "" in asked.values():
            raise no_name()
        return self._exchange("GET", path, repeat=True, params=asked)

    def items(self, path: str, **query: str | int | None) -> Iterator[dict[str, Any]]:
        """Yield every element of a listing, page after page, in the server's order."""
        cursor: str | None = None
        while True:
            page = self.get(path, cursor=cursor, **query)
            yield from page["items"]
            cursor = page.get("next")
            if cursor is None:
                return

    def post(
        self, path: str, body: Mapping[str, object] | None = None, *, idempotency_key: str | None = None
    ) -> dict[str, Any]:
        """Send a document and return the answer. With a key a broken connection is repeated; the job is made once."""
        headers = {"Idempotency-Key": idempotency_key} if idempotency_key else {}
        return self._exchange("POST", path, repeat=idempotency_key is not None, json=dict(body or {}), headers=headers)

    def patch(self, path: str, body: Mapping[str, object]) -> dict[str, Any]:
        """Change some of what is at ``path`` and return all of it."""
        return self._exchange("PATCH", path, repeat=False, json=dict(body))

    def put(self, path: str, body: Mapping[str, object]) -> dict[str, Any]:
        """Have what is at ``path`` be so; a broken connection is repeated."""
        return self._exchange("PUT", path, repeat=True, json=dict(body))

    def delete(self, path: str) -> dict[str, Any]:
        """Remove what is at ``path``."""
        return self._exchange("DELETE", path, repeat=False)

    def server_date(self) -> str | None:
        """Return the ``Date`` header of an answer just given; None when the server sends none."""
        import httpx

        try:
            date: str | None = self._http.get("/system").headers.get("date")
            return date
        except httpx.HTTPError as error:
            raise self._unreachable(error) from error

    def job_events(self, job_id: str) -> Iterator[dict[str, Any] | None]:
        """Yield the job at every change until the server ends the stream; ``server-unreachable`` when it breaks.

        None is yielded for every other sign of life: the server is there and has nothing new to say.
        """
        import httpx

        timeout = httpx.Timeout(_TIMEOUT, read=_STREAM_SILENCE)
        try:
            with self._http.stream(
                "GET", at("jobs", job_id, "events"), timeout=timeout, headers={"Accept": "text/event-stream"}
            ) as response:
                if response.status_code != 200:
                    response.read()
                    raise _problem(response, self._url)
                yield from _events(response.iter_lines())
        except httpx.HTTPError as error:
            raise self._unreachable(error) from error

    def _exchange(self, method: str, path: str, *, repeat: bool, **options: Any) -> dict[str, Any]:
        import httpx

        pauses = iter(_PAUSES if repeat else ())
        while True:
            try:
                response = self._http.request(method, path, **options)
            except httpx.ConnectError as error:
                raise self._unreachable(error) from error
            except UnicodeEncodeError as error:
                raise SkyharborError("bad-request", "the request holds bytes that are not UTF-8 text") from error
            except httpx.HTTPError as error:
                pause = next(pauses, None)
                if pause is None:
                    raise self._unreachable(error) from error
            else:
                pause = next(pauses, None) if _is_away(response, self._url) else None
                if pause is None:
                    return _answer(response, self._url)
            self._clock.sleep(pause)

    def _unreachable(self, error: Exception) -> SkyharborError:
        return SkyharborError("server-unreachable", f"{self._url}: {str(error) or type(error).__name__}")


def at(*parts: str) -> str:
    """Return a path of the API from its parts; names may hold any character. ``bad-request`` for an empty one.

    ``.`` and ``..`` would be resolved into another path before they are sent, so they are ``not-found`` at once.
    """
    for part in parts:
        if not part:
            raise no_name()
        if part in (".", ".."):
            raise SkyharborError("not-found", f"nothing is named {part!r}")
    return "/" + "/".join(quote(part, safe="") for part in parts)


def no_name() -> SkyharborError:
    """Return the refusal of an empty text where something has to be named."""
    return SkyharborError("bad-request", "a name or id is needed, not an empty text")


def _check_address(url: str) -> None:
    try:
        parts = urlsplit(url)
        fits = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is no number, half an IPv6 address
        fits = False
    if not fits:
        raise _not_an_address(url)


def _not_an_address(url: str) -> SkyharborError:
    return SkyharborError(
        "bad-request",
        f"{url!r} is not the address of a tower",
        hint="Write --server (or the context's server) as http://host:port or https://host.",
    )


def _check_token(token: str) -> None:
    if not (token.isascii() and token.isprintable()) or " " in token:
        raise SkyharborError(
            "bad-request",
            "the token holds characters that no token has",  # never the token itself
            hint="Check --token, SKYHARBOR_TOKEN or the context's token file: letters, digits, - and _ only.",
        )


def _is_away(response: httpx.Response, url: str) -> bool:
    """Whether this is a passing 503: the API, or the proxy before it, lives and what is behind it does not yet."""
    return response.status_code == 503 and _problem(response, url).code == "server-unreachable"


def _answer(response: httpx.Response, url: str) -> dict[str, Any]:
    if not response.is_success:
        raise _problem(response, url)
    if response.status_code == 204:
        return {}
    document = _document(response)
    if document is None:
        raise SkyharborError("server-unreachable", f"{url} answered something that is not Skyharbor's API")
    return document


def _problem(response: httpx.Response, url: str) -> SkyharborError:
    document = _document(response) or {}
    code = document.get("code")
    detail = document.get("detail") or document.get("title") or ""
    if not isinstance(code, str):
        return SkyharborError("server-unreachable", f"{url} answered {response.status_code}, but not as Skyharbor does")
    if code not in REGISTRY:  # a newer server knows codes that this client does not
        return SkyharborError("internal", f"{document.get('title')}: {detail} ({code})", server_code=code)
    known = {"type", "title", "status", "detail", "code"}
    return SkyharborError(code, detail, **{str(key): value for key, value in document.items() if key not in known})


def _document(response: httpx.Response) -> dict[str, Any] | None:
    try:
        document = response.json()
    except ValueError:
        return None
    return document if isinstance(document, dict) else None


def _events(lines: Iterator[str]) -> Iterator[dict[str, Any] | None]:
    """Decode ``event: job`` frames; comments and unknown events become None."""
    event, data = "", ""
    for line in lines:
        if not line:
            yield json.loads(data) if event == "job" and data else None
            event, data = "", ""
        elif line.startswith("event:"):
            event = line[6:].strip()
        elif line.startswith("data:"):
            data += line[5:].strip()


def _trust(url: str) -> ssl.SSLContext:
    """Return whom to believe: for plain HTTP nobody, because reading the authorities takes longer than the request."""
    import httpx

    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT) if url.startswith("http://") else httpx.create_ssl_context()


def _is_loopback(url: str) -> bool:
    try:
        host = urlsplit(url).hostname or ""
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
