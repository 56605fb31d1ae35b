"""QEMU's image tools, as children.

Rule of the file: every call has an end, and every failure is ``source-failed`` with what the tool said.
"""

from __future__ import annotations

import json
import subprocess
from typing import Any

from shared.errors import SkyharborError
from workers.sources.children import tied

_PATIENCE = 60.0
_MOST_SAID = 500


def make_qcow2(path: str, size: int) -> None:
    """Make an empty image of so many bytes."""
    _run("create", "-q", "-f", "qcow2", path, str(size))


def chain_of(path: str, image_format: str) -> list[dict[str, Any]]:
    """Return what is known of an image and the images that it stands on, itself first."""
    told = _run("info", "--output=json", "--backing-chain", "-f", image_format, path)
    chain: list[dict[str, Any]] = json.loads(told)
    return chain


def _run(*arguments: str) -> bytes:
    try:
        done = subprocess.run(
            tied(["qemu-img", *arguments]),
            capture_output=True,
            timeout=_PATIENCE,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired as error:
        raise SkyharborError("source-failed", f"qemu-img {arguments[0]}: not done in {_PATIENCE:.0f} s") from error
    if done.returncode:
        said = done.stderr.decode("utf-8", "backslashreplace").strip()[-_MOST_SAID:]
        raise SkyharborError("source-failed", said or f"qemu-img {arguments[0]} has failed")
    return done.stdout
