"""Passphrases: made, checked, read and turned into bytes, the same way everywhere.

Rule of the file: a passphrase is NFC-normalised text; no message and no exception ever carries one.
"""

from __future__ import annotations

import secrets
import unicodedata

from shared.errors import SkyharborError

MIN_CHARACTERS = 16
_MAX_FILE_BYTES = 64 * 1024

# Crockford's base 32: no i, l, o or u, so that it survives handwriting and the telephone. 28 symbols are 140 bits.
_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_GROUPS = 7
_GROUP_SIZE = 4


def generate_passphrase() -> str:
    """Return a new random passphrase of 140 bits: seven groups of four, such as ``k7mq-2xwd-…``, easy to write down."""
    groups = ("".join(secrets.choice(_ALPHABET) for _ in range(_GROUP_SIZE)) for _ in range(_GROUPS))
    return "-".join(groups)


def check_passphrase(passphrase: str) -> None:
    """Raise ``passphrase-too-short`` unless it has at least 16 characters (code points after normalisation)."""
    count = len(normalise(passphrase))
    if count < MIN_CHARACTERS:
        raise SkyharborError("passphrase-too-short", f"it has {count}")


def normalise(passphrase: str) -> str:
    """Return the one spelling that is hashed (Unicode NFC): the same keys give it on every keyboard and system."""
    return unicodedata.normalize("NFC", passphrase)


def read_passphrase_file(path: str) -> str:
    """Return the passphrase in a UTF-8 file, without ONE trailing line end; all other characters count.

    The length is not judged here: who opens a slot may try anything, who seals one calls ``check_passphrase``.
    Raises ``bad-request`` when the file cannot be read, is not text, or is larger than 64 KiB.
    """
    try:
        with open(path, "rb") as file:
            data = file.read(_MAX_FILE_BYTES + 1)
    except OSError as error:
        raise SkyharborError("bad-request", f"the passphrase file {path}: {error.strerror}") from None
    if len(data) > _MAX_FILE_BYTES:
        raise SkyharborError("bad-request", f"the passphrase file {path} is larger than 64 KiB")
    data = data.removesuffix(b"\n").removesuffix(b"\r") if data.endswith(b"\n") else data
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise SkyharborError("bad-request", f"the passphrase file {path} is not UTF-8 text") from None
