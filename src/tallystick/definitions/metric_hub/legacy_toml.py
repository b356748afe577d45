"""What metric-hub's TOML parser makes of multi-line strings, for compat mode.

It drops every empty line after the opening quotes (TOML drops one) and the spaces at the end of the first
line that is left. Expected SQL contains the difference, so compat reproduces it.
"""

from __future__ import annotations

import re

_SUSPECT = re.compile(r"(?:\"\"\"|''')(?:\n\n|\n?[^\n]*[ \t]\n|\n?[^\n]*\\\n)")
_STRING = re.compile(
    r'"""(?P<basic>(?:[^"\\]|\\.|"(?!""))*"{3,5})'
    r"|'''(?P<literal>(?:[^']|'(?!''))*'{3,5})"
    r'|"(?:[^"\\\n]|\\.)*"'
    r"|'[^'\n]*'"
    r"|\#[^\n]*",
    re.DOTALL,
)


def rewrite(text: str) -> tuple[str, tuple[int, ...]]:
    """Return the text as that parser understands it, and the lines (from 1) of the strings that change."""
    if not _SUSPECT.search(text):
        return text, ()
    changed: list[int] = []

    def replace(match: re.Match[str]) -> str:
        kind = match.lastgroup
        if kind is None:
            return match[0]
        body = _body(match[kind], is_basic=kind == "basic")
        if body == match[kind]:
            return match[0]
        changed.append(text.count("\n", 0, match.start()) + 1)
        return match[0][:3] + body

    return _STRING.sub(replace, text), tuple(changed)


def _body(body: str, *, is_basic: bool) -> str:
    """Rewrite what stands between the quotes (the closing ones included)."""
    opening = "\n" if body.startswith("\n") else ""
    rest = body.lstrip("\n") if opening else body
    first, newline, others = rest.partition("\n")
    while is_basic and newline and first.rstrip(" \t").endswith("\\"):
        continued, newline, others = others.lstrip().partition("\n")
        first = first.rstrip(" \t")[:-1] + continued
    if newline and not first.strip(" \t") and not opening:
        opening = "\n"  # without it, TOML would take the line break for the one after the quotes
    return opening + (first.rstrip(" \t") if newline else first) + newline + others
