"""What an item protects: one description per workload, as the tower keeps it and a worker gets it.

A description names things and holds no secret: where a source wants a password, the description has the path of a file
on the worker's machine, which the worker reads when the backup begins (``credentials_file``; mode 0600, ``key=value``
lines such as ``user=`` and ``password=``).

Rule of the file: values only. Every description has its workload's name as its tag.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from enum import StrEnum

import msgspec

from shared.decoders import converted

_WORD = re.compile(r"[a-z0-9_]{1,48}")


class ExcludeRules(msgspec.Struct, frozen=True, kw_only=True):
    """What is left out for what it is, whatever it is called; ``workers.sources.rules`` says what each rule means.

    ``if_present`` are plain file names, ``larger_than`` is in bytes. The defaults leave nothing out.
    """

    caches: bool = False
    if_present: tuple[str, ...] = ()
    nodump: bool = False
    larger_than: int | None = None
    one_file_system: bool = False


class Hooks(msgspec.Struct, frozen=True, kw_only=True):
    """Commands that the worker runs around a backup, as their arguments; no shell is involved. Empty: none.

    The first argument names a program that this worker's machine allows (``workers.sources.hooks``). ``before`` brings
    what is protected to rest, ``after`` lets it go on. ``timeout`` is how many seconds each may take.
    """

    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    timeout: float = 60.0


class SnapshotWay(StrEnum):
    """How the files of an item are held still while they are read: ``auto`` is the best way that there is, or none."""

    NONE = "none"
    AUTO = "auto"
    BTRFS = "btrfs"
    LVM = "lvm"


class FilesSource(msgspec.Struct, frozen=True, kw_only=True, tag="files", tag_field="workload"):
    """Paths on the machine: absolute, no trailing slash. Excludes are glob patterns (see the files source).

    ``snapshot_percent`` of a logical volume may be overwritten while it is read, 0 for what is usual (at most 20).
    ``journal``: have the worker's machine note where anything changes, so that the next backup need not look elsewhere.
    """

    paths: tuple[str, ...]
    excludes: tuple[str, ...] = ()
    rules: ExcludeRules = ExcludeRules()
    hooks: Hooks = Hooks()
    snapshot: SnapshotWay = SnapshotWay.NONE
    snapshot_percent: int = 0
    journal: bool = False


class VmSource(msgspec.Struct, frozen=True, kw_only=True, tag="vm", tag_field="workload"):
    """A virtual machine: image files of one that is off, or the socket of a QEMU that runs, or a libvirt domain.

    Exactly one of ``disks`` (absolute paths), ``qmp`` (absolute path of a QMP socket) and ``libvirt`` (URI, with
    ``domain``). ``freeze``: ask the guest's agent to bring its file systems to rest where there is one (``agent`` is
    the path of its socket beside a QMP one). ``scratch`` is a folder for what the guest overwrites during a backup.
    """

    disks: tuple[str, ...] = ()
    qmp: str = ""
    agent: str = ""
    libvirt: str = ""
    domain: str = ""
    freeze: bool = True
    scratch: str = ""


class PostgresSource(msgspec.Struct, frozen=True, kw_only=True, tag="postgres", tag_field="workload"):
    """A PostgreSQL cluster, reached by a DSN without a password.

    ``dumps`` are databases of which every point has a logical dump besides the physical backup, or ``*`` for all.
    """

    dsn: str
    credentials_file: str = ""
    dumps: tuple[str, ...] = ()
    physical: bool = True


class MysqlSource(msgspec.Struct, frozen=True, kw_only=True, tag="mysql", tag_field="workload"):
    """A MariaDB or MySQL server, reached by a DSN without a password (``mysql://user@host:port`` or ``?socket=``).

    ``dump``: a logical dump instead of a physical backup; the only way for MySQL.
    """

    dsn: str
    credentials_file: str = ""
    dump: bool = False


class SqliteSource(msgspec.Struct, frozen=True, kw_only=True, tag="sqlite", tag_field="workload"):
    """SQLite databases, by absolute paths."""

    paths: tuple[str, ...]


class SmbSource(msgspec.Struct, frozen=True, kw_only=True, tag="smb", tag_field="workload"):
    """A share of an SMB server: ``smb://host[:port]/share[/folder]``. Excludes are patterns on paths in the share.

    ``previous_versions``: ``newest`` reads the newest previous version that the share offers and fails without one,
    ``none`` reads the share as it is, ``auto`` takes one that is less than an hour old and newer than the last point.
    """

    url: str
    credentials_file: str = ""
    excludes: tuple[str, ...] = ()
    previous_versions: str = "auto"


class SftpSource(msgspec.Struct, frozen=True, kw_only=True, tag="sftp", tag_field="workload"):
    """A folder of an SSH server: ``sftp://user@host[:port]/folder``. The server's key must be known beforehand.

    ``known_hosts`` is the absolute path of a file of known keys; without one, that of the worker's own user. The
    credentials file may name a private key (``key=``, ``passphrase=``) in place of a password.
    """

    url: str
    credentials_file: str = ""
    known_hosts: str = ""
    excludes: tuple[str, ...] = ()


NFS_VERSIONS = (3, 4)
"""Of the protocol; 4 is 4.0."""


class NfsSource(msgspec.Struct, frozen=True, kw_only=True, tag="nfs", tag_field="workload"):
    """A folder of an NFS server: ``nfs://host[:port]/export[/folder][?version=4][&mountport=N]``.

    ``uid`` and ``gid`` are as whom the server is asked (AUTH_SYS: it believes us, and its exports say whom it lets
    in). Excludes are patterns on paths below the folder.
    """

    url: str
    uid: int = 0
    gid: int = 0
    excludes: tuple[str, ...] = ()


class SystemSource(msgspec.Struct, frozen=True, kw_only=True, tag="system", tag_field="workload"):
    """The state of the worker's machine: packages, configuration, disks, how it boots, and a plan to make it again."""


SourceSpec = (
    FilesSource
    | VmSource
    | PostgresSource
    | MysqlSource
    | SqliteSource
    | SmbSource
    | SftpSource
    | NfsSource
    | SystemSource
)


def spec_from(written: Mapping[str, object]) -> SourceSpec:
    """Return the description that was written as a mapping with its ``workload``; ``msgspec.ValidationError``."""
    spec: SourceSpec = converted(written, SourceSpec)
    return spec


def slot_of(item_id: str) -> str:
    """Return the name of the replication slot that a PostgreSQL item's backups leave at its server."""
    word = item_id.lower().replace("-", "_")
    return "skyharbor_" + (word if _WORD.fullmatch(word) else hashlib.sha256(item_id.encode()).hexdigest()[:32])


def paths_of(spec: SourceSpec) -> tuple[str, ...]:
    """Return the paths that a description protects, as they are in its points; empty where that is everything."""
    return spec.paths if isinstance(spec, FilesSource | SqliteSource) else ()


def workload_of(spec: SourceSpec) -> str:
    """Return the name of a description's workload."""
    tag = type(spec).__struct_config__.tag
    if not isinstance(tag, str):
        raise TypeError(f"{type(spec).__name__} has no tag")
    return tag
