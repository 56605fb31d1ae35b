"""The room for tgtd hides a folder of the machine; it must never be the machine's own."""

from __future__ import annotations

from pathlib import Path

import pytest

from workers.serving import tgt_room


def test_nothing_is_mounted_when_no_namespace_was_made(monkeypatch: pytest.MonkeyPatch) -> None:
    mounted: list[bytes] = []
    monkeypatch.setattr(tgt_room, "unshare", lambda _: None)
    monkeypatch.setattr(tgt_room, "_mount", lambda _, target, *__: mounted.append(target))
    before = Path("/proc/self/mountinfo").read_text().count(f" {tgt_room.ROOM} ")
    with pytest.raises(OSError, match="no namespace of mounts was made"):
        tgt_room.Room("a name")
    assert (mounted, Path("/proc/self/mountinfo").read_text().count(f" {tgt_room.ROOM} ")) == ([], before)
