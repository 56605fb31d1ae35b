"""Removes what tests have left behind and pytest could not: immutable files, and trees deeper than a recursion.

Rule of the file: it removes what it is given, whatever that is.
"""

from __future__ import annotations

import os
import subprocess

from tests.support.chattr import melt


def clear(root: str | os.PathLike[str]) -> None:
    """Remove a tree."""
    melt(root)
    subprocess.run(["rm", "-rf", "--", os.fspath(root)], check=True)
