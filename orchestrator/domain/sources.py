"""What a description of a source must be like before anybody is sent to read it.

Rule of the file: one function per workload, each returning the description in its canonical form. Whether what it names
is there is not asked: it may be mounted, or started, later.
"""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from orchestrator.domain.names import check_file_name, check_path, check_text
from shared.contracts.sources import (
    FilesSource,
    MysqlSource,
    PostgresSource,
    SourceSpec,
    SqliteSource,
    VmSource,
    workload_of,
)
from shared.errors import SkyharborError

MOST_PATHS = 1000
MOST_DISKS = 64
MOST_DATABASES = 100

_PASSWORD = re.compile(r"\bpassword\s*=|^\w+://[^/@]*:[^/@]+@", re.IGNORECASE)
_MYSQL = "Write mysql://user@host:port or mysql://user@localhost?socket=/path."


def checked(spec: SourceSpec) -> SourceSpec:
    """Return the description as it is kept; ``bad-request`` says what to write instead."""
    match spec:
        case FilesSource():
            return _files(spec)
        case VmSource():
            return _vm(spec)
        case PostgresSource():
            return _postgres(spec)
        case MysqlSource():
            return _mysql(spec)
        case SqliteSource():
            return _sqlite(spec)
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


def _vm(spec: VmSource) -> VmSource:
    if spec.libvirt or spec.domain:
        raise SkyharborError(
            "bad-request",
            "libvirt domains cannot be protected by this version: give the QMP socket of a machine that runs, or the"
            " images of one that is off",
            field="source",
        )
    if bool(spec.disks) == bool(spec.qmp):
        raise SkyharborError(
            "bad-request", "give either images (disks) or the QMP socket of a machine that runs (qmp)", field="source"
        )
    if len(spec.disks) > MOST_DISKS:
        raise SkyharborError("bad-request", f"give at most {MOST_DISKS} images", field="source")
    if not spec.qmp and (spec.agent or spec.scratch):
        raise SkyharborError(
            "bad-request", "an agent's socket and a scratch folder are of use only beside a QMP socket", field="source"
        )
    return VmSource(
        disks=tuple(dict.fromkeys(check_path(path, field="source") for path in spec.disks)),
        qmp=check_path(spec.qmp, field="source") if spec.qmp else "",
        agent=check_path(spec.agent, field="source") if spec.agent else "",
        freeze=spec.freeze,
        scratch=check_path(spec.scratch, field="source") if spec.scratch else "",
    )


def _postgres(spec: PostgresSource) -> PostgresSource:
    check_text(spec.dsn, field="source")
    if not spec.dsn.strip():
        raise SkyharborError(
            "bad-request", "give a DSN, such as 'host=db.example port=5432 user=backup'", field="source"
        )
    if _PASSWORD.search(spec.dsn):
        hint = "Put it into a file of the worker's machine (password=…, mode 0600); name that with --credentials-file."
        raise SkyharborError("bad-request", "a DSN must not have a password in it", field="source", hint=hint)
    if len(spec.dumps) > MOST_DATABASES or not all(spec.dumps):
        raise SkyharborError("bad-request", f"give at most {MOST_DATABASES} names of databases", field="source")
    if not spec.physical and not spec.dumps:
        raise SkyharborError("bad-request", "without a physical backup, name databases to dump, or *", field="source")
    file = spec.credentials_file
    return PostgresSource(
        dsn=spec.dsn.strip(),
        credentials_file=check_path(file, field="source") if file else "",
        dumps=tuple(dict.fromkeys(check_text(name, field="source", longest=63) for name in spec.dumps)),
        physical=spec.physical,
    )


def _mysql(spec: MysqlSource) -> MysqlSource:
    dsn = check_text(spec.dsn.strip(), field="source")
    try:
        url = urlsplit(dsn)
        has_password, _ = url.password is not None, url.port
    except ValueError as error:
        raise SkyharborError("bad-request", f"the DSN is not right: {error}", field="source", hint=_MYSQL) from error
    if has_password:
        hint = (
            "Put it into a file of the worker's machine (password=..., mode 0600); name that with --credentials-file."
        )
        raise SkyharborError("bad-request", "a DSN must not have a password in it", field="source", hint=hint)
    if url.scheme not in ("mysql", "mariadb") or not url.netloc or url.path not in ("", "/"):
        raise SkyharborError("bad-request", "a DSN names a server, and nothing else", field="source", hint=_MYSQL)
    if url.query and not url.query.startswith("socket=/"):
        raise SkyharborError("bad-request", "a DSN has no options but a socket", field="source", hint=_MYSQL)
    file = spec.credentials_file
    return MysqlSource(dsn=dsn, credentials_file=check_path(file, field="source") if file else "", dump=spec.dump)


def _sqlite(spec: SqliteSource) -> SqliteSource:
    if not 1 <= len(spec.paths) <= MOST_PATHS:
        raise SkyharborError("bad-request", f"give 1 to {MOST_PATHS} databases", field="source")
    return SqliteSource(paths=tuple(dict.fromkeys(check_path(path, field="source") for path in spec.paths)))
