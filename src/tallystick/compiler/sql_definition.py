"""SQL definitions compiled: one parse per definition, one copy of its tree per model (spec oso §4).

*Intermediate* trees have everything filled in that follows from the model and keep the macros of a run
(`@metrics_start('DATE')`); *full* ones have the dates of a run bound.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date, timedelta
from enum import StrEnum
from functools import lru_cache
from typing import TypeVar

from sqlglot import exp

from tallystick.compiler.binding import bound_template, drop_constant_keys
from tallystick.compiler.definition_context import DefinitionContext, key_of
from tallystick.compiler.entity_join import base_entity, join_entity
from tallystick.compiler.local_days import keep_local_days
from tallystick.compiler.model import Model, TimeView
from tallystick.compiler.peers import peer_model, peer_table
from tallystick.compiler.rolling import roll
from tallystick.compiler.run_dates import SAMPLE_DATE, all_time_run, bind_run, calendar_run, covered, is_bounded, within
from tallystick.definitions.metric import Metric, SqlQuery
from tallystick.errors import CompileError, DefinitionError, Location, MacroError, TallystickError
from tallystick.sql import buckets
from tallystick.sql.grain import Window, WindowUnit
from tallystick.sql.macro_calls import (
    MACROS,
    RUN_VARIABLES,
    arguments_of,
    calls,
    fill,
    location,
    spelled_out,
    unknown_variable,
    variables_of,
)
from tallystick.sql.positions import Notes, mark_definition

_Error = TypeVar("_Error", bound=TallystickError)
_Tree = TypeVar("_Tree", bound=exp.Expr)

_OF_VIEW = "of_view"
"""The note on a literal that ends with the time view, holding what comes before."""
_OWN_NAME = "generated_metric_name"
_NAMING = frozenset({"metric_name", "metrics_name"})
_VIEW_VARIABLES = frozenset({"time_aggregation", "rolling_window", "rolling_unit"})


class Stage(StrEnum):
    """How far a definition is filled in."""

    INTERMEDIATE = "intermediate"
    FULL = "full"


def compile_definition(
    metric: Metric,
    model: Model,
    context: DefinitionContext,
    *,
    stage: Stage | str = Stage.FULL,
    start: date | None = None,
    end: date | None = None,
    as_of: date | None = None,
    marked: bool = False,
) -> exp.Query:
    """Compile an SQL definition to the query of one model; `marked` notes on nodes what the user wrote.

    In the full stage a grain covers the whole buckets around `[start, end)`, a rolling window has a row for each
    day of `[start, end)` (or the one day `as_of`), and all time ends with the day `as_of`.

    Raises ExpressionError, MacroError or CompileError, located in the file of the definition where it is known.
    """
    try:
        tree = specialise(metric, model, context, marked=marked)
        keep_local_days(tree, model.time, context)
        if Stage(stage) is Stage.INTERMEDIATE:
            return tree
        tree = _run(tree, metric, model.time, context, start, end, as_of)
        drop_constant_keys(tree)
    except (DefinitionError, CompileError) as error:
        raise _located(error, metric) from None
    return tree


def render_definition(query: exp.Query, dialect: str, *, pretty: bool = True) -> str:
    """Return the text of a compiled definition; macros that are left keep their lower-case names."""
    return spelled_out(query, dialect).sql(dialect, pretty=pretty, normalize_functions=False)


def specialise(metric: Metric, model: Model, context: DefinitionContext, *, marked: bool = False) -> exp.Query:
    """Return the intermediate tree of a model: variables, names, peers and entity filled in.

    The views of a metric and entity mostly differ in the metric's name alone; then all are copies of the first one.
    """
    definition = definition_of(metric)
    if marked or _depends_on_view(definition.sql, context.dialect_of(definition)):
        return _specialised(metric, model, context, marked=marked)
    known = context.trees.get(model.entity)
    if known is None or known[0] is not metric:
        known = context.trees[model.entity] = metric, _specialised(metric, model, context)
    tree = known[1].copy()
    return of_view(tree, model.time)


def of_view(tree: _Tree, time: TimeView) -> _Tree:
    """Let the names in a tree that end with the time view end with another one, in place; return the tree."""
    for literal in tree.find_all(exp.Literal):
        if (name := literal.meta_get(_OF_VIEW)) is not None:
            literal.set("this", f"{name}_{time.suffix}")
    return tree


def is_of_view(node: exp.Expr) -> bool:
    """Tell whether a node is the end of a name that says which time view its rows are of."""
    return isinstance(node, exp.Literal) and node.meta_get(_OF_VIEW) is not None


@lru_cache(maxsize=4096)
def _depends_on_view(text: str, dialect: str) -> bool:
    """Tell whether a definition says more about the time view it is compiled for than the name of the metric."""
    template = bound_template(text, dialect)
    return not variables_of(template).isdisjoint(_VIEW_VARIABLES) or any(
        macro.name in ("metrics_peer_ref", "relative_window_sample_date") for _, macro in calls(template)
    )


def _specialised(metric: Metric, model: Model, context: DefinitionContext, *, marked: bool = False) -> exp.Query:
    definition = definition_of(metric)
    tree = bound_template(definition.sql, context.dialect_of(definition)).copy()
    if marked:
        mark_definition(tree)
    values = variables(metric, model)
    _fill(tree, values)
    for node, macro in reversed(list(calls(tree))):
        if not macro.run:
            node.replace(_COMPILED[macro.name](node, metric, model, context))
    tree = join_entity(tree, base_entity(definition, context), model.entity, context)
    drop_constant_keys(tree)
    return tree


def definition_of(metric: Metric) -> SqlQuery:
    """Return the SQL definition of a metric; raise CompileError if it is defined otherwise."""
    if not isinstance(metric.definition, SqlQuery):
        raise CompileError(f"'{metric.name}' is not an SQL definition", at=metric.origin.location)
    return metric.definition


def variables(metric: Metric, model: Model) -> dict[str, object]:
    """Return the variables of a model, those of the metric last so that they win (spec oso §3.2)."""
    time = model.time
    values: dict[str, object] = {
        _OWN_NAME: key_of(metric),
        "entity_type": model.entity,
        "time_aggregation": None if time.window is not None else time.suffix,
        "rolling_window": time.window.count if time.window is not None else None,
        "rolling_unit": time.window.unit.value if time.window is not None else None,
    }
    return values | {name.lower(): value for name, value in definition_of(metric).vars.items()}


def peer_models(metric: Metric, model: Model, context: DefinitionContext) -> tuple[Model, ...]:
    """Return the models of other metrics that a model reads, in the order they are named."""
    definition = definition_of(metric)
    template = bound_template(definition.sql, context.dialect_of(definition))
    values = variables(metric, model)
    found: dict[Model, None] = {}
    try:
        for node, macro in calls(template):
            if macro.name == "metrics_peer_ref":
                found[_peer(node.copy(), values, model, context)] = None
    except DefinitionError as error:
        raise _located(error, metric) from None
    return tuple(found)


def _located(error: _Error, metric: Metric) -> _Error:
    """Name the file of a definition in an error about it, and put the error on the right line of it."""
    origin = metric.origin.of("sql")
    at = error.at or Location()
    if at.file is None:
        line = at.line + max((origin.line or 1) - 1, 0) if at.line is not None else origin.line
        error.at = Location(origin.file, line, at.column)
    return error


def _fill(tree: exp.Query, values: Mapping[str, object]) -> None:
    """Fill the variables of a model in: in expressions, in names and in `@'…'` strings."""
    for node in list(tree.walk()):
        if isinstance(node, exp.Identifier):
            if "@{" in node.this:
                node.set("this", fill(node.this, values))
        elif isinstance(node, exp.National):
            if "@{" in node.name:
                node.replace(exp.Literal.string(fill(node.name, values)))
        elif isinstance(node, exp.Parameter) and node.name.lower() not in RUN_VARIABLES:
            _fill_variable(node, values)


def _fill_variable(node: exp.Parameter, values: Mapping[str, object]) -> None:
    name, parent = node.name.lower(), node.parent
    if name not in values:
        raise unknown_variable(name, values, location(node))
    value = values[name]
    if isinstance(parent, exp.Interval):
        # Some dialects take no bare number there.
        node.replace(exp.Literal.string(str(value)))
    elif not isinstance(value, (tuple, list)):
        node.replace(exp.convert(value))
    elif isinstance(parent, exp.In) and node.arg_key == "expressions":
        items = [exp.convert(item) for item in value]
        position = parent.expressions.index(node)
        parent.set("expressions", [*parent.expressions[:position], *items, *parent.expressions[position + 1 :]])
    else:
        node.replace(exp.convert(tuple(value)))


def _metric_name(node: exp.Anonymous, metric: Metric, model: Model, context: DefinitionContext) -> exp.Expr:
    given = arguments_of(node).get("name")
    if given is None or (isinstance(given, exp.Literal) and given.is_string):
        own = str(variables(metric, model)[_OWN_NAME])
        return _named_for(given.name if given is not None else own, model)
    return exp.func("CONCAT", given.copy(), _named_for("", model), dialect=context.dialect)


def _named_for(name: str, model: Model) -> exp.Literal:
    literal = exp.Literal.string(f"{name}_{model.time.suffix}")
    literal._meta = Notes({_OF_VIEW: name})  # noqa: SLF001 - `meta` would be copied entry by entry
    return literal


def _peer_ref(node: exp.Anonymous, metric: Metric, model: Model, context: DefinitionContext) -> exp.Expr:
    peer = _peer(node, variables(metric, model), model, context)
    table = peer_table(peer, context)
    holder = node.parent
    if isinstance(holder, exp.Table) and table.args.get("db") is not None:
        holder.set("db", table.args["db"].copy())
    name: exp.Expr = table.this
    return name


def _peer(node: exp.Anonymous, values: Mapping[str, object], model: Model, context: DefinitionContext) -> Model:
    given = {name: _constant(value, values) for name, value in arguments_of(node).items()}
    return peer_model(given, model.entity, context, location(node))


def _constant(value: exp.Expr, values: Mapping[str, object]) -> object:
    if isinstance(value, exp.Parameter):
        name = value.name.lower()
        if name not in values:
            raise unknown_variable(name, values, location(value))
        return values[name]
    if isinstance(value, exp.Null):
        return None
    if isinstance(value, exp.Neg):
        return -int(value.this.name)
    return int(value.name) if value.is_int else value.name


def _relative_date(node: exp.Anonymous, metric: Metric, model: Model, context: DefinitionContext) -> exp.Expr:
    if model.time.window is None:
        raise MacroError(
            f"@relative_window_sample_date has no meaning {model.time.suffix}",
            at=location(node),
            hint="use it in rolling metrics only",
        )
    arguments, values = arguments_of(node), variables(metric, model)
    index, count, unit = (_constant(arguments[key], values) for key in ("relative_index", "window", "unit"))
    base = arguments["base"].copy()
    if not isinstance(index, int) or not isinstance(count, int):
        raise MacroError("the window and the index must be whole numbers", at=location(node))
    if index == 0:
        return base
    window = Window(count, WindowUnit(str(unit)))
    return buckets.add(base, index * window.count, window.unit, dialect=context.dialect)


_COMPILED: Mapping[str, Callable[[exp.Anonymous, Metric, Model, DefinitionContext], exp.Expr]] = {
    "metric_name": _metric_name,
    "metrics_name": _metric_name,
    "metrics_peer_ref": _peer_ref,
    "relative_window_sample_date": _relative_date,
}


def _run(
    tree: exp.Query,
    metric: Metric,
    time: TimeView,
    context: DefinitionContext,
    start: date | None,
    end: date | None,
    as_of: date | None,
) -> exp.Query:
    if time.window is not None:
        last = end or (as_of + timedelta(days=1) if as_of else None)
        if last is None:
            raise CompileError("a rolling window needs the days it ends on", hint="give start and end, or as_of")
        return roll(tree, time.window, start or last - timedelta(days=1), last, context, definition_of(metric).cron)
    if time.is_all_time:
        bind_run(tree, all_time_run(end, as_of, context), context)
        return tree
    definition = definition_of(metric)
    bounded = is_bounded(bound_template(definition.sql, context.dialect_of(definition)))
    sampled = tree.is_star or SAMPLE_DATE in tree.named_selects
    bind_run(tree, calendar_run(time, start, end, as_of, context), context)
    if bounded or not sampled or (start is None and end is None):
        return tree
    return within(tree, *covered(time, start, end, context), context)


def unused_variables(metric: Metric, context: DefinitionContext) -> tuple[str, ...]:
    """Return the names of the variables a metric is given but its text never uses."""
    definition = definition_of(metric)
    template = bound_template(definition.sql, context.dialect_of(definition))
    used = variables_of(template) | {_OWN_NAME for _, macro in calls(template) if macro.name in _NAMING}
    return tuple(sorted(name for name in definition.vars if name.lower() not in used and name.lower() not in MACROS))
