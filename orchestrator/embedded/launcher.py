"""The last step before a child becomes its program: tie its life to ours, leave uid 0 behind if asked, then exec.

Rule of the file: it runs as a script of its own (``python -I -S launcher.py``), single-threaded and with the standard
library only, because a user namespace can be entered by a single-threaded process only and code between fork and exec
of a threaded parent must not allocate. Nothing imports it but for its path and its exit code.

Order matters: entering a namespace changes credentials, and the kernel then forgets the parent-death signal; so the
signal is set after it. A parent that died before the signal was set is noticed by asking for the parent's id last.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

CLONE_NEWUSER = 0x10000000
PR_SET_PDEATHSIG = 1
UNPRIVILEGED = 65534  # "nobody" everywhere on Linux; only seen inside the namespace
EXIT_NOT_STARTED = 97


def _enter_user_namespace(libc: ctypes.CDLL) -> None:
    """Map the caller to an unprivileged id: the program sees uid 65534, the disk goes on seeing the caller."""
    uid, gid = os.geteuid(), os.getegid()
    if libc.unshare(CLONE_NEWUSER):
        raise OSError(ctypes.get_errno(), "unshare(CLONE_NEWUSER)")
    for name, text in (
        ("setgroups", "deny"),
        ("uid_map", f"{UNPRIVILEGED} {uid} 1"),
        ("gid_map", f"{UNPRIVILEGED} {gid} 1"),
    ):
        with open(f"/proc/self/{name}", "w", encoding="ascii") as handle:
            handle.write(text)


def main(argv: list[str]) -> int:
    """Become ``argv[4:]``. Arguments: parent pid, parent-death signal, ``same`` or ``namespace``, ``--``, program.

    Returns only when that was impossible, with ``EXIT_NOT_STARTED`` and the reason on standard error.
    """
    parent, death_signal, identity, program = int(argv[0]), int(argv[1]), argv[2], argv[4:]
    libc = ctypes.CDLL(None, use_errno=True)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    try:
        if identity == "namespace":
            _enter_user_namespace(libc)
        if libc.prctl(PR_SET_PDEATHSIG, death_signal, 0, 0, 0):
            raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
        if os.getppid() != parent:
            return EXIT_NOT_STARTED
        os.execv(program[0], program)  # noqa: S606 - a list, from our own parent
    except OSError as error:
        sys.stderr.write(f"launcher: cannot start {program[0]} ({identity}): {error}\n")
        if identity == "namespace":
            sys.stderr.write(
                "launcher: PostgreSQL does not run as root, and this machine refuses a user namespace. Run Skyharbor "
                "as an ordinary user, or set SKYHARBOR_DATABASE_URL to a PostgreSQL of your own.\n"
            )
    return EXIT_NOT_STARTED


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
