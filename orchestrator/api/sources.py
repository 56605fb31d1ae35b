"""What of a machine is protected, as it comes in and goes out: one model per workload.

Rule of the file: shapes only; what they mean and whether they make sense is ``domain.sources``'.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

import msgspec
from pydantic import AfterValidator, Field

from orchestrator.api.edge import OptionalText, Received, Text
from shared.contracts.sources import SnapshotWay, SourceSpec, spec_from


def _usable(glob: str) -> str:
    """Return an exclude pattern that the worker can use; one that it cannot would fail every backup.

    Only a set can be wrong: empty (``[!]``) or backwards (``[z-a]``). A ``[`` that nothing closes stands for itself.
    """
    at = 0
    while at < len(glob):
        end = glob.find("]", at + 2) if glob[at] == "[" else -1
        if end > 0:
            _check_set(glob[at : end + 1])
        at = end + 1 if end > 0 else at + (2 if glob[at] == "\\" else 1)
    return glob


def _check_set(written: str) -> None:
    body = written[1:-1]
    inner = body[1:] if body[0] in "!^" else body
    try:
        re.compile("[" + re.sub(r"[\\\[\]^&~|]|(?<=-)-", r"\\\g<0>", inner) + "]")
    except re.error as error:
        raise ValueError(f"{written!r} is not a set of characters: {error.msg}") from error


Glob = Annotated[Text, AfterValidator(_usable)]
"""A pattern of what is left out."""


class Rules(Received):
    """What else is left out.

    The content of tagged caches, and of folders beside a file of one of the names ``if_present``; what has the nodump
    attribute; files of more bytes than ``larger_than``; other file systems.
    """

    caches: bool = False
    if_present: Annotated[list[Text], Field(default_factory=list)]
    nodump: bool = False
    larger_than: Annotated[int, Field(ge=1, lt=2**63)] | None = None
    one_file_system: bool = False


class HooksIn(Received):
    """Commands that the worker runs around a backup, as arguments; each may take ``timeout`` seconds.

    The first argument names a program that the worker's machine allows.
    """

    before: Annotated[list[Text], Field(default_factory=list)]
    after: Annotated[list[Text], Field(default_factory=list)]
    timeout: Annotated[float, Field(ge=1, le=86400)] = 60.0


class FilesSource(Received):
    """Absolute paths on the machine, what is left out (glob patterns and rules), and how the files are held still.

    ``snapshot_percent`` of a logical volume may be overwritten while it is read; 0 for what is usual. With ``journal``
    the worker's machine notes where anything changes, and the next backup looks only there.
    """

    workload: Literal["files"]
    paths: Annotated[list[Text], Field(min_length=1)]
    excludes: Annotated[list[Glob], Field(default_factory=list)]
    rules: Annotated[Rules, Field(default_factory=Rules)]
    hooks: Annotated[HooksIn, Field(default_factory=HooksIn)]
    snapshot: SnapshotWay = SnapshotWay.NONE
    snapshot_percent: Annotated[int, Field(ge=0, le=100)] = 0
    journal: bool = False


class VmSource(Received):
    """A virtual machine: the images of one that is off, or the QMP socket of one that runs, or a libvirt domain."""

    workload: Literal["vm"]
    disks: Annotated[list[Text], Field(default_factory=list)]
    qmp: OptionalText = ""
    agent: OptionalText = ""
    libvirt: OptionalText = ""
    domain: OptionalText = ""
    freeze: bool = True
    scratch: OptionalText = ""


class PostgresSource(Received):
    """A PostgreSQL cluster: a DSN without a password, and databases that are dumped besides; ``*`` for all."""

    workload: Literal["postgres"]
    dsn: OptionalText
    credentials_file: OptionalText = ""
    dumps: Annotated[list[Text], Field(default_factory=list)]
    physical: bool = True


class MysqlSource(Received):
    """A MariaDB or MySQL server: a DSN without a password. ``dump``: a logical dump instead of a physical backup."""

    workload: Literal["mysql"]
    dsn: OptionalText
    credentials_file: OptionalText = ""
    dump: bool = False


class SqliteSource(Received):
    """SQLite databases, by their absolute paths on the machine."""

    workload: Literal["sqlite"]
    paths: Annotated[list[Text], Field(min_length=1)]


class SmbSource(Received):
    """A share of an SMB server, or a folder of one; the file with user and password is on the worker's machine."""

    workload: Literal["smb"]
    url: OptionalText
    credentials_file: OptionalText = ""
    excludes: Annotated[list[Glob], Field(default_factory=list)]
    previous_versions: Literal["auto", "newest", "none"] = "auto"


class SftpSource(Received):
    """A folder of an SSH server; the files with credentials and known keys are on the worker's machine."""

    workload: Literal["sftp"]
    url: OptionalText
    credentials_file: OptionalText = ""
    known_hosts: OptionalText = ""
    excludes: Annotated[list[Glob], Field(default_factory=list)]


class NfsSource(Received):
    """A folder of an NFS server; ``uid`` and ``gid`` are as whom it is asked."""

    workload: Literal["nfs"]
    url: Text
    uid: int = 0
    gid: int = 0
    excludes: Annotated[list[Glob], Field(default_factory=list)]


class SystemSource(Received):
    """The state of the machine that the worker runs on, and a plan to make it again; there is nothing to choose."""

    workload: Literal["system"]


SourceIn = Annotated[
    FilesSource
    | VmSource
    | PostgresSource
    | MysqlSource
    | SqliteSource
    | SmbSource
    | SftpSource
    | NfsSource
    | SystemSource,
    Field(discriminator="workload"),
]
"""Whatever may be protected; ``workload`` tells which it is."""


def with_workload(data: object, workload: object) -> object:
    """Return a source as it came in, told of which workload it is when it does not say so itself."""
    return {"workload": workload, **data} if isinstance(data, dict) and workload is not None else data


def spec_of(received: SourceIn) -> SourceSpec:
    """Return the description."""
    return spec_from(received.model_dump())


def source_out(spec: SourceSpec) -> dict[str, Any]:
    """Return a description as it goes out: its fields, without the workload, which the item has."""
    shown: dict[str, Any] = msgspec.to_builtins(spec)
    del shown["workload"]
    return shown
