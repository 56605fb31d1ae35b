"""Our NBD client understands the servers that there are, on Unix sockets, over TCP and under TLS."""

import datetime
import os
import random
import socket
import ssl
import subprocess
import time

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.workloads.vm.guest import need, short_folder
from workers.sources.children import tied
from workers.sources.vm.nbd import ALLOCATION, DIRTY, ZERO, NbdClient, NbdError, dirty_context
from workers.sources.vm.wire import Address, Wire

SIZE = 32 << 20


@pytest.fixture
def folder():
    need("qemu-nbd", "qemu-img", "qemu-io")
    with short_folder() as folder:
        yield folder


@pytest.fixture
def image(folder):
    path, rng = f"{folder}/d.raw", random.Random(8)
    with open(path, "wb") as made:
        made.truncate(SIZE)
        for offset in (0, 1 << 20, 9 << 20, SIZE - 512):
            os.pwrite(made.fileno(), rng.randbytes(min(300_000, SIZE - offset)), offset)
    subprocess.run(["qemu-img", "convert", "-O", "qcow2", path, f"{folder}/d.qcow2"], check=True, timeout=60)
    return path


class Server:
    """A qemu-nbd over an image."""

    def __init__(self, folder, *options, image="d.qcow2", port=0):
        self.address = Address(host="127.0.0.1", port=port) if port else Address(unix=f"{folder}/s")
        where = [f"--port={port}", "--bind=127.0.0.1"] if port else [f"--socket={self.address.unix}"]
        command = ["qemu-nbd", "--read-only", "--persistent", "--shared=8", "--export-name=disk", *where, *options]
        self.process = subprocess.Popen(tied([*command, f"{folder}/{image}"]), stderr=subprocess.DEVNULL)
        while self.process.poll() is None and not self._answers():
            time.sleep(0.01)

    def _answers(self):
        try:
            Wire.connect(self.address, patience=1).close()  # that its socket is there does not say that it listens
            return True
        except OSError:
            return False

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(30)


def _everything(client):
    buffer = bytearray(client.size)
    client.read_into(memoryview(buffer), 0)
    return bytes(buffer)


def _free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _content(path):
    with open(path, "rb") as opened:
        return opened.read()


def test_all_of_a_disk_and_any_part_of_it_are_its_bytes(folder, image):
    content, rng = _content(image), random.Random(4)
    with Server(folder, "--format=qcow2") as server:
        client = NbdClient.connect(server.address, "disk", contexts=[ALLOCATION])
        assert client.size == SIZE
        assert _everything(client) == content
        for _ in range(50):
            offset = rng.randrange(SIZE)
            buffer = bytearray(min(rng.randrange(1, 3 << 20), SIZE - offset))
            client.read_into(memoryview(buffer), offset)
            assert bytes(buffer) == content[offset : offset + len(buffer)]
        for one in client.extents(ALLOCATION, 0, SIZE):
            if one.flags & ZERO:
                assert not any(content[one.offset : one.offset + one.length])
        assert sum(one.length for one in client.extents(ALLOCATION, 0, SIZE)) == SIZE
        client.close()


def test_a_stored_bitmap_tells_what_was_changed(folder, image):
    subprocess.run(["qemu-img", "bitmap", "--add", f"{folder}/d.qcow2", "b"], check=True, timeout=60)
    write = ["qemu-io", "-c", "write -P 1 3M 64k", "-c", "write -P 2 20M 1", f"{folder}/d.qcow2"]
    subprocess.run(write, check=True, capture_output=True, timeout=60)
    with Server(folder, "--format=qcow2", "--bitmap=b") as server:
        client = NbdClient.connect(server.address, "disk", contexts=[ALLOCATION, dirty_context("b")])
        dirty = [one for one in client.extents(dirty_context("b"), 0, SIZE) if one.flags & DIRTY]
        assert [(one.offset, one.length) for one in dirty] == [(3 << 20, 65536), (20 << 20, 65536)]
        client.close()


def test_an_export_and_a_bitmap_that_are_not_there_are_errors(folder, image):
    with Server(folder, "--format=qcow2") as server:
        with pytest.raises(NbdError, match="no such export"):
            NbdClient.connect(server.address, "another")
        with pytest.raises(NbdError, match="dirty-bitmap:b"):
            NbdClient.connect(server.address, "disk", contexts=[dirty_context("b")])


def test_a_server_that_is_killed_in_the_middle_is_an_error(folder, image):
    with Server(folder, "--format=qcow2") as server:
        client = NbdClient.connect(server.address, "disk")
        server.process.kill()
        server.process.wait(30)
        with pytest.raises(OSError, match=r"ended|pipe|reset"):
            _everything(client)


def test_a_disk_is_read_over_tcp_under_tls_and_by_nobody_without_a_certificate(folder, image):
    _certificates(folder)
    credentials = f"--object=tls-creds-x509,id=t,endpoint=server,dir={folder},verify-peer=yes"
    with Server(folder, "--format=qcow2", credentials, "--tls-creds=t", port=_free_port()) as server:
        tls = ssl.create_default_context(cafile=f"{folder}/ca-cert.pem")
        tls.load_cert_chain(f"{folder}/client-cert.pem", f"{folder}/client-key.pem")
        client = NbdClient.connect(server.address, "disk", contexts=[ALLOCATION], tls=tls, server_name="localhost")
        assert _everything(client) == _content(image)
        client.close()
        with pytest.raises(NbdError, match="wants TLS"):
            NbdClient.connect(server.address, "disk")
        stranger = ssl.create_default_context(cafile=f"{folder}/ca-cert.pem")
        with pytest.raises(OSError, match=r"TLS|ended|reset|alert"):
            _everything(NbdClient.connect(server.address, "disk", tls=stranger, server_name="localhost"))
        with pytest.raises(NbdError, match="TLS"):
            NbdClient.connect(server.address, "disk", tls=tls, server_name="another.example")


def _certificates(folder):
    """Make an authority and what it vouches for: a server at localhost, and a client."""
    authority = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "authority")])
    constraints = [(x509.BasicConstraints(ca=True, path_length=0), True), (_usage(signs=True), True)]
    root = _certificate(name, name, authority.public_key(), authority, constraints)
    _store(folder, "ca-cert.pem", root.public_bytes(serialization.Encoding.PEM))
    for who in ("server", "client"):
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
        extensions = [(x509.SubjectAlternativeName([x509.DNSName("localhost")]), False), (_usage(signs=False), True)]
        made = _certificate(subject, name, key.public_key(), authority, extensions)
        _store(folder, f"{who}-cert.pem", made.public_bytes(serialization.Encoding.PEM))
        plain = serialization.NoEncryption()
        pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
        _store(folder, f"{who}-key.pem", pem)


def _usage(*, signs):
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=not signs,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs,
        crl_sign=signs,
        encipher_only=False,
        decipher_only=False,
    )


def _certificate(subject, issuer, key, signer, extensions):
    now = datetime.datetime.now(datetime.UTC)
    made = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key)
    made = made.serial_number(x509.random_serial_number())
    made = made.not_valid_before(now - datetime.timedelta(days=1)).not_valid_after(now + datetime.timedelta(days=1))
    for extension, critical in extensions:
        made = made.add_extension(extension, critical=critical)
    return made.sign(signer, hashes.SHA256())


def _store(folder, name, data):
    with open(f"{folder}/{name}", "wb") as made:
        made.write(data)
