"""Restores many points of one machine with the independent reader, opening the vault and its key once.

    python -m tests.storm.checker.reading VAULT MACHINE PASSPHRASE-FILE PLACE POINT...

A point lands in PLACE/<point>, and who sealed it in PLACE/<point>.json. The exit status is 0 when nothing was lost or
not kept; what was is on stderr.

Rule of the file: the reader does the work, as it would for a stranger; here is only the loop.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from tools import read_vault


def main(vault: str, machine: str, passphrase_file: str, place: str, *points: str) -> int:
    """Restore them all and return the exit status."""
    os.sync = lambda: None  # nothing here has to outlive a power cut, and the machine is shared
    diary = read_vault.Diary()
    passphrase = Path(passphrase_file).read_text(encoding="utf-8").removesuffix("\n")
    opened = read_vault.Vault(Path(vault), machine, passphrase, diary)
    for point in points:
        found = list(opened.points([], point))
        if not found:
            diary.lose(point, "the reader finds no such point")
            continue
        tree = read_vault.Tree(os.path.join(place, point), opened, diary)
        for each in found:
            tree.restore(each)
            sealed_by = {word: each["body"][word] for word in ("job_id", "epoch")}
            Path(place, f"{point}.json").write_text(json.dumps(sealed_by))
        tree.finish()
    return diary.status()


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
