"""What may be shown on a terminal: names of files are other people's, and a terminal obeys what stands in them."""

from __future__ import annotations

import io
import sys

_LAYOUT = "\n\t"


def printable(text: str) -> str:
    r"""Return the text with everything that could command a terminal shown as ``\xNN`` or ``\uNNNN``."""
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() else _escaped(letter) for letter in text)


def printable_lines(text: str) -> str:
    """Return several lines, such as the end of a log, in the same way; line ends and tabs are kept."""
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() or letter in _LAYOUT else _escaped(letter) for letter in text)


def spell_out() -> None:
    r"""Let stdout show letters that its encoding does not have as ``\xNN`` or ``\uNNNN``, as stderr does.

    A name that a Latin-1 or ASCII terminal cannot show must not end the list that it stands in.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def _escaped(letter: str) -> str:
    code = ord(letter)
    # A byte of a command-line argument that is no UTF-8 arrives as a lone surrogate.
    if 0xDC80 <= code <= 0xDCFF:
        code -= 0xDC00
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
