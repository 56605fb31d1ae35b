"""Signs and encrypts SMB messages with the keys of a session ([MS-SMB2] 3.1.4.1 and 3.1.4.3).

Rule of the file: bytes in, bytes out. What must be sealed and is not, or does not open, is ``Forged``: the connection
that brought it is not to be used any more.
"""

from __future__ import annotations

import hmac
import os
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import algorithms
from cryptography.hazmat.primitives.ciphers.aead import AESCCM, AESGCM
from cryptography.hazmat.primitives.cmac import CMAC

SIGNATURE: Final = slice(48, 64)
"""Where a message's header has its signature."""
TRANSFORM: Final = b"\xfdSMB"
"""With what an encrypted message begins."""

SPARE: Final = 16
"""Bytes of room that an encrypted message wants behind it, for its signature: so it opens where it lies."""

_TRANSFORM_SIZE = 52
_HMAC_SHA256, _CMAC, _GMAC = 0, 1, 2
_AES128_CCM, _AES128_GCM, _AES256_CCM, _AES256_GCM = 1, 2, 3, 4
_NONCE = {_AES128_CCM: 11, _AES256_CCM: 11, _AES128_GCM: 12, _AES256_GCM: 12}


class Forged(Exception):
    """A message that is not from the session's other side."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionKeys:
    """What a handshake agreed on. ``cipher`` of 0: messages are signed and not encrypted."""

    session_id: int
    signing: bytes
    signing_algorithm: int
    cipher: int = 0
    encryption: bytes = b""
    decryption: bytes = b""


class Signer:
    """Puts signatures into messages and compares them."""

    def __init__(self, keys: SessionKeys) -> None:
        self._key = keys.signing
        self._algorithm = keys.signing_algorithm
        self._gcm = AESGCM(keys.signing) if self._algorithm == _GMAC else None

    def sign(self, message: bytearray, message_id: int, *, reply: bool = False) -> bytes:
        """Return the signature of a message whose own is zeroed."""
        if self._gcm is not None:
            nonce = message_id.to_bytes(8, "little") + int(reply).to_bytes(4, "little")
            return self._gcm.encrypt(nonce, b"", message)
        if self._algorithm == _CMAC:
            mac = CMAC(algorithms.AES(self._key))
            mac.update(bytes(message))
            return mac.finalize()
        return hmac.digest(self._key, message, "sha256")[:16]

    def check(self, message: memoryview, message_id: int) -> None:
        """Raise ``Forged`` unless the signature of a reply is right."""
        copy = bytearray(message)
        copy[SIGNATURE] = bytes(16)
        if not hmac.compare_digest(self.sign(copy, message_id, reply=True), bytes(message[SIGNATURE])):
            raise Forged("a reply of the server has a wrong signature")


class Cipher:
    """Encrypts requests and decrypts replies."""

    def __init__(self, keys: SessionKeys) -> None:
        kind = AESGCM if keys.cipher in (_AES128_GCM, _AES256_GCM) else AESCCM
        self._out, self._in = kind(keys.encryption), kind(keys.decryption)
        self._session = keys.session_id.to_bytes(8, "little")
        self._nonce_size = _NONCE[keys.cipher]
        # The handshake used nonces of its own: a random beginning, and no nonce twice from there on.
        self._prefix, self._count = os.urandom(self._nonce_size - 6), 0

    def close(self, message: bytes) -> bytes:
        """Return the encrypted form of a whole (compound) message."""
        self._count += 1
        nonce = self._prefix + self._count.to_bytes(6, "little")
        head = nonce.ljust(16, b"\0") + len(message).to_bytes(4, "little") + b"\0\0\1\0" + self._session
        sealed = self._out.encrypt(nonce, message, head)
        return b"".join((TRANSFORM, sealed[-16:], head, sealed[:-16]))

    def open(self, room: memoryview) -> memoryview:
        """Return the message in an encrypted one, behind which are ``SPARE`` bytes: they are overwritten.

        Raises ``Forged`` when it is not from the other side.
        """
        head = bytes(room[:_TRANSFORM_SIZE])
        if len(room) < _TRANSFORM_SIZE + 64 + SPARE or head[:4] != TRANSFORM or head[44:] != self._session:
            raise Forged("a reply of the server is not encrypted as it must be")
        nonce = head[20 : 20 + self._nonce_size]
        room[-SPARE:] = head[4:20]
        try:
            return memoryview(self._in.decrypt(nonce, room[_TRANSFORM_SIZE:], head[20:]))
        except InvalidTag as error:
            raise Forged("a reply of the server does not decrypt") from error
