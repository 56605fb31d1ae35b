"""The text in which LVM2 describes a volume group: sections, numbers, strings, lists (lvm2: ``lib/format_text``).

Rule of the file: text in, values out; what is not that text is ``Damaged``, and nesting is bounded.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from workers.disks.volume import Damaged

Section = dict[str, "int | str | list[int | str] | Section"]

_TOKEN = re.compile(r'\s+|#[^\n]*|("(?:\\.|[^"\\])*"|[{}\[\]=,]|[^\s{}\[\]=,"#]+)', re.DOTALL)
_NUMBER = re.compile(r"-?\d{1,19}")
_MOST_DEEP = 16


def parse(text: str) -> Section:
    """Return the outermost section. Raises ``Damaged``."""
    tokens = _Tokens(text)
    try:
        return _section(tokens, end=None, depth=0)
    except StopIteration:
        raise Damaged("the description of the volume group is cut short") from None


class _Tokens:
    def __init__(self, text: str) -> None:
        self._tokens = self._of(text)
        self._next: str | None = None

    @staticmethod
    def _of(text: str) -> Iterator[str]:
        at = 0
        while at < len(text):
            match = _TOKEN.match(text, at)
            if match is None:
                raise Damaged("the description of the volume group is not text of LVM")
            at = match.end()
            if match[1]:
                yield match[1]

    def take(self) -> str:
        """Return the next token; StopIteration at the end."""
        if self._next is not None:
            token, self._next = self._next, None
            return token
        return next(self._tokens)

    def at_end(self) -> bool:
        if self._next is None:
            self._next = next(self._tokens, None)
        return self._next is None


def _section(tokens: _Tokens, *, end: str | None, depth: int) -> Section:
    if depth > _MOST_DEEP:
        raise Damaged("the description of the volume group is nested too deeply")
    found: Section = {}
    while not (end is None and tokens.at_end()):
        key = tokens.take()
        if key == end:
            return found
        sign = tokens.take()
        if sign == "{":
            found[key] = _section(tokens, end="}", depth=depth + 1)
        elif sign == "=":
            found[key] = _value(tokens)
        else:
            raise Damaged(f"the description of the volume group has {sign!r} where a value belongs")
    return found


def _value(tokens: _Tokens) -> int | str | list[int | str]:
    part = tokens.take()
    if part != "[":
        return _plain(part)
    found = []
    while (part := tokens.take()) != "]":
        if part != ",":
            found.append(_plain(part))
    return found


def _plain(token: str) -> int | str:
    if token.startswith('"'):
        return re.sub(r"\\(.)", r"\1", token[1:-1])
    return int(token) if _NUMBER.fullmatch(token) else token


def number(section: Section, key: str) -> int:
    """Return a number that must be there and not be negative."""
    value = section.get(key)
    if not isinstance(value, int) or value < 0:
        raise Damaged(f"the description of the volume group has no number {key}")
    return value


def word(section: Section, key: str) -> str:
    """Return a string that must be there."""
    value = section.get(key)
    if not isinstance(value, str):
        raise Damaged(f"the description of the volume group has no {key}")
    return value


def sections(section: Section, key: str) -> dict[str, Section]:
    """Return the sections in a section, by their names; empty when there is none."""
    inner = section.get(key)
    return {name: one for name, one in inner.items() if isinstance(one, dict)} if isinstance(inner, dict) else {}
