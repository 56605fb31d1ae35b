"""What a description of a source must be like before anybody is sent to read it.

Rule of the file: one function per workload, each returning the description in its canonical form. Whether what it names
is there is not asked: it may be mounted, or started, later.
"""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import unquote, urlsplit

from orchestrator.domain.names import check_file_name, check_path, check_text
from shared.contracts.sources import FilesSource, SftpSource, SmbSource, SourceSpec, workload_of
from shared.errors import SkyharborError

MOST_PATHS = 1000
PREVIOUS_VERSIONS = ("auto", "newest", "none")


def checked(spec: SourceSpec) -> SourceSpec:
    """Return the description as it is kept; ``bad-request`` says what to write instead."""
    match spec:
        case FilesSource():
            return _files(spec)
        case SmbSource():
            return _smb(spec)
        case SftpSource():
            return _sftp(spec)
        case _:
            raise SkyharborError("bad-request", f"{workload_of(spec)!r} is no workload that this version knows")


def _files(spec: FilesSource) -> FilesSource:
    if not 1 <= len(spec.paths) <= MOST_PATHS or len(spec.excludes) > MOST_PATHS:
        raise SkyharborError(
            "bad-request", f"give 1 to {MOST_PATHS} paths and at most as many excludes", field="source"
        )
    rules = spec.rules
    if len(rules.if_present) > MOST_PATHS:
        raise SkyharborError("bad-request", f"give at most {MOST_PATHS} names of tags", field="source")
    for name in rules.if_present:
        check_file_name(name, field="source")
    if rules.larger_than is not None and not 1 <= rules.larger_than < 2**63:
        raise SkyharborError("bad-request", "give a size of 1 byte or more, or none for no limit", field="source")
    return FilesSource(
        paths=tuple(dict.fromkeys(check_path(path, field="source") for path in spec.paths)),
        excludes=tuple(check_text(pattern, field="source") for pattern in spec.excludes),
        rules=rules,
    )


def _smb(spec: SmbSource) -> SmbSource:
    if spec.previous_versions not in PREVIOUS_VERSIONS:
        raise SkyharborError(
            "bad-request", f"previous versions are one of {', '.join(PREVIOUS_VERSIONS)}", field="source"
        )
    return SmbSource(
        url=_url(spec.url, scheme="smb", example="smb://host/share/folder", least=1),
        credentials_file=_file(spec.credentials_file),
        excludes=_excludes(spec.excludes),
        previous_versions=spec.previous_versions,
    )


def _sftp(spec: SftpSource) -> SftpSource:
    return SftpSource(
        url=_url(spec.url, scheme="sftp", example="sftp://user@host/folder", least=0),
        credentials_file=_file(spec.credentials_file),
        known_hosts=_file(spec.known_hosts),
        excludes=_excludes(spec.excludes),
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


def _file(path: str) -> str:
    return check_path(path, field="source") if path else ""


def _excludes(patterns: Sequence[str]) -> tuple[str, ...]:
    if len(patterns) > MOST_PATHS:
        raise SkyharborError("bad-request", f"give at most {MOST_PATHS} excludes", field="source")
    return tuple(check_text(pattern, field="source") for pattern in patterns)
