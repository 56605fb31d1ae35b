"""What the checks of the doctor share.

Rule of the file: a finding is what one check saw; it is the same for people and for programs.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from shared.contracts.survey import SurveyAnswer


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check saw. ``hint`` is empty when all is well; ``prediction`` is there when files were counted."""

    check: str
    ok: bool
    detail: str
    hint: str = ""
    prediction: SurveyAnswer | None = None


def room_under(folder: str) -> tuple[int, str]:
    """Return how many bytes are free where a folder is or will be, and the folder that was asked."""
    import shutil

    while not os.path.isdir(folder):
        folder = os.path.dirname(folder) or "/"
    return shutil.disk_usage(folder).free, folder
