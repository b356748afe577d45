"""SQL and its differences as coloured text for a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.syntax import ANSI_DARK, ANSISyntaxTheme, Syntax
from rich.text import Text

DEFINITION = "bold yellow"
"""How the part of the SQL that comes from the user's definition looks."""

_THEME = ANSISyntaxTheme({token: style for token, style in ANSI_DARK.items() if token != ("Error",)})
"""Without a look for mistakes: the highlighter takes the parameters of half the dialects for one."""

_DIFF = {"+++": "bold", "---": "bold", "@@": "cyan", "+": "green", "-": "red"}


def sql_text(sql: str, ranges: Sequence[tuple[int, int]]) -> Text:
    """Return SQL in colours, with the ranges that come from the definition standing out."""
    text = Syntax("", "sql", theme=_THEME, background_color="default").highlight(sql)
    text.rstrip()
    for start, end in ranges:
        text.stylize(DEFINITION, start, end)
    return text


def diff_text(diff: str) -> Text:
    """Return a unified diff in colours."""
    text = Text()
    for line in diff.splitlines():
        style = next((style for start, style in _DIFF.items() if line.startswith(start)), "")
        text.append(line + "\n", style)
    text.rstrip()
    return text


def write_text(text: Text) -> None:
    """Write coloured text to stdout; long lines are left to the terminal."""
    Console(soft_wrap=True).print(text)
