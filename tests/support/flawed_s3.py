"""An S3 server in miniature that can be told to misbehave as some real ones do. Only for what real ones cannot be told.

Rule of the file: just enough of the protocol for one small bucket; signatures are not looked at.
"""

from __future__ import annotations

import base64
import hashlib
import re
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

_LIST = (
    '<?xml version="1.0"?><ListBucketResult><IsTruncated>false</IsTruncated>'
    "<KeyCount>{count}</KeyCount>{objects}</ListBucketResult>"
)
_OBJECT = (
    '<Contents><Key>{key}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified><ETag>"e"</ETag>'
    "<Size>{size}</Size></Contents>"
)


@dataclass(kw_only=True)
class FlawedS3:
    """Use as a context manager. ``overwrites``: conditional writes are answered 200 and done, whatever is there."""

    overwrites: bool = False
    checks_md5: bool = True
    presigned: bool = True

    def __enter__(self) -> FlawedS3:
        self.objects: dict[str, bytes] = {}
        self._lock = threading.Lock()
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._http.daemon_threads = True
        threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._http.server_close()

    def config(self) -> dict[str, str]:
        """Return obstore's configuration for it."""
        endpoint = f"http://127.0.0.1:{self._http.server_address[1]}"
        return {"endpoint": endpoint, "access_key_id": "a", "secret_access_key": "s", "region": "us-east-1"}

    def environment(self) -> dict[str, str]:
        """Return the ``AWS_*`` variables for it."""
        config = self.config()
        return {
            "AWS_ENDPOINT_URL": config["endpoint"],
            "AWS_ACCESS_KEY_ID": "a",
            "AWS_SECRET_ACCESS_KEY": "s",
            "AWS_REGION": "us-east-1",
        }

    def put(self, key: str, body: bytes, headers: dict[str, str]) -> int:
        """Store an object and return the HTTP status."""
        if "authorization" not in headers and not self.presigned:
            return 400
        digest = headers.get("content-md5")
        if (
            self.checks_md5
            and digest
            and base64.b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode() != digest
        ):
            return 400
        with self._lock:
            if headers.get("if-none-match") == "*" and key in self.objects and not self.overwrites:
                return 412
            self.objects[key] = body
        return 200


def _handler(server: FlawedS3) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_PUT(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            headers = {name.lower(): value for name, value in self.headers.items()}
            self._answer(server.put(self._key(), body, headers))

        def do_GET(self) -> None:
            query = parse_qs(urlsplit(self.path).query)
            if "list-type" in query:
                prefix = query.get("prefix", [""])[0]
                found = sorted(key for key in server.objects if key.startswith(prefix))
                objects = "".join(_OBJECT.format(key=key, size=len(server.objects[key])) for key in found)
                self._answer(200, _LIST.format(count=len(found), objects=objects).encode())
                return
            data = server.objects.get(self._key())
            wanted = self.headers.get("Range")
            if data is None:
                self._answer(404)
            elif wanted is None:
                self._answer(200, data)
            else:
                first, _, last = wanted.removeprefix("bytes=").partition("-")
                end = min(len(data), int(last) + 1) if last else len(data)
                span = f"bytes {first}-{end - 1}/{len(data)}"
                self._answer(206, data[int(first) : end], span=span)

        def do_HEAD(self) -> None:
            data = server.objects.get(self._key())
            self._answer(404 if data is None else 200, data or b"", send=False)

        def do_POST(self) -> None:
            """Delete several objects, which is how obstore deletes one."""
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
            for key in re.findall("<Key>(.*?)</Key>", body):
                server.objects.pop(key, None)
            self._answer(200, b'<?xml version="1.0"?><DeleteResult></DeleteResult>')

        def _key(self) -> str:
            return unquote(urlsplit(self.path).path).lstrip("/").partition("/")[2]

        def _answer(self, status: int, body: bytes = b"", *, send: bool = True, span: str = "") -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("ETag", '"e"')
            self.send_header("Last-Modified", "Thu, 01 Jan 2026 00:00:00 GMT")
            if span:
                self.send_header("Content-Range", span)
            self.end_headers()
            if send:
                self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Keep the test's stderr to the product."""

    return Handler
