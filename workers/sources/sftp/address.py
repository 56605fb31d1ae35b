"""Where a folder of an SSH server is: ``sftp://user@host[:port]/folder``.

Rule of the file: text only.
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import unquote_to_bytes, urlsplit

from shared.errors import SkyharborError

_PORT = 22


@dataclass(frozen=True, slots=True)
class SftpAddress:
    """``folder`` is an absolute path on the server without its leading slash, empty for all of it."""

    user: str
    host: str
    port: int
    folder: bytes

    @property
    def text(self) -> str:
        """The address for people."""
        return f"{self.host}{'' if self.port == _PORT else f':{self.port}'}"

    @property
    def keyscan(self) -> str:
        """How the server's key is asked for."""
        return f"ssh-keyscan {'' if self.port == _PORT else f'-p {self.port} '}{self.host}"

    @property
    def server(self) -> tuple[str, int]:
        """What has to be the same for one to be on the same server as another."""
        return self.host.lower(), self.port


def sftp_address(url: str, *, code: str = "bad-request") -> SftpAddress:
    """Understand a URL. Raises an error of this code for what is none of an SSH server's folder."""
    wrong = SkyharborError(code, f"{url!r} is not the URL of a folder", hint="Write sftp://user@host/folder.")
    try:
        parts = urlsplit(url)
        port = parts.port or _PORT
    except ValueError as error:
        raise wrong from error
    names = [unquote_to_bytes(name) for name in parts.path.encode("utf-8", "surrogateescape").split(b"/") if name]
    bad = any(name in (b".", b"..") or b"\0" in name or b"/" in name for name in names)
    if parts.scheme != "sftp" or not parts.hostname or bad or parts.query or parts.fragment or parts.password:
        raise wrong
    return SftpAddress(parts.username or "", parts.hostname, port, b"/".join(names))
