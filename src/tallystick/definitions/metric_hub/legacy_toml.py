"""What metric-hub's TOML parser makes of multi-line strings, for compat mode.

That parser reads lines, not tokens, and so departs from TOML in three places that reach the SQL:

* a line break after two equal quotes is swallowed, inside a string too (`agg_sum(\"\"\"⏎` loses its break);
* the spaces at the end of the first line that is left are dropped;
* a line after a continued one loses the spaces at both its ends.
"""

from __future__ import annotations

import re

_STRING = re.compile(
    r'(?P<basic>"""(?:[^"\\]|\\.|"(?!""))*"{3,5})'
    r"|(?P<literal>'''(?:[^']|'(?!''))*'{3,5})"
    r'|"(?:[^"\\\n]|\\.)*"'
    r"|'[^'\n]*'"
    r"|\#[^\n]*",
    re.DOTALL,
)
_MULTI_LINE = ('"""', "'''")
_QUOTES = ('""', "''")


def rewrite(text: str) -> tuple[str, tuple[int, ...]]:
    """Return the text as that parser understands it, and the lines (from 1) of the strings that change."""
    if not any(quotes in text for quotes in _MULTI_LINE):
        return text, ()
    changed: list[int] = []

    def replace(match: re.Match[str]) -> str:
        if match.lastgroup is None or "\n" not in match[0]:
            return match[0]
        meant = _as_lines(match[0])
        if meant != _plain(match[0]):
            changed.append(text.count("\n", 0, match.start()) + 1)
        return meant

    return _STRING.sub(replace, text), tuple(changed)


def _plain(string: str) -> str:
    """Return the string without the line break TOML itself ignores after the opening quotes."""
    return string[:3] + string[4:] if string[3] == "\n" else string


def _as_lines(string: str) -> str:
    quote = string[0]
    lines = _swallow_breaks(string).split("\n")
    whole = lines[0].rstrip() if len(lines) > 1 else lines[0]
    for number, line in enumerate(lines[1:], 2):
        is_continued = _ends_in_backslash(whole)
        if is_continued and not line.strip():
            continue
        if is_continued:
            whole = whole[:-1] + (line.strip() if number < len(lines) else line.lstrip())
        else:
            whole = f"{whole}\n{line}"
    whole = whole.lstrip()
    if whole.startswith(quote * 3 + "\n"):  # TOML would ignore this break: it is not the one after the quotes
        whole = f"{quote * 3}\n{whole[3:]}"
    return whole


def _swallow_breaks(string: str) -> str:
    """Replace a line break after two equal quotes by a third quote, and a quote before them by a space."""
    if not any(f"{pair}\n" in string for pair in _QUOTES):
        return string
    chars = list(string)
    for at in range(2, len(chars)):
        quote = chars[at - 1]
        if chars[at] == "\n" and quote in "'\"" and chars[at - 2] == quote:
            if quote == string[0] and at > 3 and "".join(chars[:at]).strip() != quote * 3:
                continue  # the parser breaks such a string apart; leave it alone
            chars[at] = quote
            if at >= 3 and chars[at - 3] == quote:
                chars[at - 3] = " "
    return "".join(chars)


def _ends_in_backslash(text: str) -> bool:
    return (len(text) - len(text.rstrip("\\"))) % 2 == 1
