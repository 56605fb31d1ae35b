"""A share through the command line of a running stack: protected, brought back with ACLs, refused clearly."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.fleet import Fleet
from tests.support.ganesha import Ganesha, need_ganesha
from tests.support.samba import Samba, need_samba
from tests.support.ssh_server import SshServer, need_sshd

pytestmark = pytest.mark.stack

FOREIGN = "S-1-5-21-1111111111-2222222222-3333333333-1234"


@pytest.fixture
def samba() -> Iterator[Samba]:
    need_samba()
    with tempfile.TemporaryDirectory(prefix="skyharbor-samba-", ignore_cleanup_errors=True) as folder:
        server = Samba(Path(folder))
        yield server
        server.stop()


@pytest.fixture
def sshd(tmp_path: Path) -> Iterator[SshServer]:
    need_sshd()
    server = SshServer(tmp_path / "sshd")
    yield server
    server.stop()


@pytest.fixture
def ganesha(tmp_path: Path) -> Iterator[Ganesha]:
    need_ganesha()
    server = Ganesha(tmp_path / "ganesha")
    yield server
    server.stop()


def _fill(tree: Path) -> dict[str, bytes]:
    made = {f"d{number % 9}/{number}": os.urandom(number * 20) for number in range(400)}
    made["large"] = os.urandom(6_000_000)
    for name, data in made.items():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_bytes(data)
    return made


def _read(tree: Path) -> dict[str, bytes]:
    return {str(path.relative_to(tree)): path.read_bytes() for path in tree.rglob("*") if path.is_file()}


def test_a_share_is_protected_and_brought_back_with_its_acls(shared_fleet: Fleet, samba: Samba, tmp_path: Path) -> None:
    stack, made = shared_fleet.stack, _fill(samba.share / "tree")
    samba.acl("tree/large", "-a", f"ACL:{FOREIGN}:ALLOWED/0/READ")
    stack.ask(
        "item", "add", "smb", "nas", "--machine", "m1", "--vault", "v1", "--url", samba.url("data/tree"),
        "--credentials-file", str(samba.credentials),
    )  # fmt: skip
    first = stack.ask("backup", "nas", "--wait")
    made["d1/1"] = b"changed"
    (samba.share / "tree/d1/1").write_bytes(b"changed")
    second = stack.ask("backup", "nas", "--wait")
    back = stack.ask("restore", "latest", "--item", "nas", "--to", samba.url("data/back"), "--wait")
    here = stack.ask("restore", second["point"], "--to", str(tmp_path / "out"), "--wait")
    assert (first["stats"]["files"], second["type"], second["stats"]["files_new"]) == (401, "incremental", 0)
    assert _read(samba.share / "back/tree") == _read(tmp_path / "out/tree") == made
    assert samba.acl("back/tree/large") == samba.acl("tree/large")
    assert (back["stats"]["warnings"], here["stats"]["warnings"]) == (0, 0)


def test_a_share_with_a_wrong_password_is_refused_in_clear_words(shared_fleet: Fleet, samba: Samba) -> None:
    stack = shared_fleet.stack
    samba.credentials.write_text("user=harbor\npassword=hunter2-of-nobody\n")
    stack.ask(
        "item", "add", "smb", "wrong", "--machine", "m1", "--vault", "v1", "--url", samba.url("data"),
        "--credentials-file", str(samba.credentials),
    )  # fmt: skip
    ran = stack.run("backup", "wrong", "--wait")
    assert (ran.code, "does not accept user harbor" in ran.out + ran.err) == (1, True)
    assert "hunter2" not in ran.out + ran.err
    assert [job["attempt"] for job in stack.ask("job", "list", "--item", "wrong")["items"]] == [1]


def test_a_folder_of_an_ssh_server_is_protected_and_brought_back(
    shared_fleet: Fleet, sshd: SshServer, tmp_path: Path
) -> None:
    stack, made = shared_fleet.stack, _fill(sshd.tree / "tree")
    stack.ask(
        "item", "add", "sftp", "web", "--machine", "m1", "--vault", "v1", "--url", sshd.url("/tree"),
        "--credentials-file", str(sshd.credentials), "--known-hosts", str(sshd.known),
    )  # fmt: skip
    stack.ask("backup", "web", "--wait")
    stack.ask("restore", "latest", "--item", "web", "--to", sshd.url("/back"), "--wait")
    stack.ask("restore", "latest", "--item", "web", "--to", str(tmp_path / "out"), "--wait")
    assert _read(Path(f"{sshd.tree}/back{sshd.tree}/tree")) == made
    assert _read(Path(f"{tmp_path}/out{sshd.tree}/tree")) == made


def test_a_folder_of_an_nfs_server_is_protected_and_brought_back(
    shared_fleet: Fleet, ganesha: Ganesha, tmp_path: Path
) -> None:
    stack, made = shared_fleet.stack, _fill(ganesha.tree / "tree")
    os.chown(ganesha.tree / "tree/large", 1234, 4321)
    stack.ask(
        "item", "add", "nfs", "home", "--machine", "m1", "--vault", "v1", "--url", ganesha.url("/tree"),
        "--exclude", "/d8",
    )  # fmt: skip
    made = {name: data for name, data in made.items() if not name.startswith("d8/")}
    stack.ask("backup", "home", "--wait")
    os.link(ganesha.tree / "tree/large", ganesha.tree / "tree/zz")
    made["zz"] = made["large"]
    second = stack.ask("backup", "home", "--wait")
    back = stack.ask("restore", "latest", "--item", "home", "--to", ganesha.url("/back"), "--wait")
    stack.ask("restore", "latest", "--item", "home", "--to", str(tmp_path / "out"), "--wait")
    assert _read(ganesha.tree / "back") == _read(tmp_path / "out") == made
    looks = [(tree / "zz").stat() for tree in (ganesha.tree / "back", tmp_path / "out")]
    assert [(look.st_uid, look.st_gid, look.st_nlink) for look in looks] == [(1234, 4321, 2)] * 2
    assert (second["type"], second["stats"]["files_new"], back["stats"]["warnings"]) == ("incremental", 1, 0)


def test_an_nfs_server_that_exports_no_such_folder_ends_the_job_at_once(shared_fleet: Fleet, ganesha: Ganesha) -> None:
    stack = shared_fleet.stack
    stack.ask(
        "item", "add", "nfs", "elsewhere", "--machine", "m1", "--vault", "v1",
        "--url", ganesha.url(tree=Path("/elsewhere")),
    )  # fmt: skip
    ran = stack.run("backup", "elsewhere", "--wait")
    assert (ran.code, "exports no such folder" in ran.out + ran.err) == (1, True)
    assert [job["attempt"] for job in stack.ask("job", "list", "--item", "elsewhere")["items"]] == [1]
