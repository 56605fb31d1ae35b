"""Chunks are found without an index, by several threads at once."""

from __future__ import annotations

import threading

import pytest

from shared.vault import chunk_finder
from tests.unit.vault.bench import new_bench


def test_a_thread_that_asks_while_another_reads_the_directories_is_told_of_no_loss(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Two readers of one point without an index: one was told that a chunk was lost which the other just looked for."""
    bench = new_bench()
    bench.write(1, {b"f": b"content " * 100})
    [entry] = list(bench.reader(1).entries())
    reader, told = bench.reader(1), []
    read, asked = chunk_finder.pack_table, threading.Event()

    def slow(*arguments: object) -> object:
        if not asked.is_set():
            asked.set()
            second.start()
            second.join(0.2)  # an answer that comes now comes too early
        return read(*arguments)  # type: ignore[arg-type]

    second = threading.Thread(target=lambda: told.append(reader.finder.find(entry.chunks)))
    monkeypatch.setattr(chunk_finder, "pack_table", slow)
    reader.finder.find(entry.chunks)
    second.join(30)
    assert len(told) == 1
    assert None not in told[0]
