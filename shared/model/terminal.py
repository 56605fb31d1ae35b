"""What may be shown on a terminal: names of files are other people's, and a terminal obeys what stands in them."""

from __future__ import annotations

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


def _escaped(letter: str) -> str:
    code = ord(letter)
    # A byte of a command-line argument that is no UTF-8 arrives as a lone surrogate.
    if 0xDC80 <= code <= 0xDCFF:
        code -= 0xDC00
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
