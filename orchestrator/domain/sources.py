"""What a description of a source must be like before anybody is sent to read it.

Rule of the file: one function per workload, each returning the description in its canonical form. Whether what it names
is there is not asked: it may be mounted, or started, later.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from orchestrator.domain.names import check_file_name, check_path, check_text
from shared.contracts.sources import FilesSource, MysqlSource, SourceSpec, SqliteSource, workload_of
from shared.errors import SkyharborError

MOST_PATHS = 1000
_MYSQL = "Write mysql://user@host:port or mysql://user@localhost?socket=/path."


def checked(spec: SourceSpec) -> SourceSpec:
    """Return the description as it is kept; ``bad-request`` says what to write instead."""
    match spec:
        case FilesSource():
            return _files(spec)
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
