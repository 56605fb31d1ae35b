"""A description of a share is refused before anybody is sent to read it."""

from __future__ import annotations

import pytest

from orchestrator.domain.sources.checking import checked
from shared.contracts.sources import NfsSource, SftpSource, SmbSource, SourceSpec
from shared.errors import SkyharborError


@pytest.mark.parametrize(
    "spec",
    [
        SmbSource(url="smb://host/share", credentials_file="/c"),
        SmbSource(url="smb://host:4450/share/a%20b/c", credentials_file="/etc/creds", excludes=("*.tmp",)),
        SftpSource(url="sftp://user@host/srv/data", credentials_file="/etc/creds", known_hosts="/etc/known"),
        SftpSource(url="sftp://host", credentials_file="/c"),
        NfsSource(url="nfs://host/export", uid=1000, gid=1000, excludes=("*.tmp",)),
        NfsSource(url="nfs://host:2050/export/a%20b?version=4&mountport=20048"),
    ],
)
def test_a_description_that_makes_sense_is_kept_as_it_is(spec: SourceSpec) -> None:
    assert checked(spec) == spec


@pytest.mark.parametrize(
    ("spec", "word"),
    [
        (SmbSource(url="smb://host"), "smb://host/share"),
        (SmbSource(url="cifs://host/share"), "smb://host/share"),
        (SmbSource(url="smb:///share"), "smb://host/share"),
        (SmbSource(url="smb://host:0/share"), "smb://host/share"),
        (SmbSource(url="smb://host:99999/share"), "smb://host/share"),
        (SmbSource(url="smb://host/share/../other"), "smb://host/share"),
        (SmbSource(url="smb://host/share/%2e%2e/other"), "smb://host/share"),
        (SmbSource(url="smb://host/share?x=1"), "smb://host/share"),
        (SmbSource(url="smb://user:secret@host/share"), "credentials file"),
        (SmbSource(url="smb://user@host/share"), "credentials file"),
        (SmbSource(url="smb://host/share", credentials_file="relative"), "absolute"),
        (SmbSource(url="smb://host/share"), "needs a file with credentials"),
        (SftpSource(url="sftp://user@host/folder"), "needs a file with credentials"),
        (SmbSource(url="smb://host/share", previous_versions="sometimes"), "auto, newest, none"),
        (SmbSource(url="smb://host/share", credentials_file="/c", excludes=("x",) * 1001), "excludes"),
        (SftpSource(url="sftp:///folder"), "sftp://user@host"),
        (SftpSource(url="sftp://u:secret@host/folder"), "credentials file"),
        (SftpSource(url="sftp://host/folder", credentials_file="/c", known_hosts="known"), "absolute"),
        (NfsSource(url="nfs://host"), "nfs://host/export"),
        (NfsSource(url="nfs://user@host/export"), "uid and gid"),
        (NfsSource(url="nfs://host/export/../other"), "nfs://host/export"),
        (NfsSource(url="nfs://host/export?version=2"), "?version=3|4"),
        (NfsSource(url="nfs://host/export?password=secret"), "?version=3|4"),
        (NfsSource(url="nfs://host/export?mountport=0"), "mountport"),
        (NfsSource(url="nfs://host/export", uid=-1), "uid and gid"),
        (NfsSource(url="nfs://host/export", gid=1 << 32), "uid and gid"),
        (NfsSource(url="nfs://host/export", excludes=("x",) * 1001), "excludes"),
    ],
)
def test_one_that_makes_none_says_what_to_write(spec: SourceSpec, word: str) -> None:
    with pytest.raises(SkyharborError) as caught:
        checked(spec)
    assert (caught.value.code, word in caught.value.detail, "secret" in str(caught.value)) == (
        "bad-request",
        True,
        False,
    )
