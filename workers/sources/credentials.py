"""The file with a workload's credentials: ``key=value`` lines on the worker's machine, readable by its owner only.

Rule of the file: a value is never in a message. What is wrong is ``source-denied``: another try would find it as it is.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Collection

from shared.errors import SkyharborError

_MOST = 65536


def read_credentials(path: str, *, known: Collection[str] = ()) -> dict[str, str]:
    """Return what the file says; empty lines and those that begin with ``#`` say nothing. No path: nothing.

    ``known`` are the keys that are understood, when others would be passed over in silence. Raises ``source-denied``
    when it cannot be read, is not the worker's own, is open to others, or is no such file.
    """
    if not path:
        return {}
    try:
        # Whoever opens a pipe waits for somebody to write into it.
        with open(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK), encoding="utf-8") as file:
            info = os.fstat(file.fileno())
            _refuse_open_file(path, info)
            text = file.read(_MOST)
    except OSError as error:
        raise _bad(
            f"the credentials file {path} cannot be read: {error.strerror}",
            "It has to be on the worker's machine, where the worker's user may read it.",
        ) from error
    except UnicodeDecodeError as error:
        raise _bad(f"the credentials file {path} is not UTF-8") from error
    return _parsed(path, text, known)


def _refuse_open_file(path: str, info: os.stat_result) -> None:
    if not stat.S_ISREG(info.st_mode):
        raise _bad(f"the credentials file {path} is no regular file")
    if info.st_mode & 0o077:
        raise _bad(f"the credentials file {path} is open to other users", f"Run: chmod 600 {path}")
    if info.st_uid not in (os.geteuid(), 0):
        raise _bad(
            f"the credentials file {path} belongs to another user than the worker's",
            "Whoever owns it could point the worker elsewhere: give it to the worker's user.",
        )


def _parsed(path: str, text: str, known: Collection[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        key, sign, value = line.partition("=")
        key = key.strip()
        if not sign:
            raise _bad(f"line {number} of the credentials file {path} is not key=value")
        if known and key not in known:
            raise _bad(f"line {number} of the credentials file {path} says none of {', '.join(sorted(known))}")
        found[key] = value.strip() if key != "password" else value
    return found


def _bad(detail: str, hint: str = "It has lines such as user=… and password=….") -> SkyharborError:
    return SkyharborError("source-denied", detail, hint=hint)
