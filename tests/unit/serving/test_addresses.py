"""Where a server may listen, what it takes for that, and for how long a lease is."""

from __future__ import annotations

import os
import socket
import stat
from datetime import UTC, datetime
from pathlib import Path

import pytest

from shared.errors import SkyharborError
from shared.model.lease import parse_lease
from workers.serving.addresses import TcpAddress, UnixAddress, check_exposure, parse_address
from workers.serving.nbd_server import tls_context


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("unix:/run/a.sock", UnixAddress("/run/a.sock")),
        ("127.0.0.1:10809", TcpAddress("127.0.0.1", 10809)),
        (":0", TcpAddress("127.0.0.1", 0)),
        ("[::1]:7", TcpAddress("::1", 7)),
        ("backup.example:65535", TcpAddress("backup.example", 65535)),
    ],
)
def test_addresses_are_read_as_they_are_meant(text: str, wanted: object) -> None:
    assert parse_address(text) == wanted


@pytest.mark.parametrize(
    "text", ["", "unix:", "localhost", "h:", "h:x", "h:65536", "::1:7", "[::1:7", "unix:/" + "a" * 120]
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(SkyharborError) as caught:
        parse_address(text)
    assert caught.value.code == "bad-request"


def test_uris_are_those_that_the_tools_read() -> None:
    assert UnixAddress("/run/a b.sock").uri("disk 0/x", tls=False) == "nbd+unix:///disk%200%2Fx?socket=/run/a%20b.sock"
    assert UnixAddress("/s").uri("d", tls=True) == "nbds+unix:///d?socket=/s"
    assert TcpAddress("::1", 7).uri("d", tls=False) == "nbd://[::1]:7/d"
    assert TcpAddress("h", 7).uri("d", tls=True) == "nbds://h:7/d"


@pytest.mark.parametrize("text", ["0.0.0.0:1", "192.0.2.1:1", "backup.example:1", "[::]:1", "[2001:db8::1]:1"])
def test_an_address_that_others_reach_needs_certificates_of_clients(text: str) -> None:
    address = parse_address(text)
    with pytest.raises(SkyharborError, match="reached from other machines"):
        check_exposure(address, client_certificates=False, insecure=False)
    check_exposure(address, client_certificates=True, insecure=False)
    check_exposure(address, client_certificates=False, insecure=True)


@pytest.mark.parametrize("text", ["unix:/run/a", "127.0.0.1:1", "127.9.9.9:1", "[::1]:1", "localhost:1"])
def test_this_machine_alone_needs_none(text: str) -> None:
    check_exposure(parse_address(text), client_certificates=False, insecure=False)


def test_a_socket_is_for_this_user_only_and_replaces_only_one_that_is_dead(tmp_path: Path) -> None:
    address = UnixAddress(str(tmp_path / "s"))
    first = address.listen()
    assert stat.S_IMODE(os.stat(address.path).st_mode) == 0o600
    with pytest.raises(SkyharborError, match="somebody listens"):
        address.listen()
    first.close()  # as a killed server leaves it
    address.listen().close()
    address.forget()
    (tmp_path / "s").write_text("a file")
    with pytest.raises(SkyharborError, match="no socket"):
        address.listen()
    assert (tmp_path / "s").read_text() == "a file"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
        other.bind(str(tmp_path / "datagrams"))
        with pytest.raises(SkyharborError, match="wrong type"):
            UnixAddress(str(tmp_path / "datagrams")).listen()
        assert (tmp_path / "datagrams").exists()
    with pytest.raises(SkyharborError) as caught:
        UnixAddress(str(tmp_path / "missing" / "s")).listen()
    assert caught.value.code == "target-invalid"


def test_a_port_that_is_taken_is_told_as_such() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(SkyharborError) as caught:
            TcpAddress("127.0.0.1", taken.getsockname()[1]).listen()
    assert caught.value.code == "port-busy"


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("30m", 1800), ("8h", 28800), (" 2d ", 172800)])
def test_a_lease_is_as_long_as_was_said(text: str, seconds: int) -> None:
    assert parse_lease(text).seconds == seconds


@pytest.mark.parametrize("text", ["", "8", "h", "0s", "-1h", "1.5h", "8 h", "367d", "9999999999s"])
def test_what_is_no_lease_is_refused(text: str) -> None:
    with pytest.raises(SkyharborError, match="no length of time"):
        parse_lease(text)


def test_a_lease_says_when_it_ends() -> None:
    assert parse_lease("8h").until(datetime(2026, 11, 25, 20, tzinfo=UTC)) == "2026-11-26T04:00:00+00:00"


def test_certificates_come_whole_or_not_at_all(tmp_path: Path) -> None:
    assert tls_context(cert=None, key=None, ca=None) is None
    (tmp_path / "x").write_text("nothing")
    junk = str(tmp_path / "x")
    for cert, key, ca in (
        (junk, None, None),
        (None, junk, None),
        (None, None, junk),
        (junk, junk, None),
        ("/no", "/no", None),
    ):
        with pytest.raises(SkyharborError) as caught:
            tls_context(cert=cert, key=key, ca=ca)
        assert caught.value.code == "bad-request"
