"""URLs of shares and folders are understood, and what is none is refused."""

import pytest

from shared.errors import SkyharborError
from workers.sources.sftp.address import sftp_address
from workers.sources.smb.address import smb_address


@pytest.mark.parametrize(
    ("url", "parts"),
    [
        ("smb://host/share", ("host", 445, "share", b"")),
        ("smb://host:4450/share/a%20b/gr%C3%BC%C3%9Fe/", ("host", 4450, "share", "a b/grüße".encode())),
        ("smb://[::1]/share//x", ("::1", 445, "share", b"x")),
    ],
)
def test_a_share(url, parts):
    address = smb_address(url)
    assert (address.host, address.port, address.share, address.folder) == parts


@pytest.mark.parametrize(
    "url",
    [
        "smb://host",
        "smb:///share",
        "http://host/share",
        "smb://h/s/../x",
        "smb://h/s/a%5Cb",
        "smb://u:p@h/s",
        "smb://u@h/s",
        "smb://h:x/s",
    ],
)
def test_no_share(url):
    with pytest.raises(SkyharborError) as caught:
        smb_address(url, code="target-invalid")
    assert caught.value.code == "target-invalid"


@pytest.mark.parametrize(
    ("url", "parts"),
    [
        ("sftp://ann@host/srv/data", ("ann", "host", 22, b"srv/data")),
        ("sftp://host:2222", ("", "host", 2222, b"")),
        ("sftp://host/%FF%FE/x", ("", "host", 22, b"\xff\xfe/x")),
    ],
)
def test_a_folder(url, parts):
    address = sftp_address(url)
    assert (address.user, address.host, address.port, address.folder) == parts


@pytest.mark.parametrize(
    ("url", "command"),
    [("sftp://ann@host/x", "ssh-keyscan host"), ("sftp://ann@host:2222/x", "ssh-keyscan -p 2222 host")],
)
def test_a_servers_key_is_asked_for_at_its_port(url, command):
    assert sftp_address(url).keyscan == command


@pytest.mark.parametrize("url", ["sftp:///x", "ssh://host/x", "sftp://u:p@h/x", "sftp://h/a/../b", "sftp://h/x?y=1"])
def test_no_folder(url):
    with pytest.raises(SkyharborError):
        sftp_address(url)
