"""What the mounting library is told by the environment, for it listens to nothing else.

Rule of the file: set before mfusepy is imported, and nothing is read.
"""

from __future__ import annotations

import os


def choose_fuse_3() -> None:
    """Have mfusepy take libfuse 3: it would take version 2 where there is one, which knows fewer calls."""
    os.environ["FUSE_LIBRARY_NAME"] = "fuse3"
