"""What programs that sources run may see of the worker's environment: where programs are, and whose home it is.

Rule of the file: names that are listed here, and no others; a worker's environment has credentials in it.
"""

from __future__ import annotations

import os

_HARMLESS = ("HOME", "LANG", "LOGNAME", "SHELL", "TMPDIR", "TZ", "USER")


def search_path() -> str:
    """Return the folders that programs are looked for in; servers are not in every user's path."""
    return f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/usr/local/sbin"


def inherited(*names: str) -> dict[str, str]:
    """Return what is harmless of our environment, and these variables where they are set."""
    told = {name: os.environ[name] for name in (*_HARMLESS, *names) if name in os.environ}
    return {"PATH": search_path(), **told}
