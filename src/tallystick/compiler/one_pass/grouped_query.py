"""SQL definitions that are one grouped SELECT over one table, and the source, breakdowns and aggregate they stand for.

Such a definition says what a source and an aggregate expression would say, so that its models can be computed together
with those of others (performance spec §3). What is written in any other way is computed by its own queries.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from sqlglot import exp

from tallystick.compiler.binding import bound_template, is_constant
from tallystick.compiler.contract import contracted
from tallystick.compiler.definition_context import DefinitionContext
from tallystick.compiler.entity_join import base_entity, key_name
from tallystick.compiler.local_days import keep_local_days
from tallystick.compiler.model import Model, TimeView
from tallystick.compiler.plan import metric_models
from tallystick.compiler.run_dates import SAMPLE_DATE
from tallystick.compiler.sql_definition import is_of_view, specialise
from tallystick.definitions.entity import ALL, Entity
from tallystick.definitions.metric import Aggregate, Metric, SqlQuery
from tallystick.definitions.source import Dimension, Source
from tallystick.errors import TallystickError
from tallystick.sql.calendar import local_date
from tallystick.sql.expression import parse
from tallystick.sql.grain import Grain
from tallystick.sql.macro_calls import arguments_of, calls, macro_of, variables_of

AMOUNT = "amount"
ROLES = "role"
"""The qualifier of columns that stand for the bucket, the entity and the value of a row in the columns of a model."""
BUCKET, ENTITY, VALUE = "bucket", "entity", "value"
_MACROS = frozenset({"metric_name", "metrics_name", "metrics_sample_date", "metrics_start", "metrics_end"})
_OF_MODEL = frozenset({"entity_type", "time_aggregation", "rolling_window", "rolling_unit", "start_ds", "end_ds"})
_CLAUSES = frozenset({"expressions", "from_", "where", "group"})
_OF_RUN = (
    *(exp.CurrentDate, exp.CurrentDatetime, exp.CurrentTime, exp.CurrentTimestamp, exp.Localtime, exp.Localtimestamp),
    *(exp.CurrentDatabase, exp.CurrentSchema, exp.CurrentUser, exp.Rand, exp.Randn, exp.Uuid),
)
_OF_RUN_BY_NAME = {
    *("age", "get_current_date", "get_current_time", "get_current_timestamp", "now", "transaction_timestamp"),
    *("current_connection_id", "current_query", "current_query_id", "current_schemas", "current_transaction_id"),
    *("currval", "error", "in_search_path", "nextval", "setseed", "sleep_ms", "stats", "txid_current", "write_log"),
    *("uuidv4", "uuidv7"),
}
"""What DuckDB calls volatile or the same within a query only, and `age`, which may count from today."""


@dataclass(frozen=True, slots=True)
class GroupedQuery:
    """What a definition stands for.

    `columns` are, by entity, the columns of a model's table in their order: name and expression over the columns
    `role.bucket`, `role.entity`, `role.value` and the names of the dimensions. `start` is the first day that history is
    asked for (None: any); buckets of calendar grains are whole, also the one it lies in.
    """

    source: Source
    dimensions: tuple[Dimension, ...]
    definition: Aggregate
    columns: Mapping[str, tuple[tuple[str, exp.Expr], ...]]
    start: date | None

    @property
    def by(self) -> tuple[str, ...]:
        """Return the names of its dimensions."""
        return tuple(dimension.name for dimension in self.dimensions)


def grouped_query(metric: Metric, context: DefinitionContext) -> GroupedQuery | None:
    """Return what a metric's definition stands for, None where it has to be computed by its own queries.

    A definition with a mistake is one of those: running it says what is wrong.
    """
    definition = metric.definition
    if not isinstance(definition, SqlQuery) or not definition.incremental or context.is_oso:
        return None
    if not context.dialect_of(definition) == context.project.dialect == context.dialect:
        return None
    try:
        return _grouped(metric, definition, context)
    except TallystickError:
        return None


@dataclass(frozen=True, slots=True)
class _Parts:
    """The pieces of a SELECT: when a row is, what it is counted for, its conditions, and what it puts out."""

    table: exp.Table
    time: exp.Expr
    key: exp.Column
    where: tuple[exp.Expr, ...]
    amount: exp.Expr
    projections: tuple[exp.Expr, ...]


def _grouped(metric: Metric, definition: SqlQuery, context: DefinitionContext) -> GroupedQuery | None:
    entities = tuple(dict.fromkeys(model.entity for model in metric_models(metric, context.project)))
    template = bound_template(definition.sql, context.dialect)
    if ALL in entities or any(macro.name not in _MACROS for _, macro in calls(template)):
        return None
    if not _OF_MODEL.isdisjoint(variables_of(template)):
        return None
    base = base_entity(definition, context)
    tree = specialise(metric, Model(metric.name, base.name, TimeView(grain=Grain.DAY)), context)
    keep_local_days(tree, TimeView(grain=Grain.DAY), context)
    found = _parts(tree, base, context)
    if found is None:
        return None
    amount = found.amount.sql(context.dialect)
    if not parse(amount, context.dialect).is_gathered_by_day:
        return None
    read = _outputs(found, context.dialect)
    if read is None:
        return None
    by, outputs = read
    source = _source(found, base, by, context.dialect)
    where = tuple(condition.sql(context.dialect) for condition in found.where)
    dimensions = tuple(Dimension(name=name, source=source.name, sql=sql) for name, sql in by.items())
    columns = {entity: tuple(_columns(metric, entity, outputs, context)) for entity in entities}
    stands_for = Aggregate(source=source.name, expr=amount, where=where)
    return GroupedQuery(source, dimensions, stands_for, columns, _start(definition, context))


def _start(definition: SqlQuery, context: DefinitionContext) -> date | None:
    """Return the day history begins: that of the project, else of the registry."""
    if context.project.settings.start is not None:
        return local_date(context.project.settings.start, context.calendar)
    registered = definition.oso.start if definition.oso is not None else None
    return date.fromisoformat(registered) if registered is not None else None


# -- reading the SELECT -----------------------------------------------------------------------------------------------


def _parts(tree: exp.Query, base: Entity, context: DefinitionContext) -> _Parts | None:
    """Return the pieces of a SELECT that does nothing but group the rows of one event source by what it puts out."""
    if not isinstance(tree, exp.Select) or any(value for name, value in tree.args.items() if name not in _CLAUSES):
        return None
    table, key = _table(tree, context), key_name(tree, base)
    keys = {c for p in tree.expressions if isinstance(c := p.unalias(), exp.Column) and c.name.lower() == key}
    # Its own query counts for another entity only what is written like the first of them.
    if table is None or len(keys) != 1 or not _is_plain(tree) or not _unqualify(tree, table):
        return None
    where = tree.args.get("where")
    time, conditions = _filter(list(_conjuncts(where.this)) if isinstance(where, exp.Where) else [])
    sampled = [p.unalias() for p in tree.expressions if p.alias_or_name.lower() == SAMPLE_DATE]
    amounts = [p.unalias() for p in tree.expressions if p.alias_or_name.lower() == AMOUNT]
    if time is None or len(sampled) != 1 or len(amounts) != 1:
        return None
    if _argument_of(sampled[0], "metrics_sample_date") != time or amounts[0].find(exp.AggFunc) is None:
        return None
    found = _Parts(table, time, keys.pop(), conditions, amounts[0], tuple(tree.expressions))
    is_alike = not any(map(_differs_by_run, (time, *conditions, amounts[0])))
    return found if is_alike and _is_grouped_by_outputs(tree, found, sampled[0]) else None


def _differs_by_run(tree: exp.Expr) -> bool:
    """Tell whether something means one thing in one view or run, and another in the next."""
    return any(map(is_of_view, tree.walk())) or any(True for _ in calls(tree))


def _table(select: exp.Select, context: DefinitionContext) -> exp.Table | None:
    """Return the one table a SELECT reads, where its rows are known to carry the key of the base entity."""
    first = select.args.get("from_")
    table = first.this if isinstance(first, exp.From) else None
    if not isinstance(table, exp.Table) or table.name not in context.sources:
        return None
    known = {"this", "db", "catalog", "alias"}
    alias = table.args.get("alias")
    is_bare = all(isinstance(part, exp.Identifier) and "." not in part.name for part in table.parts)
    has_columns = isinstance(alias, exp.TableAlias) and alias.columns
    return (
        table if is_bare and not has_columns and not any(v for k, v in table.args.items() if k not in known) else None
    )


def _is_plain(select: exp.Select) -> bool:
    """Tell whether every row is looked at by itself, and the same way whenever it is."""
    odd = (exp.Query, exp.Window, exp.UDTF, exp.Explode, exp.Parameter, *_OF_RUN)
    if any(node is not select for node in select.find_all(*odd)) or select.is_star:
        return False
    group = select.args.get("group")
    if not isinstance(group, exp.Group) or any(value for name, value in group.args.items() if name != "expressions"):
        return False
    return all(call.name.lower() not in _OF_RUN_BY_NAME for call in select.find_all(exp.Anonymous))


def _unqualify(select: exp.Select, table: exp.Table) -> bool:
    """Leave the table out of the names of columns, in place; tell whether all that are qualified so were its own."""
    for column in select.find_all(exp.Column):
        if column.args.get("db") is not None:
            return False
        if column.table.lower() == table.alias_or_name.lower():
            column.set("table", None)
    return True


def _conjuncts(condition: exp.Expr) -> Iterator[exp.Expr]:
    """Yield what has to hold, each for itself."""
    bare = condition.unnest()
    if not isinstance(bare, exp.And):
        yield bare
        return
    for side in (bare.left, bare.right):
        yield from _conjuncts(side)


def _filter(conditions: Sequence[exp.Expr]) -> tuple[exp.Expr | None, tuple[exp.Expr, ...]]:
    """Return the expression that is compared with the dates of a run, and the conditions that are left."""
    of_run = [condition for condition in conditions if list(calls(condition))]
    rest = tuple(condition for condition in conditions if condition not in of_run)
    compared = [found for condition in of_run for found in _compared(condition)]
    if sorted(name for _, name in compared) != ["metrics_end", "metrics_start"]:
        return None, rest
    (time, _), (other, _) = compared
    return (time if time == other else None), rest


def _compared(condition: exp.Expr) -> Iterator[tuple[exp.Expr, str]]:
    """Yield what is compared with the start and the end of a run; one with neither spoils the filter."""
    if isinstance(condition, exp.Between) and not condition.args.get("symmetric"):
        yield condition.this, _bound(condition.args["low"])
        yield condition.this, _bound(condition.args["high"])
    elif isinstance(condition, exp.GTE) and _bound(condition.expression) == "metrics_start":
        yield condition.this, "metrics_start"
    elif isinstance(condition, (exp.LTE, exp.LT)) and _bound(condition.expression) == "metrics_end":
        yield condition.this, "metrics_end"
    else:
        yield condition, ""


def _bound(node: exp.Expr) -> str:
    """Return the macro a bound is, empty where it is none or asks for a type that no date has."""
    macro = macro_of(node)
    wanted = arguments_of(node).get("data_type")
    is_known = wanted is None or wanted.name.upper() in {"DATE", "TIMESTAMP", "DATETIME"}
    return macro.name if macro is not None and is_known else ""


def _argument_of(node: exp.Expr, name: str) -> exp.Expr | None:
    macro = macro_of(node)
    return arguments_of(node)["base"] if macro is not None and macro.name == name else None


def _is_grouped_by_outputs(select: exp.Select, found: _Parts, sampled: exp.Expr) -> bool:
    """Tell whether rows are grouped by all that is put out but the amount, and by nothing else."""
    group = {key for key in select.args["group"].expressions if not is_constant(key)}
    values = [projection.unalias() for projection in found.projections]
    keys = {value for value in values if value not in (sampled, found.amount) and not is_constant(value)}
    is_by_row = all(value.find(exp.AggFunc) is None and not list(calls(value)) for value in keys)
    return is_by_row and group == {*keys, sampled}


# -- what it stands for -----------------------------------------------------------------------------------------------


def _outputs(found: _Parts, dialect: str) -> tuple[dict[str, str], list[exp.Expr]] | None:
    """Return the dimensions by name, and what each projection is over them and the roles; None where one is neither."""
    by: dict[str, str] = {}
    outputs: list[exp.Expr] = []
    for projection in found.projections:
        value, name = projection.unalias(), projection.alias_or_name.lower()
        if name == SAMPLE_DATE:
            outputs.append(exp.column(BUCKET, ROLES))
        elif value is found.amount:
            outputs.append(exp.column(VALUE, ROLES))
        elif value == found.key:
            outputs.append(exp.column(ENTITY, ROLES))
        elif is_constant(value):
            outputs.append(value)
        else:
            broken_down = _broken_down(value, name)
            if broken_down is None or name in by:
                return None
            by[name] = broken_down[0].sql(dialect)
            outputs.append(broken_down[1])
    return by, outputs


def _broken_down(value: exp.Expr, name: str) -> tuple[exp.Expr, exp.Expr] | None:
    """Return what a projection breaks rows down by, and the projection over that; None where it depends on the view."""
    column = exp.column(name, quoted=True)
    if not any(map(is_of_view, value.walk())):
        return value, column
    *texts, suffix = value.expressions if isinstance(value, exp.Concat) else [value]
    if not is_of_view(suffix) or any(is_of_view(node) for text in texts for node in text.walk()):
        return None
    before, after = value.copy(), value.copy()
    # CONCAT takes what is missing for an empty text, so it stays: rows that are named alike are counted together.
    before.set("expressions", [text.copy() for text in texts])
    after.set("expressions", [column, suffix])
    return before, after


def _source(found: _Parts, base: Entity, by: Mapping[str, str], dialect: str) -> Source:
    """Return the source a definition reads; definitions that read the same share it."""
    table, time, key = (
        ".".join(part.name for part in found.table.parts),
        found.time.sql(dialect),
        found.key.sql(dialect),
    )
    digest = hashlib.sha256(repr((table, time, base.name, key, sorted(by.items()), dialect)).encode()).hexdigest()[:6]
    name = f"{found.table.name}_{digest}"
    return Source(name=name, table=table, time=time, time_is_date=True, entities={base.name: key})


def _columns(
    metric: Metric, entity: str, outputs: Sequence[exp.Expr], context: DefinitionContext
) -> Iterator[tuple[str, exp.Expr]]:
    """Yield the columns of a metric's tables for an entity, named and ordered as its own query would have them."""
    model = Model(metric.name, entity, TimeView(grain=Grain.DAY))
    tree = specialise(metric, model, context)
    place = {name.lower(): index for index, name in enumerate(tree.named_selects)}
    for name in contracted(tree.copy(), model, context).named_selects:
        index = place.get(name.lower())
        yield name, exp.Literal.string("") if index is None else outputs[index]
