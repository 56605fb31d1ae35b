"""Checks a description, whatever its workload.

Rule of the file: the one list of workloads of the control plane.
"""

from __future__ import annotations

from typing import assert_never

from orchestrator.domain.sources.databases import checked_mysql, checked_postgres, checked_sqlite
from orchestrator.domain.sources.files import checked_files
from orchestrator.domain.sources.machines import checked_vm
from orchestrator.domain.sources.shares import checked_nfs, checked_sftp, checked_smb
from shared.contracts.sources import (
    FilesSource,
    MysqlSource,
    NfsSource,
    PostgresSource,
    SftpSource,
    SmbSource,
    SourceSpec,
    SqliteSource,
    SystemSource,
    VmSource,
)


def checked(spec: SourceSpec) -> SourceSpec:
    """Return the description as it is kept; ``bad-request`` says what to write instead."""
    match spec:
        case FilesSource():
            return checked_files(spec)
        case VmSource():
            return checked_vm(spec)
        case PostgresSource():
            return checked_postgres(spec)
        case MysqlSource():
            return checked_mysql(spec)
        case SqliteSource():
            return checked_sqlite(spec)
        case SmbSource():
            return checked_smb(spec)
        case SftpSource():
            return checked_sftp(spec)
        case NfsSource():
            return checked_nfs(spec)
        case SystemSource():
            return spec
        case _:
            assert_never(spec)
