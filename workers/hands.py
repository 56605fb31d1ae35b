"""The program of the chief and, after a fork, of each hand: ``python -m workers.hands FD [LOG]``.

Rule of the file: the composition root of the hands; beside ``bootstrap`` the only file that knows the source adapters.
"""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import socket
import sys

import structlog

from shared.telemetry.logging import configure_logging
from workers.crew.hand import serve
from workers.sources.opening import open_source

log = structlog.get_logger()


def main() -> None:
    """Fork a hand for every connection that comes over the line; end with the line."""
    configure_logging(log_file=sys.argv[2] if len(sys.argv) > 2 else None, process="hand")
    line = socket.socket(fileno=int(sys.argv[1]))
    # The worker decides when to end: a terminal's or a service manager's signals come to it as well.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, _reap)
    gc.collect()
    gc.freeze()  # what is here now is shared with all hands: no collection needs to touch, and so copy, it
    while True:
        message, fds, _, _ = socket.recv_fds(line, 1, 1)
        if not message:
            return
        try:
            hand = os.fork()
        except OSError:  # no memory, no processes left: the worker sees the end of the line
            log.exception("fork-failed")
            hand = -1
        if hand == 0:
            line.close()
            _be_a_hand(socket.socket(fileno=fds[0]))
        os.close(fds[0])


def _be_a_hand(connection: socket.socket) -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    try:
        serve(connection, open_source)
    except BaseException:
        log.exception("hand-crashed")
    finally:
        os._exit(0)  # nothing of the chief's is this process's to clean up


def _reap(_number: int, _frame: object) -> None:
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


if __name__ == "__main__":
    main()
