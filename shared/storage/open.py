"""From a store URL to a store.

Rule of the file: the only place that knows all backends; each is imported when its scheme is asked for.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from urllib.parse import SplitResult, unquote, urlsplit

from shared.errors import SkyharborError
from shared.storage.local import LocalStore
from shared.storage.object_store import ObjectStore, never_stop
from shared.storage.retrying import RetryingStore, RetryRule

_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,254}")
_KEY_PART = re.compile(r"[A-Za-z0-9._-]{1,255}")


def as_it_is(backend: ObjectStore) -> ObjectStore:
    """Put nothing around a backend."""
    return backend


def open_store(
    url: str,
    *,
    around: Callable[[ObjectStore], ObjectStore] = as_it_is,
    rule: RetryRule | None = None,
    check: Callable[[], None] = never_stop,
) -> ObjectStore:
    """Open the store at ``file:///folder``, ``s3://bucket/prefix`` or ``memory://name``; contacts and creates nothing.

    ``around`` puts decorators around the backend itself, below the patience, where every single try passes: counting
    and throttling belong there. ``rule`` and ``check`` are the patience's, which only stores across a network have.

    The folder or bucket may be missing: reading then raises ``object-missing``. Raises ``store-url-invalid`` and
    ``store-not-a-folder``.
    """
    parts = _split(url)
    match parts.scheme:
        case "file":
            return around(LocalStore(_folder(url, parts)))
        case "s3":
            return RetryingStore(around(_open_s3(url, parts)), rule=rule, check=check)
        case "memory":
            from shared.storage.memory import shared_memory_store

            return around(shared_memory_store(parts.netloc + parts.path))
    raise _invalid(url, "no backend has this scheme")


def create_store(url: str, *, rule: RetryRule | None = None) -> ObjectStore:
    """Open a store for a new vault: like ``open_store``, but a missing local folder is made (0700)."""
    parts = _split(url)
    return LocalStore.create(_folder(url, parts)) if parts.scheme == "file" else open_store(url, rule=rule)


def local_folder(url: str) -> str | None:
    """Return the folder of a ``file://`` store, None for any other. Raises ``store-url-invalid``."""
    parts = _split(url)
    return _folder(url, parts) if parts.scheme == "file" else None


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise SkyharborError("store-url-invalid", str(error)) from None
    if "@" in parts.netloc:
        # Not repeated in the message: what stands before the @ is a secret.
        raise SkyharborError("store-url-invalid", "credentials do not belong into a store URL")
    if parts.query or parts.fragment:
        raise _invalid(url, "it has a query or a fragment; write ? and # of a path as %3F and %23")
    return parts


def _folder(url: str, parts: SplitResult) -> str:
    path = unquote(parts.path)
    if parts.netloc not in ("", "localhost") or not path.startswith("/"):
        raise _invalid(url, "a folder is written with three slashes, as in file:///backup/vault")
    if "\0" in path or os.path.normpath(path) == "/":
        raise _invalid(url, "this folder cannot be a store")
    return os.path.normpath(path)


def _open_s3(url: str, parts: SplitResult) -> ObjectStore:
    prefix = parts.path.strip("/")
    if _BUCKET.fullmatch(parts.netloc) is None or not all(map(_is_key_part, prefix.split("/") if prefix else [])):
        raise _invalid(url, "a bucket is written as in s3://bucket/prefix, in letters, digits, '.', '_' and '-'")
    try:
        from shared.storage.s3 import S3Store
    except ModuleNotFoundError:
        raise _invalid(url, "this installation is without S3; install skyharbor[s3]") from None
    return S3Store(parts.netloc, prefix)


def _is_key_part(part: str) -> bool:
    return part not in (".", "..") and _KEY_PART.fullmatch(part) is not None


def _invalid(url: str, reason: str) -> SkyharborError:
    return SkyharborError("store-url-invalid", f"{url[:200]}: {reason}")
