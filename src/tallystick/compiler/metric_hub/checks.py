"""Check a repository down to its SQL: every metric is compiled, every expression parsed (spec metric_hub §8, §14.5)."""

from __future__ import annotations

from collections.abc import Iterator

from sqlglot import exp

from tallystick.compiler.metric_hub.query import metric_source, metric_sql
from tallystick.compiler.metric_hub.tree import parse_expression
from tallystick.definitions.diagnostics import Diagnostic, Severity, diagnose, from_error, nearest
from tallystick.definitions.diagnostics import sort as sorted_findings
from tallystick.definitions.metric_hub import nouns as n
from tallystick.definitions.metric_hub.checking import check_definitions
from tallystick.definitions.metric_hub.collection import Collection
from tallystick.definitions.metric_hub.mode import Quirk
from tallystick.definitions.metric_hub.places import Place
from tallystick.definitions.metric_hub.repository import Repository
from tallystick.definitions.metric_hub.structured import select_expression_of
from tallystick.definitions.metric_hub.templates import placeholders
from tallystick.errors import ExpressionError, TallystickError


def check(repository: Repository) -> tuple[Diagnostic, ...]:
    """Return every finding about a repository, in order of place."""
    findings = [*check_definitions(repository), *check_sql(repository.shared, repository.shared)]
    for tool, collection in repository.tools.items():
        findings += check_sql(collection, repository.own[tool])
    return sorted_findings(findings)


def check_sql(collection: Collection, own: Collection) -> Iterator[Diagnostic]:
    """Compile the metrics that a tool defines or changes; yield what fails and which quirks the text carries."""
    for platform, written in own.definitions.items():
        spec = collection.definitions[platform]
        for key in written.metrics:
            if key in spec.metrics:
                yield from _metric_findings(collection, spec.metrics[key], platform)
                yield from _upstream_findings(spec, spec.metrics[key])
        for key in written.data_sources:
            if key in spec.data_sources:
                yield from _source_quirks(collection, spec.data_sources[key])


def _metric_findings(collection: Collection, metric: n.MetricDefinition, platform: str) -> Iterator[Diagnostic]:
    if metric.depends_on or select_expression_of(metric) is None:
        if not metric.depends_on and metric.place is not None:
            message = f"metric '{metric.name}' has statistics but nobody defines what it counts"
            yield diagnose("mh-dangling-metric", message, metric.place.location, severity=Severity.WARNING)
        return
    place = metric.places.get("select_expression", metric.place)
    try:
        metric_source(collection, metric, platform)
        sql = metric_sql(collection, metric)
    except TallystickError as problem:
        yield from_error("mh-sql", problem, place.location if place else None)
        return
    yield from _expression_findings(collection, metric, sql, place)


def _upstream_findings(spec: n.Spec, metric: n.MetricDefinition) -> Iterator[Diagnostic]:
    """Yield names in `depends_on` that nothing defines, and circles of metrics."""
    place = metric.places.get("depends_on")
    at = place.location if place else None
    for name in metric.depends_on or ():
        if name not in spec.metrics:
            message = f"No definition found for referenced upstream metric {name}"
            yield diagnose("mh-unknown-metric", message, at, hint=nearest(name, spec.metrics))
    if circle := _circle(spec, metric.name, ()):
        yield diagnose("mh-cycle", f"metrics depend on each other in a circle: {' → '.join(circle)}", at)


def _circle(spec: n.Spec, name: str, path: tuple[str, ...]) -> tuple[str, ...]:
    if name in path:
        return (*path, name) if path[0] == name else ()
    metric = spec.metrics.get(name)
    upstream = metric.depends_on if metric and metric.depends_on else ()
    return next((found for other in upstream if (found := _circle(spec, other, (*path, name)))), ())


def _expression_findings(
    collection: Collection, metric: n.MetricDefinition, sql: str, place: Place | None
) -> Iterator[Diagnostic]:
    at = place.location if place else None
    names = placeholders(sql)
    if "experiment_slug" in names and collection.mode.is_compat:
        message = f"metric '{metric.name}' keeps a literal {{experiment_slug}} outside experiments"
        yield diagnose(Quirk.SLUG_PLACEHOLDER.value, message, at, severity=Severity.INFO)
    try:
        tree = parse_expression(sql, f"metric {metric.name}")
    except ExpressionError as problem:
        yield from_error("mh-sql", problem, at)
        return
    if not is_aggregate(tree):
        message = f"metric '{metric.name}' does not aggregate: its select_expression has no aggregate function"
        yield diagnose("mh-not-an-aggregate", message, at, severity=Severity.WARNING)


def is_aggregate(tree: exp.Expr) -> bool:
    """Tell whether an expression aggregates; a function nobody knows gets the benefit of the doubt."""
    aggregates = (exp.AggFunc, exp.Anonymous, exp.AnonymousAggFunc, exp.Count)
    return any(True for node in tree.find_all(*aggregates) if not node.find_ancestor(exp.Subquery))


def _source_quirks(collection: Collection, source: n.DataSourceDefinition) -> Iterator[Diagnostic]:
    """Yield what compat text gets wrong about a data source (spec metric_hub §7.3)."""
    if not collection.mode.is_compat:
        return
    place = source.places.get("from_expression", source.place)
    if "dataset" in placeholders(source.from_expression or ""):
        message = f"queries on '{source.name}' keep a literal {{dataset}}"
        hint = "strict mode fills it from default_dataset"
        yield diagnose(
            Quirk.DATASET_PLACEHOLDER.value,
            message,
            place.location if place else None,
            severity=Severity.INFO,
            hint=hint,
        )
    if source.joins:
        where = source.places.get("joins", source.place)
        message = f"what '{source.name}' joins has no alias in queries, so ON cannot name it"
        yield diagnose(
            Quirk.JOIN_WITHOUT_ALIAS.value, message, where.location if where else None, severity=Severity.INFO
        )
