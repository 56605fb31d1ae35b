"""Exclude patterns: globs on raw bytes, compiled to one regular expression each way.

A pattern without a slash is matched against the last part of a path (``*.tmp``, ``node_modules``). One that begins
with a slash is matched against the whole path (``/home/*/.cache``), any other one with a slash against the end of it
(``target/debug``). ``*`` and ``?`` stop at slashes, ``**`` does not; ``[a-z]`` and ``[!a-z]`` are sets; a backslash
takes the next character as it is. A trailing slash restricts the pattern to directories. A directory that matches is
left out with everything below it.

Rule of the file: text only; it never looks at a file.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

from shared.errors import SkyharborError

_Matcher = re.Pattern[bytes]


class Excludes:
    """All patterns of one item. Safe for any thread. Raises ``bad-request`` for a pattern that means nothing."""

    __slots__ = ("_any", "_directory", "empty")

    def __init__(self, patterns: Sequence[str]) -> None:
        every = [_understood(pattern) for pattern in patterns if pattern]
        self._directory = _union([pattern.rstrip(b"/") for pattern in every if pattern.rstrip(b"/")])
        self._any = _union([pattern for pattern in every if not pattern.endswith(b"/")])
        self.empty = not every

    def cover(self, path: bytes, *, directory: bool) -> bool:
        """Tell whether the node at ``path`` (absolute, with its leading slash) is left out."""
        matcher = self._directory if directory else self._any
        return matcher is not None and matcher.match(path) is not None


def _understood(pattern: str) -> bytes:
    raw = os.fsencode(pattern)
    try:
        _union([raw])
    except re.error as error:
        raise SkyharborError("bad-request", f"the exclude pattern {pattern!r} is not valid: {error.msg}") from error
    return raw


def _union(patterns: list[bytes]) -> _Matcher | None:
    if not patterns:
        return None
    return re.compile(b"|".join(b"(?:" + _whole(pattern) + b")" for pattern in patterns), re.DOTALL)


def _whole(pattern: bytes) -> bytes:
    """Return the expression that matches a whole absolute path for one pattern."""
    body = _translate(pattern.removeprefix(b"/"))
    lead = b"/" if pattern.startswith(b"/") else b"/(?:.*/)?"
    return lead + body + rb"\Z"


def _translate(glob: bytes) -> bytes:
    out = bytearray()
    at = 0
    while at < len(glob):
        char = glob[at : at + 1]
        if glob.startswith(b"**/", at) and (at == 0 or glob[at - 1 : at] == b"/"):
            out += b"(?:.*/)?"
            at += 3
        elif glob.startswith(b"**", at):
            out += b".*"
            at += 2
        elif char == b"*":
            out += b"[^/]*"
            at += 1
        elif char == b"?":
            out += b"[^/]"
            at += 1
        elif char == b"[" and (end := glob.find(b"]", at + 2)) > 0:
            out += _set(glob[at + 1 : end])
            at = end + 1
        elif char == b"\\" and at + 1 < len(glob):
            out += re.escape(glob[at + 1 : at + 2])
            at += 2
        else:
            out += re.escape(char)
            at += 1
    return bytes(out)


def _set(body: bytes) -> bytes:
    negated = body[:1] in (b"!", b"^")
    inner = body[1:] if negated else body
    # A set never matches a slash, so that it cannot reach across folders. Doubled signs would be operators some day.
    escaped = re.sub(rb"[\\\[\]^&~|]|(?<=-)-", rb"\\\g<0>", inner)
    return b"(?!/)[" + (b"^" if negated else b"") + escaped + b"]"
