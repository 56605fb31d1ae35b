"""Secrets that are given as files: ``NAME_FILE`` in the environment stands for ``NAME`` with the file's content.

Rule of the file: from an environment to an environment; nothing is read but the files that it names. A password may
stand apart from the URL that it belongs to, so that the URL is no secret.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote

from shared.errors import SkyharborError

_SUFFIX = "_FILE"
_PASSWORDS = {
    "SKYHARBOR_DATABASE_PASSWORD": "SKYHARBOR_DATABASE_URL",
    "SKYHARBOR_BROKER_PASSWORD": "SKYHARBOR_BROKER_URL",
}
_NAMES = (
    *_PASSWORDS.values(),
    *_PASSWORDS,
    "SKYHARBOR_ALARM_URLS",
    "SKYHARBOR_DEADMAN_URL",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
)
"""What may be given as a file or plainly. The tokens of the API and of the workers are always files."""


def unfold(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment with every ``NAME_FILE`` read and every password put into its URL.

    Repeating it changes nothing. ``bad-request`` when a secret is given both ways, cannot be read, or is a password
    without a URL or for a URL that has one. Variables that are empty count as unset.
    """
    found = dict(environment)
    for name in _NAMES:
        path = found.pop(name + _SUFFIX, "")
        if not path:
            continue
        if found.get(name):
            raise SkyharborError("bad-request", f"{name} and {name}{_SUFFIX} are both set")
        found[name] = _content(path, name + _SUFFIX)
    for name, url_name in _PASSWORDS.items():
        password = found.pop(name, "")
        if password:
            found[url_name] = _with_password(found.get(url_name, ""), password, name=name, url_name=url_name)
    return found


def _with_password(url: str, password: str, *, name: str, url_name: str) -> str:
    scheme, separator, rest = url.partition("://")
    if not separator:
        raise SkyharborError("bad-request", f"{name} needs {url_name}, and that is not set to a URL")
    authority, slash, path = rest.partition("/")
    user, at, server = authority.rpartition("@")
    if ":" in user:
        raise SkyharborError("bad-request", f"{name} is given, and {url_name} has a password too")
    return f"{scheme}://{user}:{quote(password, safe='')}@{server if at else authority}{slash}{path}"


def _content(path: str, name: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read().strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        hint = "The file must be there, and this process's user must be able to read it."
        raise SkyharborError("bad-request", f"{name}: {reason}: {path}", hint=hint) from error
    if not text:
        raise SkyharborError("bad-request", f"{name}: {path} is empty")
    return text
