"""Where a folder of an NFS server is: ``nfs://host[:port]/export[/folder][?version=4][&mountport=N]``.

Rule of the file: text only.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from urllib.parse import parse_qsl, unquote_to_bytes, urlsplit

from shared.contracts.sources import NFS_VERSIONS
from shared.errors import SkyharborError

_PORT = 2049


@dataclass(frozen=True, slots=True, kw_only=True)
class NfsAddress:
    """``folder`` is a path of the server, without its leading slash; only the server knows what of it is an export.

    ``port`` 0: where the server's port mapper says that NFS is, as for ``mount_port`` (NFS 3 only); 2049 for NFS 4.
    """

    host: str
    folder: bytes
    port: int = 0
    mount_port: int = 0
    version: int = 3
    plain: bool = True
    """Nothing but host and folder was said."""

    @property
    def text(self) -> str:
        """The address for people."""
        return f"{self.host}{f':{self.port}' if self.port else ''}"

    def beside(self, own: NfsAddress) -> NfsAddress:
        """Return this address, by the ports of ``own`` when that is the same server and nothing else is said."""
        same = self.host.lower() == own.host.lower() and self.port in (0, own.port) and self.version == own.version
        return replace(own, folder=self.folder) if self.plain and same else self


def nfs_address(url: str, *, code: str = "bad-request") -> NfsAddress:
    """Understand a URL. Raises an error of this code for what is none of an NFS server's folder."""
    wrong = SkyharborError(
        code,
        f"{url!r} is not the URL of an NFS server's folder",
        hint="Write nfs://host/export or nfs://host/export/folder; ?version=4 for NFS 4.",
    )
    try:
        parts = urlsplit(url)
        port = parts.port or 0
        said = {key: int(value) for key, value in parse_qsl(parts.query, strict_parsing=bool(parts.query))}
    except ValueError as error:
        raise wrong from error
    names = [unquote_to_bytes(name) for name in parts.path.encode("utf-8", "surrogateescape").split(b"/") if name]
    bad = any(name in (b".", b"..") or b"\0" in name or b"/" in name for name in names)
    if parts.scheme != "nfs" or not parts.hostname or not names or bad or "@" in parts.netloc or parts.fragment:
        raise wrong
    version, mount_port = said.pop("version", 3), said.pop("mountport", 0)
    if said or version not in NFS_VERSIONS or not 0 <= mount_port < 65536:
        raise wrong
    return NfsAddress(
        host=parts.hostname,
        folder=b"/".join(names),
        port=port or (_PORT if version == 4 else 0),
        mount_port=mount_port,
        version=version,
        plain=not parts.query,
    )
