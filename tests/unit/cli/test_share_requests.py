"""What ``item add smb``, ``sftp`` and ``nfs`` send, and a restore to a share."""

from __future__ import annotations

import os

from tests.unit.cli.world import Answer, World

AN_ITEM = {"name": "files"}
COMMON = ("--machine", "m", "--vault", "v")


def test_a_share_is_described_by_its_url_and_a_file_with_credentials(world: World) -> None:
    world.server.on("POST /items", Answer(201, AN_ITEM))
    ran = world.run(
        *("item", "add", "smb", "files", *COMMON, "--url", "smb://nas/data", "--credentials-file", "creds"),
        *("--exclude", "*.tmp", "--exclude", "/x", "--previous-versions", "newest"),
    )
    body = world.server.seen("POST /items")[0].body
    assert (ran.code, body["workload"], body["source"]) == (
        0,
        "smb",
        {
            "url": "smb://nas/data",
            "credentials_file": f"{os.getcwd()}/creds",
            "excludes": ["*.tmp", "/x"],
            "previous_versions": "newest",
        },
    )


def test_a_folder_of_an_ssh_server_is_described_by_its_url_and_its_key(world: World) -> None:
    world.server.on("POST /items", Answer(201, AN_ITEM))
    ran = world.run(
        *("item", "add", "sftp", "web", *COMMON, "--url", "sftp://backup@web/srv"),
        *("--credentials-file", "/etc/c", "--known-hosts", "/etc/known"),
    )
    body = world.server.seen("POST /items")[0].body
    assert (ran.code, body["workload"], body["source"]) == (
        0,
        "sftp",
        {"url": "sftp://backup@web/srv", "credentials_file": "/etc/c", "known_hosts": "/etc/known", "excludes": []},
    )


def test_a_folder_of_an_nfs_server_is_described_by_its_url_and_who_asks(world: World) -> None:
    world.server.on("POST /items", Answer(201, AN_ITEM))
    ran = world.run(
        *("item", "add", "nfs", "home", *COMMON, "--url", "nfs://nas/export?version=4"),
        *("--uid", "1000", "--gid", "100", "--exclude", "*.tmp"),
    )
    body = world.server.seen("POST /items")[0].body
    assert (ran.code, body["workload"], body["source"]) == (
        0,
        "nfs",
        {"url": "nfs://nas/export?version=4", "uid": 1000, "gid": 100, "excludes": ["*.tmp"]},
    )


def test_a_restore_to_a_share_of_another_server_names_its_credentials(world: World) -> None:
    world.server.on("POST /jobs", Answer(202, {"id": "1"}))
    world.run("restore", "0190b5f0", "--to", "smb://other/data/in", "--credentials-file", "/etc/other")
    body = world.server.seen("POST /jobs")[0].body
    assert (body["target"], body["options"]) == ("smb://other/data/in", {"credentials_file": "/etc/other"})
