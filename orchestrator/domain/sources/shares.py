"""Shares of file servers, by URL.

Rule of the file: no password is ever kept, so none is taken.
"""

from __future__ import annotations

from urllib.parse import parse_qsl, unquote, urlsplit

from orchestrator.domain.names import check_text
from orchestrator.domain.sources.places import checked_excludes, checked_file, needed_file
from shared.contracts.sources import NFS_VERSIONS, NfsSource, SftpSource, SmbSource
from shared.errors import SkyharborError

PREVIOUS_VERSIONS = ("auto", "newest", "none")
_NOBODY = (1 << 32) - 1
"""No user's number."""


def checked_smb(spec: SmbSource) -> SmbSource:
    """Return the description of a share, or a folder of one."""
    if spec.previous_versions not in PREVIOUS_VERSIONS:
        raise SkyharborError(
            "bad-request", f"previous versions are one of {', '.join(PREVIOUS_VERSIONS)}", field="source"
        )
    return SmbSource(
        url=_url(spec.url, scheme="smb", example="smb://host/share/folder", least=1),
        credentials_file=needed_file(spec.credentials_file, what="a share", lines="user=... and password=..."),
        excludes=checked_excludes(spec.excludes),
        previous_versions=spec.previous_versions,
    )


def checked_sftp(spec: SftpSource) -> SftpSource:
    """Return the description of a folder of an SSH server."""
    return SftpSource(
        url=_url(spec.url, scheme="sftp", example="sftp://user@host/folder", least=0),
        credentials_file=needed_file(
            spec.credentials_file, what="an SSH server", lines="password=..., or key=... (a private key)"
        ),
        known_hosts=checked_file(spec.known_hosts),
        excludes=checked_excludes(spec.excludes),
    )


def checked_nfs(spec: NfsSource) -> NfsSource:
    """Return the description of a folder of an NFS server."""
    if not (0 <= spec.uid < _NOBODY and 0 <= spec.gid < _NOBODY):
        raise SkyharborError("bad-request", "uid and gid are numbers from 0 to 4294967294", field="source")
    return NfsSource(url=_nfs_url(spec.url), uid=spec.uid, gid=spec.gid, excludes=checked_excludes(spec.excludes))


def _nfs_url(url: str) -> str:
    """Return the URL with its options, which say how the server is spoken to."""
    plain, mark, query = url.partition("?")
    if "@" in plain.removeprefix("nfs://").partition("/")[0]:
        raise SkyharborError(
            "bad-request", "an NFS server knows users by number: give uid and gid, nobody in the URL", field="source"
        )
    _url(plain, scheme="nfs", example="nfs://host/export/folder", least=1)
    check_text(url, field="source")
    try:
        said = {key: int(value) for key, value in parse_qsl(query, strict_parsing=bool(mark))}
    except ValueError:
        said = {"": 0}
    version, port = said.pop("version", 3), said.pop("mountport", 1)
    if said or version not in NFS_VERSIONS or not 0 < port < 65536:
        raise SkyharborError(
            "bad-request", "behind the folder of an NFS URL there may be ?version=3|4 and &mountport=N", field="source"
        )
    return url


def _url(url: str, *, scheme: str, example: str, least: int) -> str:
    """Return the URL of a folder of a server: no password, which would be kept, and at least so many names."""
    check_text(url, field="source")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    names = [name for name in parts.path.split("/") if name]
    if parts.password is not None or (parts.username is not None and scheme != "sftp"):
        raise SkyharborError(
            "bad-request", "put user and password into the credentials file, not the URL", field="source"
        )
    odd = parts.query or parts.fragment or port == 0 or any(unquote(name) in (".", "..") for name in names)
    if parts.scheme != scheme or not parts.hostname or len(names) < least or odd:
        raise SkyharborError("bad-request", f"write a URL such as {example}", field="source")
    return url
