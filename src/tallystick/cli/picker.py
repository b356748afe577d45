"""Choosing one of many names by typing a part of it: a state, what each key makes of it, and no terminal."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum, auto


class Key(Enum):
    """A key that is not a character."""

    UP = auto()
    DOWN = auto()
    PAGE_UP = auto()
    PAGE_DOWN = auto()
    HOME = auto()
    END = auto()
    BACKSPACE = auto()
    CLEAR = auto()
    WORD = auto()
    ENTER = auto()
    LEAVE = auto()


class Outcome(Enum):
    """Whether a choice is still being made."""

    OPEN = auto()
    CHOSEN = auto()
    LEFT = auto()


@dataclass(frozen=True, slots=True)
class Picker:
    """The names there are, what has been typed, and the place of the cursor among the names that match it."""

    names: tuple[str, ...]
    typed: str = ""
    cursor: int = 0
    page: int = 10
    outcome: Outcome = Outcome.OPEN

    @property
    def matches(self) -> tuple[str, ...]:
        """Return the names that hold every typed word: those that begin with the first one come first."""
        words = self.typed.lower().split()
        found = [name for name in self.names if all(word in name.lower() for word in words)]
        return tuple(sorted(found, key=lambda name: not name.lower().startswith(words[0]))) if words else tuple(found)

    @property
    def choice(self) -> str | None:
        """Return the name under the cursor."""
        matches = self.matches
        return matches[self.cursor] if matches else None

    @property
    def visible(self) -> tuple[int, tuple[str, ...]]:
        """Return the names of the page the cursor is on, and the place of the first of them."""
        matches = self.matches
        first = max(0, min(self.cursor - self.page // 2, len(matches) - self.page))
        return first, matches[first : first + self.page]


def press(picker: Picker, key: Key | str) -> Picker:
    """Return what a picker becomes when a key is pressed; a text is typed as it is."""
    if picker.outcome is not Outcome.OPEN:
        return picker
    if isinstance(key, str):
        added = "".join(character for character in key if character.isprintable())
        return replace(picker, typed=picker.typed + added, cursor=0) if added else picker
    if key in _MOVES:
        return _moved(picker, key)
    if key in _DELETES:
        return replace(picker, typed=_DELETES[key](picker.typed), cursor=0)
    match key:
        case Key.ENTER if picker.choice is not None:
            return replace(picker, outcome=Outcome.CHOSEN)
        case Key.LEAVE:
            return replace(picker, outcome=Outcome.LEFT)
    return picker


_DELETES: dict[Key, Callable[[str], str]] = {
    Key.BACKSPACE: lambda typed: typed[:-1],
    Key.WORD: lambda typed: typed.rstrip().rpartition(" ")[0],
    Key.CLEAR: lambda _: "",
}
_MOVES = frozenset({Key.UP, Key.DOWN, Key.PAGE_UP, Key.PAGE_DOWN, Key.HOME, Key.END})


def _moved(picker: Picker, key: Key) -> Picker:
    """Move the cursor: line by line it goes round, page by page it stops at the ends."""
    last = len(picker.matches) - 1
    if last < 0:
        return picker
    match key:
        case Key.UP:
            place = (picker.cursor - 1) % (last + 1)
        case Key.DOWN:
            place = (picker.cursor + 1) % (last + 1)
        case Key.PAGE_UP:
            place = max(0, picker.cursor - picker.page)
        case Key.PAGE_DOWN:
            place = min(last, picker.cursor + picker.page)
        case _:
            place = 0 if key is Key.HOME else last
    return replace(picker, cursor=place)
