"""A worker's name belongs to one living process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from shared.errors import SkyharborError
from workers.session.lock import hold_name


def test_a_second_process_of_the_name_is_refused_until_the_first_is_dead(tmp_path: Path) -> None:
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys; from workers.session.lock import hold_name\n"
            "hold_name(sys.argv[1], 'w'); print(1, flush=True); input()",
            str(tmp_path),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"1\n"
    with pytest.raises(SkyharborError, match="already running"):
        hold_name(str(tmp_path), "w", patience=0)
    holder.kill()
    holder.communicate()
    os.close(hold_name(str(tmp_path), "w", patience=5))


def test_two_names_live_side_by_side(tmp_path: Path) -> None:
    held = [hold_name(str(tmp_path), name, patience=0) for name in ("a", "b")]
    for descriptor in held:
        os.close(descriptor)
