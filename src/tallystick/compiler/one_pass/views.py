"""Models as they are read: dense rows over change points and counters, with dates and entity keys put back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlglot import exp

from tallystick.compiler.aggregate_model import BUCKET, outputs
from tallystick.compiler.model import Model
from tallystick.compiler.one_pass import days as calendar
from tallystick.compiler.one_pass.family import Family, Member
from tallystick.compiler.one_pass.gather import dimension
from tallystick.compiler.one_pass.interning import entity_table, level
from tallystick.compiler.one_pass.layout import Cell, Layout, companion
from tallystick.compiler.one_pass.names import DIALECT, Schema, quoted
from tallystick.compiler.one_pass.rolling import WINDOW
from tallystick.definitions.project import Project
from tallystick.sql.expression import substitute
from tallystick.sql.grain import Grain


@dataclass(frozen=True, slots=True)
class Reach:
    """The days a reader sees, as day numbers: buckets from `first` (None: any) to `last`, none before the `start`."""

    first: int | None
    last: int
    start: int | None = None

    @property
    def sampled_from(self) -> int | None:
        """Return the first day that days and windows are shown for."""
        return max((day for day in (self.first, self.start) if day is not None), default=None)


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
    bucket, table, where = _time(model, layout, reach)
    names = [*([project.entities[model.entity].key] if model.has_entity else []), *model.by]
    stored = [*(["id"] if model.has_entity else []), *(dimension(i) for i in range(len(model.by)))]
    columns = [f"{bucket} AS {quoted(BUCKET)}"]
    columns += [f"e.{quoted(old)} AS {quoted(new)}" for old, new in zip(stored, names, strict=True)]
    columns += [tree.sql(DIALECT) for tree in value_columns(member, layout, "c")]
    condition = f" WHERE {' AND '.join(where)}" if where else ""
    return (
        f"SELECT {', '.join(columns)} FROM {_rows(model, layout, schema, table)} AS c "
        f"JOIN {schema.table(entity_table(family, model.entity))} AS e ON e.eid = c.eid{condition}"
    )


def row_counts(models: Sequence[Model], family: Family, layout: Layout, schema: Schema, reach: Reach) -> str:
    """Return the query of how many rows models have that differ in their entity alone, as (level, n).

    Intervals are measured, not unfolded, and each stored row is read once for all of them.
    """
    model = models[0]
    _, table, where = _time(model, layout, reach)
    count = "count(*)"
    if model.time.window is not None:
        since = reach.sampled_from
        first = "c.day" if since is None else f"greatest(c.day, {since})"
        count = f"coalesce(sum(least(c.nxt, {reach.last + 1}) - {first}), 0)::BIGINT"
    condition = f" WHERE {' AND '.join(where)}" if where else ""
    kinds = " UNION ALL ".join(
        f"SELECT eid, {level(family, entity)}::TINYINT AS level FROM {schema.table(entity_table(family, entity))}"
        for entity in dict.fromkeys(model.entity for model in models)
    )
    rows = _rows(model, layout, schema, table)
    return f"SELECT level, {count} AS n FROM {rows} AS c JOIN ({kinds}) AS e ON e.eid = c.eid{condition} GROUP BY level"


def _rows(model: Model, layout: Layout, schema: Schema, table: str) -> str:
    if model.time.window is None:
        return schema.table(table)
    recent = schema.table(layout.recent(table))
    return f"(SELECT * FROM {schema.table(table)} WHERE nxt > day UNION ALL SELECT * FROM {recent})"


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
    if cell.shown != cell.stored:
        column = exp.cast(column, cell.shown, dialect=DIALECT)
    if cell.name in layout.nullable:
        test = exp.column(companion(cell.name), table) > 0
        return exp.Case().when(test, column)
    return column


def _time(model: Model, layout: Layout, reach: Reach) -> tuple[str, str, list[str]]:
    """Return the bucket column, the stored table and the predicates of a model's time view."""
    view = model.time
    if view.is_all_time:
        return calendar.as_date(str(reach.last)), layout.all_time, []
    since = reach.sampled_from
    if view.window is not None:
        first = "c.day" if since is None else f"greatest(c.day, {since})"
        spread = f"unnest(range({first}, least(c.nxt, {reach.last + 1})))::INTEGER"
        where = [f"c.day <= {reach.last}", *([] if since is None else [f"c.nxt > {since}"])]
        mine = f"c.{WINDOW} = {layout.number(view.window)}"
        return calendar.as_date(spread), layout.rolling, [mine, *where]
    if view.grain is None or view.grain is Grain.DAY:
        where = [f"c.day <= {reach.last}", *([] if since is None else [f"c.day >= {since}"])]
        return calendar.as_date("c.day"), layout.days, where
    where = [f"c.bucket <= {reach.last}", *([] if reach.first is None else [f"c.bucket >= {reach.first}"])]
    return calendar.as_date("c.bucket"), layout.grain(view.grain), where
