"""Reading what is counted: aggregations, events, and ratios of two of them; each becomes an expression on a source."""

from __future__ import annotations

import re
from dataclasses import replace

from tallystick.definitions.about import About
from tallystick.definitions.fields import IDENTIFIER, Fields
from tallystick.definitions.metric import Aggregate, Formula, Metric
from tallystick.definitions.read_condition import read_where
from tallystick.definitions.read_per_unit import KEYS as PER_UNIT
from tallystick.definitions.read_per_unit import read_per_unit

EXPR = ("expr", "expression", "select_expression")
SOURCE = ("source", "data_source")
SIDES = ("numerator", "denominator")

AGGREGATIONS = {
    "sum": "sum({})",
    "count": "count({})",
    "count_distinct": "count(distinct {})",
    "distinct": "count(distinct {})",
    "approx_count_distinct": "approx_count_distinct({})",
    "avg": "avg({})",
    "average": "avg({})",
    "mean": "avg({})",
    "min": "min({})",
    "max": "max({})",
    "median": "median({})",
    "quantile": "quantile_cont({}, {q})",
    "first": "first({})",
    "last": "last({})",
}
"""What each word of `aggregation` is short for, in DuckDB's spelling."""

_CANONICAL = frozenset({"approx_count_distinct", "median", "quantile"})
"""Aggregations that dialects spell so differently that the text is written anew for the project's."""

_COLUMN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_OPERAND_KEYS = (*EXPR, *SOURCE, "aggregation", "column", "quantile", "event", "where", *PER_UNIT)


def operand_name(metric: str, side: str) -> str:
    """Return the name under which a side of a ratio is computed."""
    return f"{metric}__{side}"


def aggregation(fields: Fields) -> Aggregate | None:
    """Read `aggregation` and its column; None where they do not fit."""
    found = fields.text("aggregation")
    column = fields.text("column")
    share = _share(fields, found)
    if found is None:
        return None
    if found not in AGGREGATIONS:
        hint = f"known: {', '.join(AGGREGATIONS)}; anything else is written as expr"
        fields.report("bad-value", f"'{found}' is not an aggregation", "aggregation", hint=hint)
        return None
    if column is None and found != "count":
        fields.report("missing-key", f"'{found}' needs a column", "aggregation", hint='write column = "…"')
        return None
    if column is not None and not _COLUMN.fullmatch(column):
        hint = f'write expr = "{AGGREGATIONS[found].format("…", q=share or 0.95)}" for anything but a column'
        fields.report("bad-value", f"'{column}' is not the name of a column", "column", hint=hint)
        return None
    if found == "quantile" and share is None:
        return None
    expr = AGGREGATIONS[found].format(column or "*", q=share)
    return aggregate(fields, expr, is_canonical=found in _CANONICAL)


def _share(fields: Fields, found: str | None) -> float | None:
    """Read `quantile`, the share of values that lie below; only the aggregation of that name takes it."""
    written = fields.find("quantile")
    if found != "quantile":
        if written:
            hint = 'write aggregation = "quantile"'
            fields.report("misplaced-key", "'quantile' belongs to an aggregation of that name", "quantile", hint=hint)
        return None
    if written is None:
        fields.report("missing-key", "'quantile' needs its share", "aggregation", hint="write quantile = 0.95")
        return None
    value = written[1]
    if isinstance(value, bool) or not isinstance(value, int | float):
        fields.wrong_type("a number", value, "quantile")
        return None
    if not 0 <= value <= 1:
        fields.report("bad-value", f"{value} is not a share", "quantile", hint="write a number from 0 to 1")
        return None
    return float(value)


def aggregate(fields: Fields, expr: str, *, is_canonical: bool = False) -> Aggregate | None:
    """Build an aggregate; one that names only an event gets its source when names are resolved."""
    source = fields.text(*SOURCE)
    event = fields.text("event")
    where, structured = read_where(fields)
    dialect = fields.text("dialect")
    per_unit = read_per_unit(fields)
    if source is None and event is None:
        if not fields.has(*SOURCE, "event"):
            fields.report_missing(f"metric '{fields.name}' has no source", *SOURCE, hint='write source = "…"')
        return None
    if event is not None:
        where = (event, *where)
        structured = tuple((index + 1, condition) for index, condition in structured)
    return Aggregate(
        source=source or "",
        expr=expr,
        where=where,
        dialect=dialect,
        is_canonical=is_canonical,
        structured=structured,
        per_unit=per_unit,
    )


def with_divisor(fields: Fields, definition: Aggregate | None) -> Aggregate | Formula | None:
    """Read `per_distinct`: the value divided by the number of different things of an entity in the same rows.

    Where an event is counted, the things are those of all rows of its source, so that the value says how much of the
    event there is per active thing (spec tripl §4.2); `where` holds for both sides.
    """
    entity = fields.text("per_distinct")
    if entity is None or definition is None:
        return definition
    if not fields.has("event"):
        return replace(definition, per_distinct=entity)
    event, *shared = definition.where
    # Without a source the event stays for as long as it takes to find out which source it is on.
    where = tuple(shared) if definition.source else (event, *shared)
    things = Aggregate(source=definition.source, expr="", where=where, dialect=definition.dialect, per_distinct=entity)
    return _formula(fields, (definition, things), (fields, fields))


def without_event(definition: Aggregate) -> Aggregate:
    """Return a definition without its first condition, which is its event."""
    structured = tuple((index - 1, condition) for index, condition in definition.structured)
    return replace(definition, where=definition.where[1:], structured=structured)


def ratio(fields: Fields) -> Aggregate | Formula | None:
    """Read `numerator` and `denominator`: names of metrics, formulas over them, or tables that say what is counted."""
    missing = [side for side in SIDES if side not in fields.table]
    for side in missing:
        other = SIDES[1 - SIDES.index(side)]
        fields.report("missing-key", f"'{other}' needs a {side}", other, hint=f'write {side} = "…"')
    tables = [isinstance(fields.table.get(side), dict) for side in SIDES]
    if any(tables):
        return None if missing else _operands(fields, all(tables))
    sides = [fields.text(side) for side in SIDES]
    if sides[0] is None or sides[1] is None:
        return None
    numerator, denominator = (side if IDENTIFIER.fullmatch(side) else f"({side})" for side in sides if side)
    return Formula(expr=f"{numerator} / {denominator}")


def _operands(fields: Fields, are_tables: bool) -> Aggregate | Formula | None:
    fields.known.update(SIDES)
    if not are_tables:
        side = next(side for side in SIDES if not isinstance(fields.table[side], dict))
        hint = "write both sides as tables, or both as names of metrics"
        fields.report("wrong-type", "one side of the ratio is a table and the other is not", side, hint=hint)
        return None
    readers = (fields.sub(SIDES[0]), fields.sub(SIDES[1]))
    top, bottom = _operand(readers[0], fields.name), _operand(readers[1], fields.name)
    if top is None or bottom is None:
        return None
    if top.source and top.per_unit is None and _rows(top) == _rows(bottom):
        return replace(
            top, expr=f"({top.expr}) / ({bottom.expr})", is_canonical=top.is_canonical or bottom.is_canonical
        )
    return _formula(fields, (top, bottom), readers)


def _rows(definition: Aggregate) -> tuple[object, ...]:
    """Return what decides which rows a definition counts."""
    return definition.source, definition.where, definition.structured, definition.per_unit


def _operand(fields: Fields, metric: str) -> Aggregate | None:
    fields.known.update(_OPERAND_KEYS)
    if fields.has(*EXPR):
        text = fields.text(*EXPR)
        found = None if text is None else aggregate(fields, text)
    elif fields.has("aggregation"):
        found = aggregation(fields)
    elif fields.has("event"):
        found = aggregate(fields, "count(*)")
    else:
        hint = 'write { source = "…", aggregation = "sum", column = "…" } or { event = "…" }'
        fields.report_missing(f"the {fields.name} of '{metric}' does not say what it counts", "aggregation", hint=hint)
        found = None
    fields.known.discard("dialect")
    fields.refuse_unknown(within=f"an operand of metric '{metric}'")
    return found


def _formula(fields: Fields, sides: tuple[Aggregate, Aggregate], readers: tuple[Fields, Fields]) -> Formula:
    """Build a formula over two metrics that exist for it alone."""
    operands = tuple(
        Metric(
            name=operand_name(fields.name, side),
            definition=definition,
            about=About(),
            intermediate=True,
            enabled=False,
            operand_of=fields.name,
            origin=reader.origin,
        )
        for side, definition, reader in zip(SIDES, sides, readers, strict=True)
    )
    return Formula(expr=" / ".join(operand.name for operand in operands), operands=operands)
