"""Keys as a terminal sends them, read one by one without waiting for a line."""

from __future__ import annotations

import os
import select
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from tallystick.cli.picker import Key

_SEQUENCES = {
    "\x1b[A": Key.UP, "\x1bOA": Key.UP, "\x10": Key.UP,
    "\x1b[B": Key.DOWN, "\x1bOB": Key.DOWN, "\x0e": Key.DOWN,
    "\x1b[5~": Key.PAGE_UP, "\x1b[6~": Key.PAGE_DOWN,
    "\x1b[H": Key.HOME, "\x1bOH": Key.HOME, "\x1b[1~": Key.HOME,
    "\x1b[F": Key.END, "\x1bOF": Key.END, "\x1b[4~": Key.END,
    "\x7f": Key.BACKSPACE, "\x08": Key.BACKSPACE, "\x15": Key.CLEAR, "\x17": Key.WORD,
    "\r": Key.ENTER, "\n": Key.ENTER,
    "\x1b": Key.LEAVE, "\x03": Key.LEAVE, "\x04": Key.LEAVE,
}  # fmt: skip
_ESCAPE = "\x1b"
_REST_SECONDS = 0.05
"""How long the rest of an escape sequence may take; an escape key alone has no rest."""


def decode(text: str) -> Iterator[Key | str]:
    """Yield the keys in what a terminal sent: known sequences as keys, characters as text, other sequences not."""
    while text:
        length = _sequence(text)
        piece, text = text[:length], text[length:]
        known = _SEQUENCES.get(piece)
        if known is not None:
            yield known
        elif piece.isprintable():
            yield piece


def _sequence(text: str) -> int:
    """Return the length of the first key: an escape sequence ends with its first letter or tilde."""
    if not text.startswith((f"{_ESCAPE}[", f"{_ESCAPE}O")):
        return 1
    for place in range(2, len(text)):
        if text[place].isalpha() or text[place] == "~":
            return place + 1
    return len(text)


@contextmanager
def raw_keys() -> Iterator[Iterator[Key | str]]:
    """Switch the terminal on stdin to single keys, and back at the end; yield the keys as they are pressed."""
    if os.name == "nt":
        yield _windows_keys()
        return
    import termios

    stdin = sys.stdin.fileno()
    before = termios.tcgetattr(stdin)
    single = termios.tcgetattr(stdin)
    # Unlike raw mode, this leaves the output as it is: line ends still go back to the first column.
    single[3] &= ~(termios.ECHO | termios.ICANON | termios.ISIG | termios.IEXTEN)
    termios.tcsetattr(stdin, termios.TCSADRAIN, single)
    try:
        yield _unix_keys(stdin)
    finally:
        termios.tcsetattr(stdin, termios.TCSADRAIN, before)


def _unix_keys(stdin: int) -> Iterator[Key | str]:
    while sent := os.read(stdin, 1024):
        if sent.endswith(_ESCAPE.encode()) or sent[-1] >= 0x80:
            while select.select([stdin], [], [], _REST_SECONDS)[0] and (more := os.read(stdin, 1024)):
                sent += more
        yield from decode(sent.decode("utf-8", "ignore"))
    yield Key.LEAVE


def _windows_keys() -> Iterator[Key | str]:
    import msvcrt

    arrows = {"H": Key.UP, "P": Key.DOWN, "I": Key.PAGE_UP, "Q": Key.PAGE_DOWN, "G": Key.HOME, "O": Key.END}
    while True:
        character = msvcrt.getwch()  # type: ignore[attr-defined,unused-ignore]
        if character in ("\x00", "\xe0"):
            if key := arrows.get(msvcrt.getwch()):  # type: ignore[attr-defined,unused-ignore]
                yield key
        else:
            yield from decode(character)
