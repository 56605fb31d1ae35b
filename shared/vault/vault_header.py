"""The bytes of ``vault.json``: what a vault says about itself, and whether it is still what was written.

Rule of the file: the id in here is bound into every other object, so a single wrong digit would make all of them
unreadable; a header that is not exactly what was written is ``object-damaged`` and never half believed.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Mapping

import msgspec

from shared.decoders import converted, json_decoder
from shared.errors import SkyharborError
from shared.vault import layout
from shared.vault.binary import blamed_on

FORMAT = 1
_MAGIC = "skyharbor-vault"
_CHECK = "check"


class VaultHeader(msgspec.Struct, frozen=True, kw_only=True):
    """What ``vault.json`` says. ``id`` is a UUID as text; ``created_at`` RFC 3339 in UTC."""

    magic: str = _MAGIC
    format: int = FORMAT
    id: str
    name: str
    created_at: str
    mandatory_flags: tuple[str, ...] = ()
    optional_flags: tuple[str, ...] = ()

    @property
    def id_bytes(self) -> bytes:
        """The id as the 16 bytes that binary headers carry."""
        return uuid.UUID(self.id).bytes


class _Format(msgspec.Struct):
    magic: str
    format: int


def encode_header(header: VaultHeader) -> bytes:
    """Return the whole object, for people to read, with its check."""
    said = msgspec.to_builtins(header)
    return json.dumps({**said, _CHECK: _check_of(said)}, indent=2, ensure_ascii=False).encode() + b"\n"


def decode_header(data: bytes) -> VaultHeader:
    """Return what ``encode_header`` wrote.

    Raises ``vault-unsupported`` for a higher format or an unknown mandatory flag, ``object-damaged`` for anything else
    that this version would not have written. A header without a check is believed: early vaults have none.
    """
    with blamed_on(layout.VAULT):
        said = json_decoder(dict[str, object]).decode(data)
        if _CHECK in said and said.pop(_CHECK) != _check_of(said):
            raise SkyharborError("object-damaged", "its check does not fit the rest of it")
        # A newer format may have other fields: look at the version before anything else.
        kind = converted(said, _Format)
        if kind.magic != _MAGIC:
            raise SkyharborError("object-damaged", "this is not a vault's header")
        if kind.format != FORMAT:
            raise SkyharborError("vault-unsupported", f"the vault has format {kind.format}, this reader knows {FORMAT}")
        header = converted(said, VaultHeader)
        if header.mandatory_flags:
            raise SkyharborError("vault-unsupported", f"the vault needs {', '.join(header.mandatory_flags)}")
        if str(uuid.UUID(header.id)) != header.id:
            raise SkyharborError("object-damaged", "the vault's id is not a UUID")
        return header


def _check_of(said: Mapping[str, object]) -> str:
    """Return the first 32 hex digits of the SHA-256 of all other fields as canonical JSON."""
    canonical = json.dumps(said, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(canonical.encode("ascii")).hexdigest()[:32]
