"""``run/stack.json``: what runs, for ``status``, ``down`` and the CLI that looks for the API.

Rule of the file: a record is a claim, the lock is the truth. It is there while the stack is ready, is replaced as a
whole, and means nothing without a holder of the lock.
"""

from __future__ import annotations

import contextlib
import os

import msgspec

from orchestrator.embedded.home import write_whole
from shared.decoders import json_decoder


class ProcessRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One process. ``pid`` is None while it waits for its restart; times are RFC 3339 in UTC."""

    name: str
    pid: int | None
    since: str | None
    restarts: int
    log: str


class StackRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One run of the stack."""

    pid: int
    url: str
    port: int
    started_at: str
    version: str
    versions: dict[str, str]
    processes: tuple[ProcessRecord, ...]
    flower: str | None = None
    warnings: tuple[str, ...] = ()


def write_record(path: str, record: StackRecord) -> None:
    """Replace the record, atomically."""
    write_whole(path, msgspec.json.format(msgspec.json.encode(record)).decode() + "\n")


def read_record(path: str) -> StackRecord | None:
    """Return the record, or None when there is none that can be read."""
    try:
        with open(path, "rb") as handle:
            return json_decoder(StackRecord).decode(handle.read())
    except (OSError, msgspec.MsgspecError):
        return None


def remove_record(path: str) -> None:
    """Remove the record. Idempotent."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
