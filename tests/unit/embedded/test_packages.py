"""A package of somebody else under one of our names is told clearly before it can do harm."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import orchestrator

CODE = os.path.dirname(os.path.dirname(os.path.abspath(orchestrator.__file__)))


@pytest.mark.parametrize("package", ["shared", "workers"])
@pytest.mark.parametrize("command", [["status"], ["api"], ["loops"], ["auditor"]])
def test_a_foreign_package_is_refused_by_name(tmp_path: Path, package: str, command: list[str]) -> None:
    (tmp_path / package).mkdir()
    (tmp_path / package / "__init__.py").write_text("")

    done = subprocess.run(
        [sys.executable, "-P", "-m", "orchestrator", *command],
        env={"PYTHONPATH": f"{tmp_path}:{CODE}", "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 1
    assert "foreign-package" in done.stderr
    assert f"{tmp_path}/{package}/__init__.py" in done.stderr
    assert "Traceback" not in done.stderr
