"""How single values of a fleet's document are read: sizes, shares, spreads, names of what the fleet has.

Rule of the file: a text in, a value out; a text that is none is a ``ValueError`` that says what to write instead.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from orchestrator.domain.marked_yaml import Mistakes, Node, is_scalar, mapping, value
from orchestrator.simulation.fleet import Spread

_SIZE = re.compile(r"(\d{1,9}(?:\.\d{1,3})?)\s*(MiB|GiB|TiB)")
_MIB = {"MiB": 1.0, "GiB": 1024.0, "TiB": 1024.0**2}


def spread(node: Node | None, read: Callable[[str], float], default: Spread, mistakes: Mistakes) -> Spread:
    """Return one value, or {from: …, to: …}."""
    if node is None:
        return default
    if is_scalar(node):
        one = value(node, default.low, read, mistakes)
        return Spread(one, one)
    keys = mapping(node, ("from", "to"), mistakes)
    if len(keys) < 2:
        mistakes.add(node, "write one value, or both of {from: …, to: …}")
        return default
    low, high = value(keys["from"], default.low, read, mistakes), value(keys["to"], default.high, read, mistakes)
    if low > high or (low == 0 < high):
        mistakes.add(keys["to"], "to has to be at least from, and from more than nothing")
    return Spread(low, high)


def one_of(known: Mapping[str, object], noun: str) -> Callable[[str], str]:
    """Return what reads one of these names."""

    def read(text: str) -> str:
        if text not in known:
            raise ValueError(f"there is no {noun} {text!r} in this fleet; there are {', '.join(known) or 'none'}")
        return text

    return read


def mib(text: str) -> float:
    """Return a size in MiB."""
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is not a size; write such as 500MiB, 40GiB or 2TiB")
    return float(match[1]) * _MIB[match[2]]


def share(text: str) -> float:
    """Return a share, up to all."""
    match = re.fullmatch(r"(\d{1,3}(?:\.\d{1,4})?)\s*%", text.strip())
    if match is None or float(match[1]) > 100:
        raise ValueError(f"{text!r} is not a share; write such as 2% or 0.5%")
    return float(match[1]) / 100


def number(text: str) -> float:
    """Return a number, not below nothing."""
    if not re.fullmatch(r"\d{1,9}(\.\d{1,4})?", text):
        raise ValueError(f"{text!r} is not a number")
    return float(text)


def number_above_zero(text: str) -> float:
    """Return a number that is more than nothing."""
    read = number(text)
    if read == 0:
        raise ValueError("write a number above 0, or leave it out for no limit")
    return read
