"""Backups and restores as an ordinary user, in a process of their own.

Rule of the file: imports come before privileges go: the interpreter may live where only root can read.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from tests.support.clearing import clear

NOBODY = 65534

_PROGRAM = """
import json, os, sys
from shared.model.backup import ConflictRule
from shared.storage.local import LocalStore
from tests.unit.engine.rig import Rig

act, vault, where, groups, rule = sys.argv[1:]
if os.geteuid() == 0:
    os.setgroups(json.loads(groups)); os.setgid(65534); os.setuid(65534)
rig = Rig(LocalStore(vault), made=act == "restore")
done = rig.restore(where, conflict=ConflictRule(rule)) if act == "restore" else rig.backup(where)
print(json.dumps([[notice.path, notice.code, notice.message] for notice in done.warnings]))
"""


@contextmanager
def open_folder() -> Iterator[str]:
    """Give a folder that every user can reach, unlike pytest's own, with an empty ``vault`` and ``out`` of nobody's."""
    folder = tempfile.mkdtemp()
    try:
        os.chmod(folder, 0o755)  # noqa: S103
        for name in ("vault", "out"):
            os.mkdir(f"{folder}/{name}")
            give(f"{folder}/{name}")
        yield folder
    finally:
        clear(folder)


def give(tree: str) -> None:
    """Make nobody the owner of everything in a tree, where this user can."""
    if os.geteuid() == 0:
        subprocess.run(["chown", "-R", "-h", f"{NOBODY}:{NOBODY}", tree], check=True)


def backup(folder: str, tree: str) -> list[list[str]]:
    """Back a tree up into the folder's vault as nobody; return path, code and message of all notices."""
    return _run("backup", folder, tree)


def restore(folder: str, *, groups: Sequence[int] = (), rule: str = "skip") -> list[list[str]]:
    """Restore everything into the folder's ``out`` as nobody, who is in these groups; return all notices."""
    give(f"{folder}/vault")
    return _run("restore", folder, f"{folder}/out", groups, rule)


def _run(act: str, folder: str, where: str, groups: Sequence[int] = (), rule: str = "skip") -> list[list[str]]:
    command = [sys.executable, "-c", _PROGRAM, act, f"{folder}/vault", where, json.dumps(list(groups)), rule]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    found: list[list[str]] = json.loads(ended.stdout)
    return found
