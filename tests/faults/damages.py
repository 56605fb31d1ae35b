"""What can happen to a stored object behind the vault's back: bits flip, ends get lost, objects are swapped or vanish.

Rule of the file: every damage is said beforehand and has a name by which it can be done again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from shared.storage.memory import MemoryStore


class Harm(StrEnum):
    """How an object is damaged."""

    FLIP = "flip"
    TRUNCATE = "truncate"
    SWAP = "swap"
    DELETE = "delete"


@dataclass(frozen=True)
class Damage:
    """One damage; ``objects`` are the names of those that are not what they were."""

    harm: Harm
    label: str
    objects: tuple[str, ...]
    do: Callable[[MemoryStore], None]


def kind_of(name: str) -> str:
    """Return what objects of one kind have in common: the beginning of their names."""
    parts = name.split("/")
    return "/".join(parts[:2]) if parts[0] == "packs" else parts[0]


def damages(store: MemoryStore, name: str) -> Iterator[Damage]:
    """Yield what is to be tried with one object."""
    data = store.get(name)
    size = len(data)
    for position in sorted({0, 9, 20, 40, 64, 70, 81, size // 2, size - 40, size - 20, size - 12, size - 1}):
        if 0 <= position < size:
            yield flip(name, data, position)
    for length in (0, size // 2, size - 1):
        yield Damage(Harm.TRUNCATE, f"{name} cut to {length} of {size}", (name,), _tampering(name, data[:length]))
    yield Damage(Harm.DELETE, f"{name} deleted", (name,), lambda other: _delete(other, name))
    names = [info.name for info in store.list() if kind_of(info.name) == kind_of(name)]
    twin = names[(names.index(name) + 1) % len(names)]
    if twin != name:
        yield Damage(Harm.SWAP, f"{name} swapped with {twin}", (name, twin), lambda other: _swap(other, name, twin))


def flip(name: str, data: bytes, position: int) -> Damage:
    """Return the flip of one bit: another one at every position."""
    changed = bytearray(data)
    changed[position] ^= 1 << position % 8
    return Damage(
        Harm.FLIP, f"{name} bit flipped at {position} of {len(data)}", (name,), _tampering(name, bytes(changed))
    )


def _tampering(name: str, data: bytes) -> Callable[[MemoryStore], None]:
    return lambda store: store.tamper(name, data)


def _delete(store: MemoryStore, name: str) -> None:
    assert store.delete(name)


def _swap(store: MemoryStore, one: str, other: str) -> None:
    first, second = store.get(one), store.get(other)
    store.tamper(one, second)
    store.tamper(other, first)
