"""A type is made known to msgspec by one thread at a time, whoever decodes it first."""

from __future__ import annotations

import subprocess
import sys
import threading

import msgspec
import pytest

from shared.decoders import converted, json_decoder, msgpack_decoder

_TOGETHER = """
import sys, threading
import msgspec
from shared.decoders import converted, json_decoder, msgpack_decoder

def decode(kind):
    json_decoder(kind).decode(DATA)
    msgpack_decoder(kind)
    converted({"x": {"a": 1, "b": [], "c": {}}, "y": [], "z": None, "w": []}, kind)

def go(barrier, kind):
    barrier.wait()
    decode(kind)

DATA = b'{"x": {"a": 1, "b": ["q"], "c": {}}, "y": [], "z": null, "w": [{"a": 1, "b": [], "c": {"k": 1}}]}'
sys.setswitchinterval(1e-6)
for number in range(500):
    inner = msgspec.defstruct(f"Inner{number}", [("a", int), ("b", list[str]), ("c", dict[str, int])])
    fields = [("x", inner), ("y", tuple[inner, ...]), ("z", str | None), ("w", list[inner])]
    outer = msgspec.defstruct(f"Outer{number}", fields)
    barrier = threading.Barrier(4)
    threads = [threading.Thread(target=go, args=(barrier, outer)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
print("alive")
"""


def test_a_process_whose_threads_decode_a_type_for_the_first_time_at_once_goes_on() -> None:
    """A worker that started with two units waiting ended with a segmentation fault, and both leases had to run out."""
    command = [sys.executable, "-c", _TOGETHER]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout) == (0, "alive\n")


class Thing(msgspec.Struct, frozen=True, tag="thing"):
    n: int


class Other(msgspec.Struct, frozen=True, tag="other"):
    n: int


def test_a_decoder_is_made_once_and_shared_by_threads() -> None:
    made: list[object] = []
    threads = [threading.Thread(target=lambda: made.append(msgpack_decoder(Thing))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {id(one) for one in made} == {id(msgpack_decoder(Thing))}


def test_unions_are_decoded_and_converted_by_their_tags() -> None:
    assert json_decoder(Thing | Other).decode(b'{"type":"other","n":1}') == Other(1)
    assert converted({"type": "thing", "n": 2}, Thing | Other) == Thing(2)
    with pytest.raises(msgspec.ValidationError):
        converted({"type": "thing", "n": "2"}, Thing | Other)
