"""Where a share is: ``smb://host[:port]/share[/folder]``.

Rule of the file: text only.
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from shared.errors import SkyharborError

_PORT = 445
_NOT_IN_NAMES = frozenset('\\:*?"<>|')


@dataclass(frozen=True, slots=True)
class SmbAddress:
    """A folder of a share; ``folder`` is its path in the share as in a point, empty for all of it."""

    host: str
    port: int
    share: str
    folder: bytes

    @property
    def text(self) -> str:
        """The address for people."""
        return f"//{self.host}{'' if self.port == _PORT else f':{self.port}'}/{self.share}"

    @property
    def server(self) -> tuple[str, int, str]:
        """What has to be the same for one to be on the same share as another."""
        return self.host.lower(), self.port, self.share.lower()


def smb_address(url: str, *, code: str = "bad-request") -> SmbAddress:
    """Understand a URL. Raises an error of this code for what is none of a share."""
    wrong = SkyharborError(
        code, f"{url!r} is not the URL of a share", hint="Write smb://host/share or smb://host/share/folder."
    )
    try:
        parts = urlsplit(url)
        port = parts.port or _PORT
    except ValueError as error:
        raise wrong from error
    names = [unquote(name) for name in parts.path.split("/") if name]
    bad = any(name in (".", "..") or not _NOT_IN_NAMES.isdisjoint(name) or "\0" in name for name in names)
    more = parts.query or parts.fragment or "@" in parts.netloc
    if parts.scheme != "smb" or not parts.hostname or not names or bad or more:
        raise wrong
    return SmbAddress(parts.hostname, port, names[0], "/".join(names[1:]).encode("utf-8", "surrogateescape"))
