"""What the server's status numbers mean for a backup ([MS-ERREF] 2.3).

Rule of the file: numbers to meanings; a status that is not named here is shown as its number.
"""

from __future__ import annotations

from typing import Final

OK: Final = 0
PENDING: Final = 0x00000103
MORE: Final = 0x80000005  # STATUS_BUFFER_OVERFLOW: there is more than fits
NO_MORE_FILES: Final = 0x80000006
END_OF_FILE: Final = 0xC0000011
ACCESS_DENIED: Final = 0xC0000022
EXISTS: Final = 0xC0000035
NO_SUCH_FILE: Final = 0xC000000F
IS_DIRECTORY: Final = 0xC00000BA
NOT_A_DIRECTORY: Final = 0xC0000103
PRIVILEGE: Final = 0xC0000061
BAD_OWNER: Final = 0xC000005A

_NAMES: Final = {
    NO_SUCH_FILE: "it is not there",
    0xC0000034: "it is not there",
    0xC000003A: "its folder is not there",
    0xC0000056: "it is being deleted",
    0xC0000033: "the server does not take its name",
    0xC0000039: "the server does not take its path",
    ACCESS_DENIED: "access denied",
    0xC0000043: "another program has it open and does not share it",
    0xC0000054: "another program has locked a part of it",
    0xC000007F: "the disk is full",
    0xC0000044: "the quota is exceeded",
    0xC00000E9: "an unexpected I/O error of the server",
    0xC0000185: "an I/O error of the server's disk",
    0xC0000257: "it is on another server (DFS)",
    EXISTS: "the name is taken",
    IS_DIRECTORY: "it is a directory",
    NOT_A_DIRECTORY: "it is no directory",
    PRIVILEGE: "a privilege is missing",
    BAD_OWNER: "this user may not give it to that owner",
    0xC000009A: "the server has run out of resources",
    0xC00000BB: "the server cannot do that",
    0xC0000010: "the server cannot do that",
}
VANISHED: Final = frozenset({NO_SUCH_FILE, 0xC0000034, 0xC000003A, 0xC0000056, NOT_A_DIRECTORY})
FULL: Final = frozenset({0xC000007F, 0xC0000044})
LOST: Final = frozenset({0xC00000C9, 0xC0000203, 0xC000035C, 0xC000020C, 0xC0000128})
"""The share, the session, the connection or a handle is gone: somebody has to dial again."""
STARVED: Final = frozenset({0xC000009A, 0xC0000205, 0xC000011F})
"""The server has run out of something: nothing is wrong with the node."""


class Refused(Exception):
    """The server answered with a status that is no success."""

    def __init__(self, status: int) -> None:
        self.status = status
        super().__init__(shown(status))


def shown(status: int) -> str:
    """Return a status in words."""
    return _NAMES.get(status, f"status 0x{status:08X}")
