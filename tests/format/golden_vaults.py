"""The golden vaults that are checked in, and what each must say.

Rule of the file: it knows ``expected.json`` of every age and nothing of the vault's bytes, so that the product and the
independent reader are compared with the same words.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

GOLDEN = Path(__file__).parent / "golden"
FIRST_MACHINE = "0198f000-0000-7000-8000-000000000001"
NUMBERS = ("kind", "mode", "uid", "gid", "size", "mtime_ns", "ctime_ns", "device", "inode", "rdev")
EMPTY = hashlib.sha256(b"").hexdigest()

Described = dict[str, object]
"""An entry in words: bytes as hex, no chunk ids, because these depend on the key."""

_DEFAULTS: Described = {"target": "", "link": "", "xattrs": [], "holes": [], "flags": 0, "content": EMPTY}


@dataclass(frozen=True)
class GoldenMachine:
    """How a machine's points are opened."""

    id: str
    name: str
    passphrase: str


@dataclass(frozen=True)
class GoldenVault:
    """A vault folder and what must be read from it: by point id, the entries in order and parts of the body."""

    name: str
    vault: Path
    machines: tuple[GoldenMachine, ...]
    points: dict[str, list[Described]]
    bodies: dict[str, Described]

    def points_of(self, machine: GoldenMachine) -> list[str]:
        """The ids of a machine's points, as the names of the files have them, oldest first."""
        return sorted(path.name for path in self.vault.glob(f"points/{machine.id}/*/*") if path.name in self.points)

    def latest_of(self, machine: GoldenMachine) -> list[str]:
        """The newest point of each of the machine's items."""
        items = (self.vault / "points" / machine.id).iterdir()
        return [max(path.name for path in item.iterdir() if path.name in self.points) for item in items]


def briefly(entry: Described) -> Described:
    """Leave out what is usual."""
    return {key: value for key, value in entry.items() if key not in _DEFAULTS or value != _DEFAULTS[key]}


def golden_vaults() -> list[GoldenVault]:
    """Every golden vault, by name."""
    return [_load(folder) for folder in sorted(GOLDEN.iterdir())]


def write_expected(
    folder: Path,
    machines: list[GoldenMachine],
    points: Mapping[str, list[Described]],
    bodies: Mapping[str, Described],
) -> None:
    """Write ``expected.json``: one line per entry."""
    parts = [f'"machines": {json.dumps([vars(machine) for machine in machines])}']
    parts += [f'"bodies": {{\n{_lines(bodies)}\n}}']
    lists = [
        f"{json.dumps(point)}: [\n" + ",\n".join(map(_brief_line, entries)) + "\n]" for point, entries in points.items()
    ]
    parts += ['"points": {\n' + ",\n".join(lists) + "\n}"]
    (folder / "expected.json").write_text("{\n" + ",\n".join(parts) + "\n}\n")


def _lines(values: Mapping[str, object]) -> str:
    return ",\n".join(f"{json.dumps(key)}: {json.dumps(value)}" for key, value in values.items())


def _brief_line(entry: Described) -> str:
    return json.dumps(briefly(entry), separators=(",", ":"))


def _load(folder: Path) -> GoldenVault:
    said = json.loads((folder / "expected.json").read_text())
    if "points" not in said:  # the first one lists its points and nothing else
        machine = {"id": FIRST_MACHINE, "name": "atlas", "passphrase": "correct horse battery staple"}
        said = {"machines": [machine], "points": said, "bodies": {}}
    return GoldenVault(
        name=folder.name,
        vault=folder / "vault",
        machines=tuple(GoldenMachine(**machine) for machine in said["machines"]),
        points={point: [{**_DEFAULTS, **entry} for entry in entries] for point, entries in said["points"].items()},
        bodies=said["bodies"],
    )
