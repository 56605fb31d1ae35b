"""Programs that sources start and that never outlive the worker.

The kernel ends the program when the thread that started it is gone (prctl(2), PR_SET_PDEATHSIG). That is asked for
between fork and exec, by a Python that then becomes the program: in a process with threads nothing else may run there.
A program that is to run as another user gets it from ``setpriv``, because a change of user takes it away again.

Rule of the file: nothing of the product is imported; it starts in every child.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Sequence

_PR_SET_PDEATHSIG = 1


def tied(command: Sequence[str], *, user: tuple[int, int] | None = None) -> list[str]:
    """Return the command line that runs a program tied to the calling thread; as this user and group, if given."""
    if user is None:
        return [sys.executable, "-I", os.path.abspath(__file__), str(os.getpid()), *command]
    owner = (f"--reuid={user[0]}", f"--regid={user[1]}", "--clear-groups")
    return ["setpriv", "--pdeathsig", "KILL", *owner, "--", *command]


def main(arguments: Sequence[str]) -> None:
    """Become the program; 127 when there is none."""
    parent, program = int(arguments[0]), list(arguments[1:])
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit(1)  # it was gone before we could ask
    try:
        os.execvp(program[0], program)  # noqa: S606 - a list, no shell
    except OSError as error:
        sys.stderr.write(f"{program[0]}: {error.strerror}\n")
        sys.exit(127)


if __name__ == "__main__":
    main(sys.argv[1:])
