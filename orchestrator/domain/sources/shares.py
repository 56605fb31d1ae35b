"""Shares of file servers, by URL.

Rule of the file: no password is ever kept, so none is taken.
"""

from __future__ import annotations

from urllib.parse import unquote, urlsplit

from orchestrator.domain.names import check_text
from orchestrator.domain.sources.places import checked_excludes, checked_file, needed_file
from shared.contracts.sources import SftpSource, SmbSource
from shared.errors import SkyharborError

PREVIOUS_VERSIONS = ("auto", "newest", "none")


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


def _url(url: str, *, scheme: str, example: str, least: int) -> str:
    """Return the URL of a folder of a server: no password, which would be kept, and at least so many names."""
    check_text(url, field="source")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    names = [name for name in parts.path.split("/") if name]
    if parts.password is not None or (parts.username is not None and scheme == "smb"):
        raise SkyharborError(
            "bad-request", "put user and password into the credentials file, not the URL", field="source"
        )
    odd = parts.query or parts.fragment or port == 0 or any(unquote(name) in (".", "..") for name in names)
    if parts.scheme != scheme or not parts.hostname or len(names) < least or odd:
        raise SkyharborError("bad-request", f"write a URL such as {example}", field="source")
    return url
