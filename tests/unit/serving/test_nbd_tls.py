"""A server with certificates talks about nothing before the line is encrypted, and believes nothing from before."""

from __future__ import annotations

import ssl
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.unit.serving import nbd_peer as peer
from tests.unit.serving.nbd_peer import Peer, Reply, meta, wish
from tests.unit.serving.points import Bench, File, Told
from tests.workloads.serving.certificates import authority
from workers.serving.addresses import UnixAddress
from workers.serving.exports import choose_exports
from workers.serving.nbd_server import NbdServer, tls_context

CONTENT = b"a disk of its own" * 1000


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tls") / "ca"
    authority(folder)
    return folder


@pytest.fixture
def connect(tmp_path: Path, certificates: Path) -> Iterator[Callable[[], Peer]]:
    reader = Bench().seal([], {b"disk0.raw": File(CONTENT)})
    context = tls_context(
        cert=f"{certificates}/server-cert.pem", key=f"{certificates}/server-key.pem", ca=f"{certificates}/ca-cert.pem"
    )
    server = NbdServer(choose_exports(reader, [], Told().complaints()), UnixAddress(f"{tmp_path}/s"), tls=context)
    server.start()
    peers: list[Peer] = []

    def make() -> Peer:
        peers.append(Peer.at(f"{tmp_path}/s"))
        return peers[-1]

    yield make
    for one in peers:
        one.close()
    server.stop()


def client_context(certificates: Path, *, certified: bool = True) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=f"{certificates}/ca-cert.pem")
    context.check_hostname = False
    if certified:
        context.load_cert_chain(f"{certificates}/client-cert.pem", f"{certificates}/client-key.pem")
    return context


def test_before_tls_every_wish_is_put_off(connect: Callable[[], Peer]) -> None:
    one = connect()
    one.greet()
    wishes = (
        (peer.LIST, b""),
        (peer.GO, wish("disk0")),
        (peer.STRUCTURED, b""),
        (peer.SET_META, meta("", [])),
        (99, b""),
    )
    assert [one.ask(number, data)[-1].kind for number, data in wishes] == [peer.TLS_REQUIRED] * len(wishes)
    assert one.ask(peer.ABORT) == [Reply(peer.ACK, b"")]
    silent = connect()
    silent.greet()
    silent.option(peer.EXPORT_NAME, b"disk0")
    assert silent.heard_until_dropped() == b""


def test_behind_tls_the_disk_is_read_as_ever(connect: Callable[[], Peer], certificates: Path) -> None:
    one = connect()
    one.greet()
    one.start_tls(client_context(certificates))
    assert one.ask(peer.STARTTLS)[-1].kind == peer.INVALID  # it is on already
    assert len(one.ask(peer.LIST)) == 2
    one.ask(peer.STRUCTURED)
    assert one.ask(peer.GO, wish("disk0"))[-1].kind == peer.ACK
    assert one.read(5, 10_000) == CONTENT[5:10_005]


def test_what_is_said_in_the_clear_behind_starttls_is_not_heard(connect: Callable[[], Peer]) -> None:
    one = connect()
    one.greet()
    one.send(b"".join(struct.pack(">QII", 0x49484156454F5054, number, 0) for number in (peer.STARTTLS, peer.LIST)))
    assert one.replies() == [Reply(peer.ACK, b"")]
    assert struct.pack(">Q", 0x3E889045565A9) not in one.heard_until_dropped()


def test_who_has_no_certificate_learns_nothing(connect: Callable[[], Peer], certificates: Path) -> None:
    one = connect()
    one.greet()

    def ask() -> None:
        one.start_tls(client_context(certificates, certified=False))
        one.ask(peer.LIST)

    with pytest.raises((OSError, EOFError)):  # when it is told depends on the version of TLS
        ask()
