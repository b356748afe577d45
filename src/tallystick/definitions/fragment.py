"""SQL that users write inside definitions: checked by the guard, then parsed once for whoever looks into it."""

from __future__ import annotations

import re
from functools import lru_cache

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from tallystick.errors import ExpressionError, GuardError, Location
from tallystick.sql import guard
from tallystick.sql.macro_calls import MACROS
from tallystick.sql.macros import parse_template

_MACROS = tuple(f"@{name}" for name in MACROS)
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_LITERALS = frozenset({"true", "false", "null"})


def is_name(text: str) -> bool:
    """Tell whether a text is one bare identifier, and so a name rather than SQL; `true` is none."""
    return _NAME.fullmatch(text.strip()) is not None and text.strip().lower() not in _LITERALS


def check_query(text: str, dialect: str, allowed: tuple[str, ...] = ()) -> None:
    """Raise DefinitionError unless a text is one query that only reads, with known functions and `allowed` ones."""
    try:
        guard.query(text, dialect, allow_functions=allowed)
    except GuardError:
        parse_query(text, dialect)
        raise


def check_condition(text: str, dialect: str, allowed: tuple[str, ...] = ()) -> None:
    """Raise DefinitionError unless a text is one condition on a row."""
    try:
        guard.fragment(text, dialect, allow_functions=allowed)
    except GuardError:
        parse_fragment(text, dialect)
        raise


def check_expression(text: str, dialect: str, allowed: tuple[str, ...] = ()) -> None:
    """Raise DefinitionError unless a text is one expression over rows, or groups of rows."""
    try:
        guard.expression(text, dialect, allow_functions=allowed)
    except GuardError:
        # Where the text is no SQL at all, the parser's own complaint points at the token.
        parse_fragment(text, dialect)
        raise


def check_template(text: str, dialect: str, allowed: tuple[str, ...] = ()) -> None:
    """Raise DefinitionError unless a text is one query with macros that only reads (spec oso §5)."""
    try:
        tree = parse_template(text, dialect)
        guard.check(tree, dialect, allow_functions=(*allowed, *_MACROS), allow_nodes=(exp.Parameter,))
    except RecursionError as error:
        raise ExpressionError("the query is nested too deeply", hint="split it into several") from error


@lru_cache(maxsize=8192)
def parse_fragment(text: str, dialect: str) -> exp.Expr:
    """Parse one scalar expression; raise ExpressionError placed within the text. The tree is shared: never change it."""
    tree = _parse(text, dialect)
    if isinstance(tree, exp.Query | exp.Command | exp.DDL | exp.DML | exp.Alias):
        raise ExpressionError(f"'{_short(text)}' is not a single expression", hint="write one condition or value")
    return tree


@lru_cache(maxsize=1024)
def parse_query(text: str, dialect: str) -> exp.Query:
    """Parse one query; raise ExpressionError placed within the text. The tree is shared: never change it."""
    tree = _parse(text, dialect)
    if not isinstance(tree, exp.Query):
        raise ExpressionError(f"'{_short(text)}' is not a query", hint="write one SELECT")
    return tree


def _parse(text: str, dialect: str) -> exp.Expr:
    try:
        trees = [tree for tree in sqlglot.parse(text, dialect=dialect) if tree is not None]
    except SqlglotError as error:
        raise _syntax_error(text, error) from error
    except RecursionError as error:
        raise ExpressionError(f"'{_short(text)}' is nested too deeply") from error
    if len(trees) != 1:
        raise ExpressionError(f"'{_short(text)}' is {len(trees) or 'no'} statements", hint="write exactly one")
    if not isinstance(trees[0], exp.Expr):
        raise ExpressionError(f"'{_short(text)}' is not a single expression")
    return trees[0]


def _syntax_error(text: str, error: SqlglotError) -> ExpressionError:
    details = getattr(error, "errors", None) or [{}]
    reason = _reason(details[0].get("description"), details[0].get("highlight"))
    place = _place(text, details[0].get("line"), details[0].get("col"), details[0].get("highlight"))
    return ExpressionError(f"'{_short(text)}' does not parse: {reason}", at=place)


def _reason(description: str | None, token: str | None) -> str:
    if description is None:
        return "a quote or comment is never closed"
    if description.startswith("Expecting"):
        return f"{description[0].lower()}{description[1:].rstrip('.')} after '{token}'"
    return f"unexpected '{token}'" if token else "it ends too early"


def _place(text: str, line: int | None, end: int | None, token: str | None) -> Location | None:
    """Return where the refused token begins; sqlglot counts to its last character."""
    if not line or not end:
        return None
    lines = text.split("\n")
    column = max(1, end - len(token or " ") + 1)
    if line > len(lines):
        return None
    return Location(None, line, min(column, len(lines[line - 1]) + 1))


def _short(text: str) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= 60 else f"{flat[:57]}…"
