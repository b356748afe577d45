"""Whether a metric runs in another dialect as it stands, and if not, exactly why (spec metric_hub §14.4)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from sqlglot import exp

from tallystick.compiler.metric_hub.query import metric_sql, metrics_query, require_metric
from tallystick.compiler.metric_hub.tree import DIALECT, metrics_tree, to_sql
from tallystick.definitions.metric_hub.collection import Collection
from tallystick.definitions.metric_hub.templates import placeholders
from tallystick.errors import TallystickError

UDF_PROJECTS = ("mozfun", "udf", "udf_js")


@dataclass(frozen=True, slots=True)
class Reason:
    """One thing that keeps a metric from running: its code and what it is."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Portability:
    """The answer for one metric and dialect; with no reasons, `sql` runs there given the tables."""

    metric: str
    dialect: str
    reasons: tuple[Reason, ...]
    sql: str | None = None

    @property
    def is_portable(self) -> bool:
        """Tell whether nothing stands in the way."""
        return not self.reasons


def portability(collection: Collection, name: str, platform: str, dialect: str) -> Portability:
    """Judge one metric; never raises for what is wrong with it."""
    reasons: list[Reason] = []
    sql = None
    try:
        metric = require_metric(collection, name, platform)
        reasons += _placeholder_reasons(metric_sql(collection, metric), None)
        query = metrics_query(collection, [name], platform)
        for source, _ in query.parts:
            reasons += _placeholder_reasons(source.from_expression, source.default_dataset)
        if not reasons:
            tree = metrics_tree(query)
            if dialect != DIALECT:
                reasons += _function_reasons(tree, dialect)
            sql = to_sql(tree, dialect)
    except TallystickError as problem:
        reasons.append(Reason("does-not-compile", problem.message))
    return Portability(name, dialect, tuple(dict.fromkeys(reasons)), None if reasons else sql)


def _placeholder_reasons(text: str, dataset: str | None) -> Iterator[Reason]:
    for name in placeholders(text):
        if name == "dataset" and dataset is None:
            yield Reason("placeholder", "{dataset} has no value: the data source sets no default_dataset")
        elif name != "dataset":
            yield Reason("placeholder", f"{{{name}}} has a value only inside an experiment")


def _function_reasons(tree: exp.Expr, dialect: str) -> Iterator[Reason]:
    """Yield the user-defined functions of BigQuery projects that a query calls."""
    for node in tree.find_all(exp.Dot, exp.Anonymous):
        name = _called(node)
        if name and name.split(".")[0] in UDF_PROJECTS:
            yield Reason("udf", f"{name} is a BigQuery function of Mozilla's; {dialect} has none of that name")


def _called(node: exp.Expr) -> str | None:
    if isinstance(node, exp.Dot) and isinstance(node.expression, exp.Anonymous | exp.Func):
        path = [part.name for part in node.this.flatten()] if isinstance(node.this, exp.Dot) else [node.this.name]
        function = node.expression
        last = function.name if isinstance(function, exp.Anonymous) else function.sql_name().lower()
        return ".".join([*path, last])
    if isinstance(node, exp.Anonymous) and "." in node.name:
        return node.name
    return None
