"""YAML that people write, read with the line of every mistake.

Rule of the file: all mistakes are found in one go; unknown keys are mistakes; nothing is guessed. What the keys mean is
the business of whoever reads with it.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeVar

import yaml

from shared.errors import SkyharborError

LONGEST_DOCUMENT = 64 * 1024
_T = TypeVar("_T")
_E = TypeVar("_E", bound=StrEnum)

Node = yaml.Node
"""A piece of a document, with its place in it."""


@dataclass(slots=True)
class Mistakes:
    """What is wrong with a document: one entry per mistake, ``line`` and ``message``."""

    found: list[dict[str, int | str]] = field(default_factory=list)

    def add(self, node: Node, message: str) -> None:
        """Note a mistake at the line of a node."""
        self.at(node.start_mark.line + 1, message)

    def at(self, line: int, message: str) -> None:
        """Note a mistake at a line, counted from 1."""
        self.found.append({"line": line, "message": message})

    def refuse(self, code: str) -> None:
        """Raise an error of this code with the field ``errors`` (by line) when there is any mistake."""
        if self.found:
            errors = sorted(self.found, key=lambda error: error["line"])
            detail = "; ".join(f"line {error['line']}: {error['message']}" for error in errors)
            raise SkyharborError(code, detail, errors=errors)


def compose(document: str, mistakes: Mistakes, *, longest: int = LONGEST_DOCUMENT) -> yaml.MappingNode | None:
    """Return the root of a document of keys and values; None, and a mistake, when it is none."""
    if len(document) > longest:
        mistakes.at(1, f"the document is longer than {longest >> 10} KiB")
        return None
    try:
        root = yaml.compose(document, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        mistakes.at(mark.line + 1 if mark else 1, f"not YAML: {error.problem}")
    except RecursionError:
        mistakes.at(1, "the document is nested too deeply")
    except yaml.YAMLError as error:
        mistakes.at(1, f"not YAML: {error}")
    else:
        if isinstance(root, yaml.MappingNode):
            return root
        mistakes.at(1, "write keys and values, beginning with name: …")
    return None


def mapping(node: Node, known: Sequence[str], mistakes: Mistakes) -> dict[str, Node]:
    """Return the values of a mapping by key. Unknown and repeated keys are mistakes and left out."""
    if not isinstance(node, yaml.MappingNode):
        mistakes.add(node, f"write keys and values here; known keys: {', '.join(known)}")
        return {}
    keys: dict[str, Node] = {}
    for key, value in node.value:
        name = str(key.value) if isinstance(key, yaml.ScalarNode) else ""
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known keys: {', '.join(known)}"
            mistakes.add(key, f"unknown key {name!r}; {hint}")
        elif name in keys:
            mistakes.add(key, f"{name!r} is there twice; remove one")
        else:
            keys[name] = value
    return keys


def sequence(node: Node | None, mistakes: Mistakes, *, most: int, hint: str) -> list[Node]:
    """Return the elements of a list; none, and a mistake with the hint, when it is no list or a longer one."""
    if node is None:
        return []
    if not isinstance(node, yaml.SequenceNode):
        mistakes.add(node, hint)
        return []
    if len(node.value) > most:
        mistakes.add(node, f"at most {most} here")
        return []
    return list(node.value)


def value(node: Node | None, default: _T, read: Callable[[str], _T], mistakes: Mistakes) -> _T:
    """Return what ``read`` makes of a single value; its ``ValueError`` or ``SkyharborError`` is the mistake."""
    if node is None:
        return default
    if not isinstance(node, yaml.ScalarNode):
        mistakes.add(node, "write a single value here")
        return default
    try:
        return read(str(node.value))
    except SkyharborError as error:
        mistakes.add(node, error.detail)
    except ValueError as error:
        mistakes.add(node, str(error))
    return default


def member(node: Node | None, kind: type[_E], default: _E, mistakes: Mistakes) -> _E:
    """Return the member that a value names."""

    def read(text: str) -> _E:
        if text not in list(kind):
            raise ValueError(f"{text!r} is not one of {', '.join(kind)}")
        return kind(text)

    return value(node, default, read, mistakes)


def is_scalar(node: Node) -> bool:
    """Tell whether this is a single value."""
    return isinstance(node, yaml.ScalarNode)
