"""A program that backs up in children which kill themselves at a named point inside the local store.

    python -m tests.faults.dying < orders

Every line of ``orders`` is JSON: vault, tree, point (an id), moment (of ``MOMENTS``) and nth. Each is answered by a
line: ``killed``, or ``survived`` when the moment did not come so often.

Rule of the file: one process is started, and forks for every order, because starting Python costs more than a backup.
It has no threads of its own, so forking is safe.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable, Sequence
from itertools import count
from typing import Any, NoReturn

import pytest

from shared.storage import local, local_draft
from shared.storage.local import LocalStore
from tests.faults.scene import SECURE_OFTEN, rig_on, small_packs

Call = Callable[..., Any]


def die() -> NoReturn:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("nobody survives this")


def before(_inner: Call, *_args: object) -> None:
    die()


def after(inner: Call, *args: object) -> None:
    inner(*args)
    die()


def half(_inner: Call, descriptor: int, parts: Sequence[bytes]) -> None:
    data = b"".join(parts)
    os.write(descriptor, data[: len(data) // 2])
    die()


MOMENTS: dict[str, tuple[str, Call]] = {
    "temporary file half written": ("write_all", half),
    "temporary file written but not synced": ("write_all", after),
    "about to get its name": ("link_or_rename", before),
    "named but its folder not synced": ("link_or_rename", after),
    "folder made but not synced": ("_make_folder", after),
    "folder synced but the caller not told": ("sync_folder", after),
}


def arm(moment: str, nth: int) -> None:
    """Make this process die at the n-th time of a moment."""
    name, how = MOMENTS[moment]
    module = local if name == "_make_folder" else local_draft
    inner, numbers = getattr(module, name), count(1)

    def armed(*args: object) -> object:
        return how(inner, *args) if next(numbers) == nth else inner(*args)

    setattr(module, name, armed)


def back_up(order: dict[str, Any]) -> None:
    rig = rig_on(LocalStore(order["vault"]))
    rig.backup(order["tree"], point_id=order["point"], options=SECURE_OFTEN)


def main() -> None:
    small_packs(pytest.MonkeyPatch())
    for line in sys.stdin:
        order = json.loads(line)
        child = os.fork()
        if child == 0:
            arm(order["moment"], order["nth"])
            back_up(order)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        answer = {0: "survived", -signal.SIGKILL: "killed"}.get(os.waitstatus_to_exitcode(status), "failed")
        print(answer, flush=True)  # noqa: T201 - this is how it answers


if __name__ == "__main__":
    main()
