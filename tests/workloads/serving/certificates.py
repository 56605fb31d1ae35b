"""Certificates for one test: an authority, a server on this machine, and a client, under the names that QEMU looks for.

Rule of the file: made new each time; nothing outlives the folder.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

Key = ec.EllipticCurvePrivateKey


@dataclass(frozen=True)
class Authority:
    """Where the files are."""

    folder: str
    ca: str
    server_cert: str
    server_key: str


def authority(folder: Path) -> Authority:
    """Make everything in a new folder."""
    folder.mkdir()
    key = ec.generate_private_key(ec.SECP256R1())
    root = _certificate("test authority", key, None, key, usage=None)
    (folder / "ca-cert.pem").write_bytes(root.public_bytes(serialization.Encoding.PEM))
    usages = {"server": ExtendedKeyUsageOID.SERVER_AUTH, "client": ExtendedKeyUsageOID.CLIENT_AUTH}
    for name, usage in usages.items():
        own = ec.generate_private_key(ec.SECP256R1())
        cert = _certificate(name, own, root, key, usage=usage)
        (folder / f"{name}-cert.pem").write_bytes(cert.public_bytes(serialization.Encoding.PEM))
        (folder / f"{name}-key.pem").write_bytes(
            own.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
    return Authority(str(folder), f"{folder}/ca-cert.pem", f"{folder}/server-cert.pem", f"{folder}/server-key.pem")


def _certificate(
    name: str, key: Key, issuer: x509.Certificate | None, signer: Key, *, usage: x509.ObjectIdentifier | None
) -> x509.Certificate:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    names = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
        .add_extension(names, critical=False)
    )
    if usage is not None:
        builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
    return builder.sign(signer, hashes.SHA256())
