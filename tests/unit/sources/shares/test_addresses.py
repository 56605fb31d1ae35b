"""URLs of shares and folders are understood, and what is none is refused."""

import pytest

from shared.errors import SkyharborError
from workers.sources.nfs.address import NfsAddress, nfs_address
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


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("nfs://host/export/a%20b/", NfsAddress(host="host", folder=b"export/a b")),
        ("nfs://host:2050/%FF%FE", NfsAddress(host="host", folder=b"\xff\xfe", port=2050)),
        ("nfs://host/x?version=4", NfsAddress(host="host", folder=b"x", port=2049, version=4, plain=False)),
        ("nfs://h:1/x?version=3&mountport=9", NfsAddress(host="h", folder=b"x", port=1, mount_port=9, plain=False)),
        ("nfs://[::1]/x", NfsAddress(host="::1", folder=b"x")),
    ],
)
def test_a_folder_of_an_nfs_server(url, address):
    assert nfs_address(url) == address


@pytest.mark.parametrize(
    "url",
    [
        "nfs://host", "nfs:///x", "smb://host/x", "nfs://u@host/x", "nfs://h/a/../b", "nfs://h/x?version=2",
        "nfs://h/x?version=x", "nfs://h/x?uid=0", "nfs://h/x?mountport=65536", "nfs://h/x#y", "nfs://h/a%00b",
    ],
)  # fmt: skip
def test_no_folder_of_an_nfs_server(url):
    with pytest.raises(SkyharborError) as caught:
        nfs_address(url, code="target-invalid")
    assert caught.value.code == "target-invalid"


@pytest.mark.parametrize(
    ("target", "own", "reached"),
    [
        ("nfs://h/back", "nfs://H:7/x?mountport=9", "nfs://H:7/back?mountport=9"),
        ("nfs://h:7/back", "nfs://h:7/x?mountport=9", "nfs://h:7/back?mountport=9"),
        ("nfs://h/back?mountport=5", "nfs://h:7/x?mountport=9", "nfs://h/back?mountport=5"),
        ("nfs://h:8/back", "nfs://h:7/x?mountport=9", "nfs://h:8/back"),
        ("nfs://other/back", "nfs://h:7/x?mountport=9", "nfs://other/back"),
        ("nfs://h/back", "nfs://h:7/x?version=4", "nfs://h/back"),
    ],
)
def test_a_target_on_the_items_server_is_reached_by_its_ports(target, own, reached):
    assert nfs_address(target).beside(nfs_address(own)) == nfs_address(reached)
