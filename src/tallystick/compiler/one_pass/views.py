"""Models as they are read: dense rows over change points and counters, with dates and entity keys put back."""

from __future__ import annotations

from collections.abc import Sequence

from sqlglot import exp

from tallystick.compiler.aggregate_model import BUCKET, outputs
from tallystick.compiler.model import Model
from tallystick.compiler.one_pass import days as calendar
from tallystick.compiler.one_pass.family import Family, Member
from tallystick.compiler.one_pass.gather import ID, dimension
from tallystick.compiler.one_pass.grouped_query import BUCKET as SAMPLED
from tallystick.compiler.one_pass.grouped_query import ROLES, VALUE, GroupedQuery
from tallystick.compiler.one_pass.held import Held, Reach, condition, held_days, stored_rows
from tallystick.compiler.one_pass.interning import entity_table, level
from tallystick.compiler.one_pass.layout import Cell, Layout, companion
from tallystick.compiler.one_pass.names import DIALECT, Schema, quoted
from tallystick.compiler.sql_definition import of_view
from tallystick.definitions.project import Project
from tallystick.sql.expression import substitute

FIRST = "_first"
UNTIL = "_until"


def model_view(
    model: Model,
    family: Family,
    member: Member,
    layout: Layout,
    project: Project,
    schema: Schema,
    reach: Reach,
) -> str:
    """Return the query of a model's dense rows over its stored tables, for days of a reach.

    Its predicates are on the stored intervals, so a reader who asks for one day pays for that day alone.
    """
    held = held_days(model, layout, reach)
    spread = f"unnest(range({held.first}, {held.until}))::INTEGER"
    bucket = calendar.as_date(spread if model.time.window is not None else held.first)
    columns = [f"{bucket} AS {quoted(_bucket_name(member))}", *_columns(model, family, member, layout, project)]
    return _rows(model, family, layout, schema, held, columns)


def model_spans(
    model: Model, family: Family, member: Member, layout: Layout, project: Project, schema: Schema, reach: Reach
) -> str:
    """Return the query of a model's stored rows with the days they hold, as numbers [`FIRST`, `UNTIL`)."""
    held = held_days(model, layout, reach)
    columns = [f"({held.first})::INTEGER AS {FIRST}", f"({held.until})::INTEGER AS {UNTIL}"]
    return _rows(model, family, layout, schema, held, [*columns, *_columns(model, family, member, layout, project)])


def _bucket_name(member: Member) -> str:
    return BUCKET if member.query is None else member.query.columns[member.models[0].entity][0][0]


def _columns(model: Model, family: Family, member: Member, layout: Layout, project: Project) -> list[str]:
    """Return the columns of a model behind its bucket: its entity's key, its dimensions, and its values."""
    if member.query is not None:
        value = value_columns(member, layout, "c")[0].unalias()
        columns = member.query.columns[model.entity]
        amounts = [
            f"{value.sql(DIALECT)} AS {quoted(name)}" for name, tree in columns if tree == exp.column(VALUE, ROLES)
        ]
        return [*(f"{sql} AS {quoted(name)}" for name, sql in keys_of_query(model, family, member.query)), *amounts]
    names = [*([project.entities[model.entity].key] if model.has_entity else []), *model.by]
    stored = [*([ID] if model.has_entity else []), *(dimension(i) for i in range(len(model.by)))]
    keys = [f"e.{quoted(old)} AS {quoted(new)}" for old, new in zip(stored, names, strict=True)]
    return [*keys, *(tree.sql(DIALECT) for tree in value_columns(member, layout, "c"))]


def keys_of_query(model: Model, family: Family, query: GroupedQuery) -> list[tuple[str, str]]:
    """Return the columns between the bucket and the amount of a query's model, as SQL over its entity table `e`."""
    stored = {name: exp.column(dimension(place), "e", quoted=True) for place, name in enumerate(family.by)}

    def put(node: exp.Expr) -> exp.Expr:
        if not isinstance(node, exp.Column):
            return node
        return exp.column(ID, "e", quoted=True) if node.table == ROLES else stored[node.name]

    others = (exp.column(SAMPLED, ROLES), exp.column(VALUE, ROLES))
    columns = [(name, tree.transform(put)) for name, tree in query.columns[model.entity] if tree not in others]
    return [(name, of_view(tree, model.time).sql(DIALECT)) for name, tree in columns]


def _rows(model: Model, family: Family, layout: Layout, schema: Schema, held: Held, columns: Sequence[str]) -> str:
    return (
        f"SELECT {', '.join(columns)} FROM {stored_rows(layout, schema, held)} AS c "
        f"JOIN {schema.table(entity_table(family, model.entity))} AS e ON e.eid = c.eid{condition(held)}"
    )


def row_counts(models: Sequence[Model], family: Family, layout: Layout, schema: Schema, reach: Reach) -> str:
    """Return the query of how many rows models have that differ in their entity alone, as (level, n).

    Intervals are measured, not unfolded, and each stored row is read once for all of them.
    """
    held = held_days(models[0], layout, reach)
    count = (
        f"coalesce(sum({held.until} - {held.first}), 0)::BIGINT" if models[0].time.window is not None else "count(*)"
    )
    kinds = " UNION ALL ".join(
        f"SELECT eid, {level(family, entity)}::TINYINT AS level FROM {schema.table(entity_table(family, entity))}"
        for entity in dict.fromkeys(model.entity for model in models)
    )
    rows = stored_rows(layout, schema, held)
    return f"SELECT level, {count} AS n FROM {rows} AS c JOIN ({kinds}) AS e ON e.eid = c.eid{condition(held)} GROUP BY level"


def value_columns(member: Member, layout: Layout, table: str) -> list[exp.Expr]:
    """Return value, numerator and denominator over stored cells."""
    values: dict[str, exp.Expr] = {
        cell.name: _shown(cell, layout, table) for cell in layout.cells if not cell.counts_missing
    }
    for measure in member.expression.measures:
        if measure.combine is not None:
            values[measure.name] = substitute(measure.combine, values)
    return outputs(member.expression, values, exp.null())[:-1]


def _shown(cell: Cell, layout: Layout, table: str) -> exp.Expr:
    column: exp.Expr = exp.column(cell.name, table)
    if cell.scale:
        unit = exp.Literal.number(f"0.{'1'.zfill(cell.scale)}")
        column = exp.Mul(this=exp.cast(column, "DECIMAL(18, 0)", dialect=DIALECT), expression=unit)
    if cell.shown != cell.stored:
        column = exp.cast(column, cell.shown, dialect=DIALECT)
    if cell.name in layout.nullable:
        test = exp.column(companion(cell.name), table) > 0
        return exp.Case().when(test, column)
    return column
