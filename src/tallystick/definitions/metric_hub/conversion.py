"""metric-hub's definitions as ordinary sources, segments, dimensions and metrics (spec metric_hub §1).

A metric becomes an aggregate over a source; what has no such form is left out, with the reason as a finding.
Names are `<platform>_<name>`, because metric-hub scopes every name to a platform.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from tallystick.definitions.about import About, Direction, Level, Status
from tallystick.definitions.diagnostics import Diagnostic, Severity, diagnose, from_error
from tallystick.definitions.entity import Entity
from tallystick.definitions.metric import Aggregate, Metric, Views
from tallystick.definitions.metric_hub import nouns as n
from tallystick.definitions.metric_hub.collection import Collection
from tallystick.definitions.metric_hub.places import origin_of
from tallystick.definitions.metric_hub.references import dedent
from tallystick.definitions.metric_hub.structured import select_expression_of
from tallystick.definitions.metric_hub.templates import expand, fill, placeholders
from tallystick.definitions.project import Project, Settings
from tallystick.definitions.source import Dimension, Segment, Source
from tallystick.errors import CompileError, MacroError, TallystickError
from tallystick.sql.grain import Grain

DIALECT = "bigquery"
CLIENT = "client"
_TABLE = re.compile(r"`?[\w.\-]+`?\Z")


@dataclass(slots=True)
class _Converted:
    """What has been converted so far, and why something was not."""

    sources: dict[str, Source] = field(default_factory=dict)
    metrics: dict[str, Metric] = field(default_factory=dict)
    segments: dict[str, Segment] = field(default_factory=dict)
    dimensions: dict[str, Dimension] = field(default_factory=dict)
    findings: list[Diagnostic] = field(default_factory=list)

    def leave_out(self, definition: n.Definition, problem: TallystickError) -> None:
        """Report why a definition has no ordinary form."""
        at = problem.at or (definition.place.location if definition.place else None)
        finding = from_error("mh-not-portable", problem, at)
        self.findings.append(diagnose(finding.code, finding.message, at, severity=Severity.WARNING, hint=finding.hint))


def to_project(collection: Collection, root: str, *, views: Views | None = None) -> Project:
    """Return a project of everything that has an ordinary form; the rest is explained in its diagnostics."""
    done = _Converted()
    for platform, spec in collection.definitions.items():
        for definition in spec.data_sources.values():
            _try_source(done, platform, definition)
        for dimension in spec.dimensions.values():
            _try_dimension(done, platform, dimension)
        for metric in spec.metrics.values():
            _try_metric(done, collection, platform, metric, views or Views(grains=(Grain.DAY,), entities=("all",)))
    return Project(
        root=root,
        settings=Settings(name="metric-hub", dialect=DIALECT, compat="metric-hub"),
        sources=MappingProxyType(done.sources),
        entities=MappingProxyType({CLIENT: Entity(name=CLIENT, key="client_id")}),
        dimensions=MappingProxyType(done.dimensions),
        segments=MappingProxyType(done.segments),
        metrics=MappingProxyType(done.metrics),
        diagnostics=(*collection.diagnostics, *done.findings),
    )


def scoped(platform: str, name: str) -> str:
    """Return a name that is unique over platforms."""
    return f"{platform}_{name}"


def _try_source(done: _Converted, platform: str, definition: n.DataSourceDefinition) -> None:
    try:
        source = to_source(platform, definition)
    except TallystickError as problem:
        done.leave_out(definition, problem)
    else:
        done.sources[source.name] = source


def to_source(platform: str, definition: n.DataSourceDefinition) -> Source:
    """Convert a data source; raises `CompileError` saying what it needs that a source does not have."""
    text = definition.from_expression
    if text is None:
        raise CompileError(f"data source '{definition.name}' has no from_expression")
    if definition.joins:
        joined = ", ".join(definition.joins)
        raise CompileError(
            f"data source '{definition.name}' joins {joined}: an ordinary source is one table or query",
            hint="write the join into a source of its own",
        )
    text = _filled(definition.name, text, definition.default_dataset).strip()
    is_table = _TABLE.match(text) is not None
    client = definition.client_id_column or "client_id"
    time = definition.submission_date_column or "submission_date"
    return Source(
        name=scoped(platform, definition.name),
        table=text if is_table else None,
        sql=None if is_table else _query(text),
        time=None if time == "NULL" else time,
        time_is_date=True,
        entities=MappingProxyType({} if client == "NULL" else {CLIENT: client}),
        about=_about(definition, platform),
        origin=origin_of(definition.place, definition.places),
    )


def _query(text: str) -> str:
    """Return a parenthesised subquery without its parentheses, anything else as a query over it."""
    if text.startswith("(") and text.endswith(")"):
        return text[1:-1].strip()
    return f"SELECT * FROM {text}"


def _filled(name: str, text: str, dataset: str | None) -> str:
    names = placeholders(text)
    others = [placeholder for placeholder in names if placeholder != "dataset"]
    if others:
        raise CompileError(f"'{name}' holds {{{others[0]}}}, which has a value only inside an experiment")
    if "dataset" in names and dataset is None:
        raise CompileError(f"'{name}' holds {{dataset}} and sets no default_dataset", hint="set default_dataset")
    if "{" not in text:
        return text
    try:
        return fill(text, dataset=dataset or "")
    except MacroError:
        return text


def _try_dimension(done: _Converted, platform: str, definition: n.DimensionDefinition) -> None:
    source = scoped(platform, str(definition.data_source))
    if source not in done.sources:
        problem = CompileError(f"dimension '{definition.name}' is on '{definition.data_source}', which is left out")
        done.leave_out(definition, problem)
        return
    name = scoped(platform, definition.name)
    done.dimensions[name] = Dimension(
        name=name,
        source=source,
        sql=str(definition.select_expression),
        about=_about(definition, platform),
        origin=origin_of(definition.place, definition.places),
    )


def _try_metric(
    done: _Converted, collection: Collection, platform: str, definition: n.MetricDefinition, views: Views
) -> None:
    try:
        metric = to_metric(collection, platform, definition, views, done.sources)
    except TallystickError as problem:
        done.leave_out(definition, problem)
    else:
        done.metrics[metric.name] = metric


def to_metric(
    collection: Collection,
    platform: str,
    definition: n.MetricDefinition,
    views: Views,
    sources: Mapping[str, Source],
) -> Metric:
    """Convert a metric; raises `CompileError` saying what keeps it from being an aggregate over one source."""
    expression = select_expression_of(definition)
    if expression is None or definition.data_source is None:
        upstream = ", ".join(definition.depends_on or ())
        why = f"depends on {upstream} and only has statistics" if upstream else "says not what is computed"
        raise CompileError(f"metric '{definition.name}' {why}", hint="only a statistic gives it a value")
    source = scoped(platform, definition.data_source)
    if source not in sources:
        raise CompileError(
            f"metric '{definition.name}' is on data source '{definition.data_source}', which is left out"
        )
    sql = _filled(definition.name, expand(expression, collection.functions), None)
    entities = tuple(name for name in views.entities if name in ("all", *sources[source].entities))
    return Metric(
        name=scoped(platform, definition.name),
        definition=Aggregate(source=source, expr=sql, dialect=DIALECT),
        views=Views(
            entities=entities, grains=views.grains, rolling=views.rolling, all_time=views.all_time, by=views.by
        ),
        about=_about(definition, platform),
        origin=origin_of(definition.place, definition.places),
    )


def _about(definition: n.Definition, platform: str) -> About:
    level = getattr(definition, "level", None)
    better = getattr(definition, "bigger_is_better", None)
    return About(
        friendly_name=dedent(getattr(definition, "friendly_name", None)),
        description=dedent(getattr(definition, "description", None)),
        owners=tuple(getattr(definition, "owners", ())),
        tags=tuple(tag for tag in (platform, getattr(definition, "category", None)) if tag),
        direction=None if better is None else Direction.UP if better else Direction.DOWN,
        level=Level(level) if level else None,
        status=Status.DEPRECATED if getattr(definition, "deprecated", False) else Status.ACTIVE,
    )


def reasons(project: Project) -> Iterator[Diagnostic]:
    """Yield why definitions were left out of a converted project."""
    return (finding for finding in project.diagnostics if finding.code == "mh-not-portable")
