"""A store in a bucket that speaks S3, by obstore; credentials and endpoint come from its ``AWS_*`` environment.

Rule of the file: the only module that imports obstore, and it opens nothing before the first call: obstore's threads do
not survive a fork, so a process that will fork must not use it (its children get ``internal`` instead of hanging).
Each call is tried once; patience is ``RetryingStore``'s, which knows what a lost reply of a conditional put means.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

import obstore
from obstore import exceptions
from obstore.store import S3Store as _Bucket
from typing_extensions import Buffer

from shared.errors import SkyharborError
from shared.storage.names import check_name, check_prefix, check_range
from shared.storage.object_store import ObjectInfo

if TYPE_CHECKING:
    from obstore import GetOptions
    from obstore.store import ClientConfig, RetryConfig, S3Config

_NO_RETRY: RetryConfig = {"max_retries": 0, "retry_timeout": timedelta(seconds=300)}

_LARGE_BODY = 1024 * 1024

_STATUS = re.compile(r"status code: (\d{3})")
_SERVER_CODE = re.compile(r"<Code>([A-Za-z0-9]{1,64})</Code>")
_FULL = frozenset({"XMinioStorageFull", "QuotaExceeded", "InsufficientStorage", "InsufficientCapacity"})
# Another put of this name is under way, often our own whose reply was lost: nobody knows yet whether it will succeed.
_UNDECIDED = frozenset({"ConditionalRequestConflict", "OperationAborted"})
# Answered with 400, like a wrong request, but what went wrong is the line: the same bytes may pass the next time.
_LINE = frozenset({"RequestTimeout", "IncompleteBody", "BadDigest", "XAmzContentSHA256Mismatch"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Deadlines:
    """When a request is given up, in seconds: no connection, no byte of an answer, not done as a whole.

    ``silence`` counts from the moment a request is sent, its body included (reqwest's read timeout does), so it does
    not hold for bodies above 1 MiB: a pack of 32 MiB takes 270 s on a line of 1 Mbit/s. For those only ``whole`` does.
    """

    connect: float = 10.0
    silence: float = 30.0
    whole: float = 300.0

    def client(self, *, large_body: bool) -> ClientConfig:
        """Return obstore's form of it."""
        config: ClientConfig = {
            # Plain http only where the operator's own endpoint says so; what passes is encrypted already.
            "allow_http": True,
            "connect_timeout": timedelta(seconds=self.connect),
            "timeout": timedelta(seconds=self.whole),
        }
        if not large_body:
            config["read_timeout"] = timedelta(seconds=self.silence)
        return config


class _Runtime:
    """Remembers in which process obstore's threads, which all stores share, were started."""

    def __init__(self) -> None:
        self._process: int | None = None

    def enter(self) -> None:
        """Raise ``internal`` in a child of the process that used obstore first: every call would wait forever."""
        if self._process is None:
            self._process = os.getpid()
        if self._process != os.getpid():
            raise SkyharborError("internal", "S3 was used before this process was forked; fork first, then open stores")


_runtime = _Runtime()


class S3Store:
    """Objects under a prefix of a bucket, created by conditional put (``If-None-Match: *``)."""

    def __init__(
        self, bucket: str, prefix: str = "", *, config: S3Config | None = None, deadlines: Deadlines | None = None
    ) -> None:
        """Name a bucket and a prefix without slashes around it; ``config`` overrides obstore's environment."""
        self._bucket = bucket
        self._prefix = prefix
        self._config = config
        self._deadlines = deadlines or Deadlines()
        self._lock = threading.Lock()
        self._opened: dict[bool, _Bucket] = {}  # by whether it is for large bodies

    def describe(self) -> str:
        """Return the ``s3://`` URL."""
        return f"s3://{self._bucket}/{self._prefix}".rstrip("/")

    def put(self, name: str, parts: Sequence[Buffer]) -> bool:
        """See the port. ``store-unsafe`` when the server knows no conditional put."""
        check_name(name)
        body = _sent(parts)
        store = self._store(large_body=sum(map(len, body)) > _LARGE_BODY)
        with self._errors(name):
            try:
                obstore.put(store, name, body, mode="create", use_multipart=False)
            except exceptions.AlreadyExistsError as error:
                if _server_code(error) in _UNDECIDED:
                    raise SkyharborError("store-unreachable", f"{name}: another put of it is under way") from None
                return False
            except FileNotFoundError:
                raise SkyharborError("store-url-invalid", f"the bucket of {self.describe()} does not exist") from None
            return True

    def get(self, name: str, *, offset: int = 0, length: int | None = None) -> bytes:
        """See the port."""
        check_name(name)
        check_range(offset, length)
        if length == 0:
            if self.size(name) is None:
                raise SkyharborError("object-missing", f"{name} in {self.describe()}")
            return b""
        with self._errors(name):
            try:
                return self._get(name, offset, length)
            except exceptions.GenericError as error:
                if _status(error) == 416:  # the range starts at or after the end
                    return b""
                raise

    def size(self, name: str) -> int | None:
        """See the port."""
        check_name(name)
        with self._errors(name):
            try:
                return int(obstore.head(self._store(), name)["size"])
            except FileNotFoundError:
                return None

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """See the port.

        Servers differ in where they sort a folder among its neighbours, so the names are sorted here: a listing takes
        about 200 bytes of memory per object. ``object-missing`` when there is no such bucket.
        """
        check_prefix(prefix)
        found: list[ObjectInfo] = []
        with self._errors(prefix):
            for page in obstore.list(self._store(), prefix.removesuffix("/") or None, chunk_size=1000):
                found.extend(ObjectInfo(meta["path"], int(meta["size"])) for meta in page)
        found.sort(key=lambda info: info.name)
        return iter(found)

    def delete(self, name: str) -> bool:
        """See the port. S3 does not tell, so two deleters at the same moment may both get True."""
        if self.size(name) is None:
            return False
        with self._errors(name):
            obstore.delete(self._store(), name)
        return True

    def refuses_wrong_checksum(self, name: str) -> bool | None:
        """Ask the server to take a body under the MD5 of another one (RFC 1864), and then under its own.

        None when it takes neither, or when the answers say nothing. There may be an object ``name`` afterwards.
        """
        check_name(name)
        import httpx  # on the day a vault is made, and never again

        with self._errors(name):
            url = obstore.sign(self._store(), "PUT", name, timedelta(minutes=5))
        body, codes = b"checked", []
        for described in (b"another", body):
            digest = base64.b64encode(hashlib.md5(described, usedforsecurity=False).digest()).decode()
            try:
                reply = httpx.put(url, content=body, headers={"Content-MD5": digest}, timeout=self._deadlines.silence)
            except httpx.HTTPError:
                return None
            codes.append(reply.status_code)
        wrong, right = codes
        if wrong < 300:
            return False
        return True if 400 <= wrong < 500 and right < 300 else None

    def close(self) -> None:
        """See the port."""
        with self._lock:
            self._opened.clear()

    def _get(self, name: str, offset: int, length: int | None) -> bytes:
        if length is not None:
            return bytes(obstore.get_range(self._store(), name, start=offset, length=length))
        options: GetOptions | None = {"range": {"offset": offset}} if offset else None
        return bytes(obstore.get(self._store(), name, options=options).bytes())

    def _store(self, *, large_body: bool = False) -> _Bucket:
        _runtime.enter()
        with self._lock:
            opened = self._opened.get(large_body)
            if opened is None:
                opened = self._opened[large_body] = _Bucket(
                    self._bucket,
                    prefix=self._prefix or None,
                    config=self._config,
                    client_options=self._deadlines.client(large_body=large_body),
                    retry_config=_NO_RETRY,
                )
            return opened

    @contextmanager
    def _errors(self, name: str) -> Iterator[None]:
        """Turn what obstore raises into registered errors, without its debug output."""
        try:
            yield
        except FileNotFoundError:
            raise SkyharborError("object-missing", f"{name} in {self.describe()}") from None
        except exceptions.BaseError as error:
            code, reason = _diagnose(error)
            raise SkyharborError(code, f"{name} in {self.describe()}: {reason}") from None


def _sent(parts: Sequence[Buffer]) -> list[memoryview]:
    return [view for view in (memoryview(part).cast("B") for part in parts) if len(view)]


def _status(error: Exception) -> int | None:
    found = _STATUS.search(str(error))
    return int(found[1]) if found else None


def _server_code(error: Exception) -> str:
    found = _SERVER_CODE.search(str(error))
    return found[1] if found else ""


def _diagnose(error: exceptions.BaseError) -> tuple[str, str]:
    """Return the registered code and one line for people."""
    status = _status(error)
    word = _server_code(error)
    reason = f"{status} {word}".strip() if status else str(error).split("\n", 1)[0][:200]
    if word in _LINE:
        return "store-unreachable", reason
    if isinstance(error, exceptions.PermissionDeniedError | exceptions.UnauthenticatedError) or status in (
        400,
        401,
        403,
    ):
        return "store-denied", reason
    if status == 507 or word in _FULL:
        return "store-full", reason
    if isinstance(error, exceptions.NotSupportedError) or status == 501:
        return "store-unsafe", reason
    if status == 404:
        return "object-missing", reason
    return "store-unreachable", reason
