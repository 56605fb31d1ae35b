"""How the nodes of a share are read: the same for all who read it for one backup.

Rule of the file: values only.
"""

from __future__ import annotations

from typing import NamedTuple


class Setting(NamedTuple):
    """The moment of the previous version (a FILETIME, 0: the share as it is), and what is asked of a node."""

    moment: int = 0
    marked: bool = True
    """Whether marks stand in the place of change times (``workers.sources.smb.marks``)."""
    audit: bool = False
    """Whether descriptors come with their audit rules (SACL), which takes a privilege."""
