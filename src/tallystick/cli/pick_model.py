"""The picker on a terminal: names on top, the SQL of the one under the cursor below."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.rule import Rule
from rich.text import Text

from tallystick.cli.keys import raw_keys
from tallystick.cli.picker import Outcome, Picker, press

_FEWEST, _MOST = 3, 12
_OTHER_LINES = 3


def pick(names: Sequence[str], preview: Callable[[str], Text]) -> str | None:
    """Let the user choose a name on the terminal; None where they leave. `preview` returns the SQL of a name."""
    console = Console(stderr=True)
    seen = cache(preview)
    picker = _fitted(Picker(tuple(names)), console)
    with raw_keys() as keys, Live(console=console, screen=True, auto_refresh=False) as live:
        live.update(screen(picker, seen, console.height), refresh=True)
        for key in keys:
            picker = _fitted(press(picker, key), console)
            if picker.outcome is not Outcome.OPEN:
                break
            live.update(screen(picker, seen, console.height), refresh=True)
    return picker.choice if picker.outcome is Outcome.CHOSEN else None


def _fitted(picker: Picker, console: Console) -> Picker:
    return replace(picker, page=max(_FEWEST, min(_MOST, console.height // 3)))


def screen(picker: Picker, preview: Callable[[str], Text], height: int) -> RenderableType:
    """Return what is shown: the typed text, the names around the cursor, and the SQL of the chosen one."""
    first, names = picker.visible
    total, found = len(picker.names), len(picker.matches)
    head = Text.assemble(("> ", "bold cyan"), picker.typed, ("▏", "cyan"), no_wrap=True, overflow="ellipsis")
    rows = [
        Text(("❯ " if first + place == picker.cursor else "  ") + name, _style(first + place == picker.cursor))
        for place, name in enumerate(names)
    ]
    for row in rows:
        row.no_wrap, row.overflow = True, "ellipsis"
    blank = [Text("") for _ in range(picker.page - len(rows))]
    keys = f"{found} of {total} · type to filter · ↑ ↓ · Enter prints · Esc leaves"
    sql = preview(picker.choice) if picker.choice is not None else Text("no model has such a name", "dim")
    lines = sql.split("\n")[: max(1, height - picker.page - _OTHER_LINES)]
    for line in lines:
        line.no_wrap, line.overflow = True, "ellipsis"
    return Group(head, *rows, *blank, Rule(Text(keys, "dim"), style="dim", align="left"), *lines)


def _style(chosen: bool) -> str:
    return "bold" if chosen else ""
