"""docker-compose.yml as an engine would read it: anchors merged, variables resolved; and a way to run it by hand.

Rule of the file: it knows the format, not the product. What is published elsewhere by an engine (paths, names of hosts,
ports) is mapped by plain replacement, so that commands and environments stay those of the file.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
FILE = ROOT / "docker-compose.yml"

_VARIABLE = re.compile(r"\$(?:\$|\{(?P<name>\w+)(?:(?P<how>:[-?])(?P<rest>[^}]*))?\})")

_PROGRAMS = {"python": [sys.executable], "skyharbor": [sys.executable, "-m", "orchestrator.bootstrap"]}
"""What the image calls so, on this machine."""


def load(environment: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Return the file with its variables resolved from an environment; KeyError for one that has no value at all."""
    document: dict[str, Any] = _resolve(yaml.safe_load(FILE.read_text()), environment or {})
    return document


def _resolve(node: Any, environment: Mapping[str, str]) -> Any:
    if isinstance(node, dict):
        return {key: _resolve(value, environment) for key, value in node.items()}
    if isinstance(node, list):
        return [_resolve(value, environment) for value in node]
    return _VARIABLE.sub(lambda found: _value(found, environment), node) if isinstance(node, str) else node


def _value(found: re.Match[str], environment: Mapping[str, str]) -> str:
    name = found["name"]
    if name is None:
        return "$"
    if environment.get(name):
        return environment[name]
    if found["how"] == ":-":
        return found["rest"]
    raise KeyError(f"{name}: {found['rest'] or 'it has no value'}")


class Mapped:
    """One service outside of a container: its paths, hosts and ports replaced by those of this machine."""

    def __init__(self, name: str, service: Mapping[str, Any], replacements: Mapping[str, str]) -> None:
        self.name = name
        self.service = service
        # The longest first: a path below another one has a place of its own.
        self._replacements = sorted(replacements.items(), key=lambda pair: -len(pair[0]))

    def here(self, text: str) -> str:
        """Say in words of this machine what a text says in words of the container."""
        pattern = "|".join(
            rf"(?<![\w/]){re.escape(ours)}(?![\w])" if ours.startswith("/") else rf"{re.escape(ours)}(?![\w])"
            for ours, _ in self._replacements
        )
        return re.sub(pattern, lambda found: dict(self._replacements)[found[0]], text)

    @property
    def command(self) -> list[str]:
        """What it runs."""
        return [self.here(str(word)) for word in self.service["command"]]

    @property
    def environment(self) -> dict[str, str]:
        """What it is told."""
        return {name: self.here(str(value)) for name, value in (self.service.get("environment") or {}).items()}

    @property
    def health(self) -> list[str]:
        """The command of its health check."""
        kind, *words = self.service["healthcheck"]["test"]
        words = [piece for word in words for piece in _PROGRAMS.get(word, [self.here(str(word))])]
        return ["sh", "-c", *words] if kind == "CMD-SHELL" else words

    def link_volumes(self, folder: Path) -> None:
        """Let every mount point be a link to a folder that bears the volume's name."""
        for volume in self.service.get("volumes", ()):
            source, _, target = str(volume).partition(":")
            place = Path(self.here(target.partition(":")[0]))
            if source.startswith((".", "/")):
                continue
            (folder / source).mkdir(parents=True, exist_ok=True, mode=0o700)
            place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            if not os.path.lexists(place):
                place.symlink_to(folder / source)
