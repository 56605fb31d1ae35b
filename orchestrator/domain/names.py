"""What may be called what: names, ids and texts that people and programs send us.

Rule of the file: a bad value is ``bad-request`` with a sentence that says what to write instead.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping

from shared.errors import SkyharborError

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,99}")
_TAG = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@:=/-]{0,99}")
_URL = re.compile(r"[a-z][a-z0-9+.-]*://")
_OPTION = re.compile(r"[a-z][a-z0-9_]{0,31}")
SHORTEST_PREFIX = 8
"""Characters; the clock is in them, so that fewer would be shared by all that was made in a quarter of an hour."""

_ID_PREFIX = re.compile(rf"[0-9a-f]{{{SHORTEST_PREFIX}}}[0-9a-f-]{{0,28}}")
_ID_STUMP = re.compile(rf"[0-9a-f]{{1,{SHORTEST_PREFIX - 1}}}")
_LISTED_BY = {"recovery point": "point"}


def check_name(name: str, *, noun: str) -> str:
    """Return ``name``; names fit into URLs and can be mistaken for neither an id nor ``latest``."""
    if not _NAME.fullmatch(name):
        raise SkyharborError(
            "bad-request",
            f"a name of {_a(noun)} is 1 to 100 of letters, digits and . _ @ -, beginning with a letter or digit",
            field="name",
        )
    if name == "latest" or is_id(name):
        raise SkyharborError(
            "bad-request", f"{name!r} cannot be the name of {_a(noun)}: it means something else", field="name"
        )
    return name


def _a(noun: str) -> str:
    return f"an {noun}" if noun[0] in "aeiou" else f"a {noun}"


def check_tag(tag: str) -> str:
    """Return a tag of an item: what policies and reports select by."""
    if not _TAG.fullmatch(tag):
        raise SkyharborError(
            "bad-request", f"{tag!r} is not a tag: 1 to 100 of letters, digits and . _ @ : = / -", field="tags"
        )
    return tag


def is_id(text: str) -> bool:
    """Tell whether this is a canonical UUID."""
    try:
        return str(uuid.UUID(text)) == text
    except ValueError:
        return False


def is_id_prefix(text: str) -> bool:
    """Tell whether this may be the beginning of an id (at least 8 characters)."""
    return _ID_PREFIX.fullmatch(text) is not None


def no_such(noun: str, ref: str) -> SkyharborError:
    """Return the ``not-found`` of what was named ``ref``, with how to see what there is; of an id, what is wrong."""
    if _LISTED_BY.get(noun, noun) in ("point", "job") and _ID_STUMP.fullmatch(ref):
        detail = f"{ref!r} is too short for the beginning of a {noun}'s id: give {SHORTEST_PREFIX} characters or more"
    else:
        detail = f"there is no {noun} {ref!r}"
    listing = f"skyharbor {_LISTED_BY.get(noun, noun)} list"
    return SkyharborError("not-found", detail, hint=f"Those that there are: {listing}")


def check_id(value: str, *, noun: str) -> str:
    """Return ``value`` when it is a canonical lower-case UUID."""
    if not is_id(value):
        raise SkyharborError("bad-request", f"a {noun}'s id is a UUID in lower case with dashes", field="id")
    return value


def check_text(value: str, *, field: str, longest: int = 4096) -> str:
    """Return ``value`` when PostgreSQL and people can keep it.

    No NUL, no half characters, not longer than ``longest``.
    """
    if "\0" in value or any("\ud800" <= char <= "\udfff" for char in value):
        raise SkyharborError("bad-request", f"{field} holds a character that cannot be kept", field=field)
    if len(value) > longest:
        raise SkyharborError("bad-request", f"{field} is longer than {longest} characters", field=field)
    return value


def check_path(path: str, *, field: str) -> str:
    """Return an absolute path without trailing slash, ``.`` and ``..`` parts refused."""
    check_text(path, field=field)
    if not path.startswith("/"):
        raise SkyharborError("bad-request", f"{path!r} is not an absolute path: begin it with /", field=field)
    parts = [part for part in path.split("/") if part]
    if any(part in (".", "..") for part in parts):
        raise SkyharborError("bad-request", f"{path!r} has . or .. in it: write the path it means", field=field)
    return "/" + "/".join(parts)


def check_target(target: str) -> str:
    """Return where a restore goes: an absolute path, or the URL of a share."""
    if _URL.match(target):
        return check_text(target, field="target")
    return check_path(target, field="target")


def check_options(options: Mapping[str, str]) -> dict[str, str]:
    """Return a restore's options: few, with short names."""
    if len(options) > 16 or any(not _OPTION.fullmatch(name) for name in options):
        raise SkyharborError("bad-request", "an option has a name of small letters; 16 at most", field="options")
    return {name: check_text(value, field=f"options.{name}") for name, value in sorted(options.items())}


def check_file_name(name: str, *, field: str) -> str:
    """Return the name of a file in a folder: no path, no ``.`` and ``..``."""
    check_text(name, field=field, longest=255)
    if not name or "/" in name or name in (".", ".."):
        raise SkyharborError(
            "bad-request", f"{name!r} is not the name of a file: write it without its path", field=field
        )
    return name


def printable(text: str) -> str:
    r"""Return text from a worker in a form that can be kept: what cannot is shown as ``\xNN`` or ``\uNNNN``."""
    return text.replace("\0", "\\x00").encode("utf-8", "backslashreplace").decode()
