"""A wish that a worker would pass over is refused: somebody relies on it."""

from __future__ import annotations

import pytest

from orchestrator.domain.sources.restores import check_restore
from shared.errors import SkyharborError


@pytest.mark.parametrize(
    ("workload", "options"),
    [
        ("files", {"until": "2026-11-25T22:10:00Z"}), ("sqlite", {"until": "latest"}), ("vm", {"until": "latest"}),
        ("sftp", {"format": "qcow2"}), ("mysql", {"owner": "mysql"}), ("system", {"format": "raw"}),
    ],
)  # fmt: skip
def test_a_moment_or_a_format_that_a_workload_does_not_know_is_no_restore_of_the_latest(
    workload: str, options: dict[str, str]
) -> None:
    with pytest.raises(SkyharborError, match=f"{workload} has no option {next(iter(options))}"):
        check_restore(workload, target="/to", options=options)


@pytest.mark.parametrize(
    ("workload", "options"),
    [
        ("files", {}), ("vm", {"format": "qcow2"}), ("mysql", {"until": "latest"}),
        ("postgres", {"until": "x", "owner": "postgres", "tablespaces": "a=b"}), ("smb", {"credentials_file": "/f"}),
    ],
)  # fmt: skip
def test_what_a_workload_knows_is_let_through(workload: str, options: dict[str, str]) -> None:
    check_restore(workload, target="/to", options=options)


@pytest.mark.parametrize(
    ("workload", "target"),
    [
        ("files", "smb://host/share"),
        ("vm", "sftp://host/x"),
        ("sftp", "smb://host/share"),
        ("smb", "sftp://host/x"),
        ("nfs", "smb://host/x"),
    ],
)
def test_a_point_does_not_go_to_the_url_of_something_else(workload: str, target: str) -> None:
    with pytest.raises(SkyharborError, match="is restored to a folder"):
        check_restore(workload, target=target, options={})


def test_a_share_goes_back_to_a_share() -> None:
    check_restore("smb", target="smb://host/share", options={})
    check_restore("sftp", target="sftp://host/folder", options={})
    check_restore("nfs", target="nfs://host/export", options={})
