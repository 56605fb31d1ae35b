"""What a server tells of nodes becomes stats, and who we are is read from what was given."""

import stat
from types import SimpleNamespace

import pytest

from shared.errors import SkyharborError
from workers.sources.sftp.address import sftp_address
from workers.sources.sftp.login import login_of
from workers.sources.sftp.nodes import stat_of


def _attrs(**changes):
    told = {"permissions": stat.S_IFREG | 0o640, "mtime": 1_700_000_000, "uid": 5, "gid": 6, "size": 9}
    return SimpleNamespace(**{**told, **changes})


def test_a_file_is_what_was_told():
    info = stat_of(_attrs())
    assert (info.st_mode, info.st_size, info.st_mtime_ns, info.st_uid, info.st_gid) == (
        stat.S_IFREG | 0o640,
        9,
        1_700_000_000 * 10**9,
        5,
        6,
    )


@pytest.mark.parametrize(
    "change", [{"permissions": stat.S_IFREG | 0o600}, {"mtime": 7}, {"uid": 1}, {"gid": 1}, {"size": 8}]
)
def test_its_mark_moves_with_everything_that_is_told(change):
    assert stat_of(_attrs(**change)).st_ctime_ns != stat_of(_attrs()).st_ctime_ns
    assert 0 < stat_of(_attrs()).st_ctime_ns < 2**57  # in the seventies: never young


@pytest.mark.parametrize(
    "change",
    [
        {"permissions": None},
        {"mtime": None},
        {"permissions": stat.S_IFBLK | 0o600},
        {"permissions": stat.S_IFCHR | 0o600},
    ],
)
def test_what_cannot_be_kept_is_none(change):
    assert stat_of(_attrs(**change)) is None


def test_only_files_and_links_have_a_size():
    sizes = [stat_of(_attrs(permissions=kind | 0o755)).st_size for kind in (stat.S_IFDIR, stat.S_IFLNK)]
    assert sizes == [0, 9]


def test_the_url_says_who_we_are_before_the_file_does():
    told = {"user": "ann", "password": "p"}
    assert login_of(told, sftp_address("sftp://bob@host/x"), "/k").user == "bob"
    assert login_of(told, sftp_address("sftp://host/x"), "/k").user == "ann"


def test_a_key_goes_before_a_password_and_neither_is_shown():
    told = {"user": "ann", "password": "hunter2", "key": "/k", "passphrase": "hunter3"}
    login = login_of(told, sftp_address("sftp://h/x"), "")
    assert (login.key, login.password, "hunter" in repr(login)) == ("/k", "", False)
    assert login.known_hosts.endswith("/.ssh/known_hosts")


def test_without_a_user_or_a_way_to_prove_it_nothing_is_tried():
    for told in ({}, {"user": "ann"}, {"password": "p"}):
        with pytest.raises(SkyharborError) as caught:
            login_of(told, sftp_address("sftp://host/x"), "/k")
        assert caught.value.code == "source-denied"
