"""The answer of one series' own query as its columns."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tallystick.collect.read_columns import SeriesColumns, moments, numbers, texts
from tallystick.compiler.aggregate_model import DENOMINATOR, NUMERATOR, VALUE, N
from tallystick.compiler.formula_model import formula_tree
from tallystick.compiler.lower import bucket_column
from tallystick.compiler.metric_calendar import calendar_of
from tallystick.compiler.passes.folding import IS_OTHER
from tallystick.compiler.passes.numbers import Array, Numbers
from tallystick.compiler.series import Wanted
from tallystick.definitions.metric import Aggregate, Formula, Metric, SqlQuery
from tallystick.definitions.project import Project
from tallystick.errors import EngineError
from tallystick.sql.expression import MeasureClass, parse

if TYPE_CHECKING:
    import pyarrow as pa

_AMOUNT = "amount"


def columns_of(table: pa.Table, project: Project, wanted: Wanted) -> SeriesColumns:
    """Return the columns of a series from the answer to its own query; raise EngineError where they are no numbers."""
    metric = project.metrics[wanted.metric]
    names = {name.lower(): name for name in table.column_names}
    if isinstance(metric.definition, SqlQuery):
        return _of_definition(table, metric, project, wanted)

    def number(name: str) -> Numbers | None:
        return numbers(table.column(names[name]), name) if name in names else None

    value, n = number(VALUE), number(N)
    if value is None or n is None:
        raise EngineError(f"the answer for metric '{metric.name}' holds no value")
    key = project.entities[wanted.entity].key if wanted.entity in project.entities else None
    dimension = None if wanted.by is None else texts(table.column(wanted.by))
    return SeriesColumns(
        bucket=moments(table.column(0), calendar_of(project, metric)),
        value=value.floats() if is_fractional(metric, project) else value,
        n=n.data.astype(np.int64),
        numerator=number(NUMERATOR),
        denominator=number(DENOMINATOR),
        entity=None if key is None else texts(table.column(key)),
        dimension=dimension,
        is_other=_flags(table, names),
    )


def _flags(table: pa.Table, names: dict[str, str]) -> Array | None:
    return numbers(table.column(names[IS_OTHER]), IS_OTHER).data.astype(bool) if IS_OTHER in names else None


def _of_definition(table: pa.Table, metric: Metric, project: Project, wanted: Wanted) -> SeriesColumns:
    """Return the columns of an SQL definition, which names them itself and counts no rows."""
    entity = None
    if wanted.entity in project.entities:
        known = [name for name in table.column_names if name.lower() == f"to_{wanted.entity}_id"]
        entity = texts(table.column(known[0])) if known else None
    bucket = moments(table.column(bucket_column(metric)), calendar_of(project, metric))
    keys = bucket.codes.astype(np.int64)
    if entity is not None:
        keys = keys * max(len(entity.names), 1) + entity.codes
    if len(np.unique(keys)) < len(keys):
        raise EngineError(f"metric '{metric.name}' gives several rows for one bucket", hint="aggregate them in its SQL")
    value = numbers(table.column(_AMOUNT), _AMOUNT)
    return SeriesColumns(bucket=bucket, value=value, n=np.ones(len(keys), np.int64), entity=entity)


def is_fractional(metric: Metric, project: Project) -> bool:
    """Tell whether values are measured rather than counted or added up, so that engines may differ in how they type them."""
    definition = metric.definition
    if isinstance(definition, Formula):
        return any(node.key == "div" for node in formula_tree(metric, project.metrics, project.dialect).walk())
    if not isinstance(definition, Aggregate):
        return False
    if definition.per_unit is not None:
        return True
    expression = parse(definition.expr, project.dialect)
    if any(measure.kind is MeasureClass.ALGEBRAIC for measure in expression.measures):
        return True
    return any(node.key == "div" for node in expression.combine.walk())
