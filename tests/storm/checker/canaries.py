"""I11: secrets and plaintext appear in no table, message, log or event, nor in a vault.

Rule of the file: bytes are searched for, as they are, as hex and as Base64 at each of its three offsets, plain and safe
for URLs; whatever is looked through is read whole.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from pathlib import Path

from psycopg import sql

from tests.storm.checker.database import Look
from tests.storm.checker.violation import Violation

_LEAST = 12
"""Bytes of a canary: shorter ones turn up by chance."""


class Canaries:
    """What must not be found, by a name that may be printed."""

    def __init__(self, secrets: Mapping[str, bytes]) -> None:
        assert all(len(secret) >= _LEAST for secret in secrets.values()), "a canary is too short to be told from chance"
        self._forms = {name: frozenset(_forms(secret)) for name, secret in secrets.items()}

    def within(self, data: bytes) -> list[str]:
        """Return the names of the canaries that these bytes give away."""
        lower = data.lower()
        return [name for name, forms in self._forms.items() if any(f in data or f in lower for f in forms)]

    def in_tables(self, db: Look) -> list[Violation]:
        """I11: tables whose rows, written as text, give something away."""
        found = []
        for table in db.rows("SELECT tablename AS name FROM pg_tables WHERE schemaname = 'public' ORDER BY 1"):
            rows = sql.SQL("SELECT string_agg(t::text, chr(10)) FROM {} t").format(sql.Identifier(table["name"]))
            text = db.value(rows.as_string())
            found += self._found((text or "").encode(), f"table {table['name']}")
        return found

    def in_files(self, files: Iterable[Path], what: str) -> list[Violation]:
        """I11: files that give something away; ones that vanish are passed over."""
        found = []
        for path in files:
            try:
                found += self._found(path.read_bytes(), f"{what} {path.name}")
            except (FileNotFoundError, IsADirectoryError):
                continue
        return found

    def in_bytes(self, data: bytes, what: str) -> list[Violation]:
        """I11: whether these bytes give something away."""
        return self._found(data, what)

    def _found(self, data: bytes, where: str) -> list[Violation]:
        return [Violation("I11", f"{name} is in {where}") for name in self.within(data)]


def _forms(secret: bytes) -> Iterable[bytes]:
    yield secret
    yield secret.hex().encode()
    for offset in range(3):
        # What stands before and after decides the characters at the edges; those in between are the secret's own.
        coded = base64.b64encode(b"\0" * offset + secret)
        inner = coded[-(-offset * 8 // 6) : (offset + len(secret)) * 8 // 6]
        yield inner
        yield inner.translate(bytes.maketrans(b"+/", b"-_"))
