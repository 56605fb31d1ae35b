"""The file with a workload's credentials: ``key=value`` lines on the worker's machine, readable by its owner only.

Rule of the file: a value is never in a message.
"""

from __future__ import annotations

import os
import stat

from shared.errors import SkyharborError

_MOST = 65536


def read_credentials(path: str) -> dict[str, str]:
    """Return what the file says; empty lines and those that begin with ``#`` say nothing. No path: nothing.

    Raises ``source-denied`` when it cannot be read, is not the worker's own, is open to others, or is no such file.
    """
    if not path:
        return {}
    try:
        with open(path, encoding="utf-8") as file:
            info = os.fstat(file.fileno())
            _refuse_open_file(path, info)
            text = file.read(_MOST)
    except OSError as error:
        raise _bad(f"the credentials file {path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise _bad(f"the credentials file {path} is not UTF-8") from error
    return _parsed(path, text)


def _refuse_open_file(path: str, info: os.stat_result) -> None:
    if not stat.S_ISREG(info.st_mode):
        raise _bad(f"the credentials file {path} is no regular file")
    if info.st_mode & 0o077:
        raise _bad(f"the credentials file {path} is open to other users (chmod 600 {path})")
    if info.st_uid not in (os.geteuid(), 0):
        raise _bad(f"the credentials file {path} belongs to another user than the worker's")


def _parsed(path: str, text: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        key, sign, value = line.partition("=")
        if not sign:
            raise _bad(f"line {number} of the credentials file {path} is not key=value")
        found[key.strip()] = value.strip() if key.strip() != "password" else value
    return found


def _bad(detail: str) -> SkyharborError:
    return SkyharborError(
        "source-denied",
        detail,
        hint="The file is on the worker's machine, mode 0600, with lines such as user=… and password=….",
    )
