"""LookML from metric-hub: one view and explore per data source, measures from `statistics` (spec metric_hub §12.1)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from tallystick.compiler.metric_hub.query import SourceQuery, metric_sql, source_query
from tallystick.compiler.metric_hub.tree import source_tree, to_sql
from tallystick.definitions.diagnostics import Diagnostic, Severity, diagnose, from_error, nearest
from tallystick.definitions.metric_hub import nouns as n
from tallystick.definitions.metric_hub.collection import Collection
from tallystick.definitions.metric_hub.references import dedent
from tallystick.errors import ExpressionError, TallystickError

GRAINS = ("day", "week", "month", "quarter", "year", "overall")
DAYS_PER_BUCKET = MappingProxyType({"week": 7, "month": 30, "quarter": 90, "year": 365})
_TRUNCATED = MappingProxyType({"week": "WEEK(MONDAY)"})
_AGGREGATES = ("sum", "average", "min", "max", "median")
NO_COLUMNS: Mapping[str, Sequence[str]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Block:
    """One LookML object: its kind, its name, and its properties in order; a property may be a block again."""

    kind: str
    name: str
    items: tuple[tuple[str, str] | Block, ...]

    def lines(self, indent: int = 0) -> Iterator[str]:
        """Yield the text of the block."""
        margin = "  " * indent
        yield f"{margin}{self.kind}: {self.name} {{" if self.name else f"{margin}{self.kind}: {{"
        for item in self.items:
            if isinstance(item, Block):
                yield from item.lines(indent + 1)
            else:
                yield f"{margin}  {item[0]}: {item[1]}"
        yield f"{margin}}}"


@dataclass(frozen=True, slots=True)
class Export:
    """Files of an export by path, and what could not be said in it."""

    files: Mapping[str, str]
    diagnostics: tuple[Diagnostic, ...]


@dataclass(frozen=True, slots=True)
class _View:
    """One view while it is written."""

    platform: str
    source: SourceQuery
    metrics: tuple[tuple[n.MetricDefinition, str], ...]
    fields: Mapping[str, str]
    measures: frozenset[str]
    findings: list[Diagnostic] = field(default_factory=list)


def export(collection: Collection, columns: Mapping[str, Sequence[str]] = NO_COLUMNS) -> Export:
    """Return the LookML of every data source that has metrics with SQL.

    `columns` names the columns of data sources where they are known (from the warehouse); they become dimensions
    where the definitions ask for it. One metric that cannot be written does not stop the others.
    """
    files: dict[str, str] = {}
    findings: list[Diagnostic] = []
    for platform, spec in collection.definitions.items():
        for name in dict.fromkeys(metric.data_source for metric in spec.metrics.values() if metric.data_source):
            view = _view(collection, spec, platform, name, columns, findings)
            if view is None or not view.metrics:
                continue
            stem = f"{platform}/metric_definitions_{name}"
            files[f"{stem}.view.lkml"] = _text(_view_block(view))
            files[f"{stem}.explore.lkml"] = _text(_explore(name))
            findings += view.findings
    return Export(MappingProxyType(files), tuple(findings))


def quoted(text: str) -> str:
    """Return a LookML string."""
    return '"' + " ".join(text.split()).replace("\\", "\\\\").replace('"', '\\"') + '"'


def sql(text: str) -> str:
    """Return SQL closed as LookML wants it; raises `ExpressionError` for SQL that would close it early."""
    if ";;" in text:
        raise ExpressionError("SQL with two semicolons cannot be written in LookML")
    return f"{text} ;;"


def _text(block: Block) -> str:
    return "\n".join(block.lines()) + "\n"


def _view(
    collection: Collection,
    spec: n.Spec,
    platform: str,
    name: str,
    columns: Mapping[str, Sequence[str]],
    findings: list[Diagnostic],
) -> _View | None:
    definition = spec.data_sources.get(name)
    if definition is None:
        return None
    try:
        source = source_query(collection, name, platform)
    except TallystickError as problem:
        findings.append(from_error("mh-lookml", problem, definition.place.location if definition.place else None))
        return None
    metrics = []
    for metric in spec.metrics.values():
        if metric.data_source != name or metric.depends_on or metric.type == "histogram":
            continue
        try:
            metrics.append((metric, metric_sql(collection, metric)))
        except TallystickError as problem:
            findings.append(from_error("mh-lookml", problem, metric.place.location if metric.place else None))
    measures = frozenset(f"{metric.name}_{statistic}" for metric, _ in metrics for statistic in metric.statistics or ())
    return _View(platform, source, tuple(metrics), _base_fields(spec, definition, source, columns), measures)


def _base_fields(
    spec: n.Spec, definition: n.DataSourceDefinition, source: SourceQuery, columns: Mapping[str, Sequence[str]]
) -> Mapping[str, str]:
    """Return the fields to group by: the source's dimensions, and columns where they are asked for."""
    fields = {d.name: str(d.select_expression) for d in spec.dimensions.values() if d.data_source == definition.name}
    own = definition.columns_as_dimensions or not source.has_client
    exposed = [definition.name] if own else []
    joined = (spec.data_sources.get(join.source.name) for join in source.joins)
    exposed += [other.name for other in joined if other is not None and other.columns_as_dimensions]
    for name in exposed:
        fields |= {column: f"{name}.{column}" for column in columns.get(name, ()) if column not in fields}
    return MappingProxyType(fields)


def _view_block(view: _View) -> Block:
    items: list[tuple[str, str] | Block] = [
        Block("derived_table", "", (("sql", sql(_derived_table(view))),)),
        _client(),
    ]
    items += [_dimension(name) for name in view.fields]
    for metric, _ in view.metrics:
        items.append(_metric_dimension(metric))
        items += _measures(view, metric)
    items += [_date(), *_parameters()]
    return Block("view", f"metric_definitions_{view.source.name}", tuple(items))


def _derived_table(view: _View) -> str:
    tree = source_tree(view.source, dataset=view.source.default_dataset or view.platform)
    rows = to_sql(tree, "bigquery").partition("*\n")[2]
    date = _date_of(view.source)
    when = "".join(
        f"{{% {'if' if grain == 'day' else 'elsif'} aggregate_metrics_by._parameter_value == '{grain}' %}} "
        f"{date if grain == 'day' else f'DATE_TRUNC({date}, {_TRUNCATED.get(grain, grain.upper())})'} "
        for grain in GRAINS[:-1]
    )
    selected = [
        *(f"{expression} AS {metric.name}" for metric, expression in view.metrics),
        *(f"{expression} AS {name}" for name, expression in view.fields.items()),
        f"{view.source.client_id if view.source.has_client else 'NULL'} AS client_id",
        f"{when}{{% else %}} NULL {{% endif %}} AS analysis_basis",
    ]
    listed = ",\n  ".join(selected)
    start = "SAFE_CAST({% date_start submission_date %} AS DATE)"
    end = "SAFE_CAST({% date_end submission_date %} AS DATE)"
    lookback = "{% parameter lookback_days %}"
    return (
        f"SELECT\n  {listed}\n{rows}\n"
        f"WHERE {date} BETWEEN DATE_SUB({start}, INTERVAL {lookback} DAY) AND {end}\n"
        "GROUP BY ALL"
    )


def _date_of(source: SourceQuery) -> str:
    """Return the date column; with joins it belongs to the outer source."""
    is_plain = source.submission_date.replace(".", "_").isidentifier()
    return f"{source.name}.{source.submission_date}" if source.joins and is_plain else source.submission_date


def _client() -> Block:
    items = (("type", "string"), ("hidden", "yes"), ("sql", sql("${TABLE}.client_id")))
    return Block("dimension", "client_id", items)


def _dimension(name: str) -> Block:
    items = (("sql", sql("${TABLE}." + name)), ("group_label", quoted("Base fields")))
    return Block("dimension", name, items)


def _metric_dimension(metric: n.MetricDefinition) -> Block:
    items = [
        ("group_label", quoted("Metrics")),
        ("label", quoted(metric.friendly_name or metric.name)),
        *([("description", quoted(dedent(metric.description) or ""))] if metric.description else []),
        ("type", "number"),
        ("sql", sql("${TABLE}." + metric.name)),
    ]
    return Block("dimension", metric.name, tuple(items))


def _date() -> Block:
    timeframes = "[raw, date, week, month, quarter, year]"
    items = (("type", "time"), ("timeframes", timeframes), ("sql", sql("CAST(${TABLE}.analysis_basis AS TIMESTAMP)")))
    return Block("dimension_group", "submission", items)


def _parameters() -> Iterator[Block]:
    yield Block("filter", "submission_date", (("type", "date"), ("sql", sql("{% condition submission_date %} ${TABLE}.analysis_basis {% endcondition %}"))))  # fmt: skip
    allowed = tuple(Block("allowed_value", "", (("label", quoted(g.title())), ("value", quoted(g)))) for g in GRAINS)
    default = ("default_value", quoted("day"))
    yield Block("parameter", "aggregate_metrics_by", (("type", "unquoted"), default, *allowed))
    for name, value in (("sampling", "1"), ("lookback_days", "0")):
        yield Block("parameter", name, (("type", "unquoted"), ("default_value", quoted(value)), ("hidden", "no")))


def _measures(view: _View, metric: n.MetricDefinition) -> Iterator[Block]:
    for statistic, table in (metric.statistics or {}).items():
        for suffix, items in _measure(view, metric, statistic, table):
            name = f"{metric.name}_{suffix}"
            label = quoted(f"{metric.friendly_name or metric.name} {suffix.replace('_', ' ').title()}")
            yield Block("measure", name, (("group_label", quoted("Statistics")), ("label", label), *items))
            yield from _over_periods(view, metric, name, suffix, table)


Items = tuple[tuple[str, str], ...]


def _measure(view: _View, metric: n.MetricDefinition, statistic: str, table: n.Frozen) -> Iterator[tuple[str, Items]]:
    """Yield the measures of one statistic: their suffix and properties."""
    value = f"${{TABLE}}.{metric.name}"
    if statistic in _AGGREGATES:
        times = "*{% parameter sampling %}" if statistic == "sum" else ""
        yield statistic, (("type", statistic), ("sql", sql(value + times)))
    elif statistic == "count":
        yield statistic, (("type", "count"),)
    elif statistic == "client_count":
        yield statistic, (("type", "count_distinct"), ("sql", sql(f"IF({value} > 0, ${{TABLE}}.client_id, NULL)")))
    elif statistic == "ratio":
        numerator, denominator = (str(table.get(key, "")) for key in ("numerator", "denominator"))
        parts = [_reference(view, metric, part) for part in (numerator, denominator)]
        if None not in parts:
            yield statistic, (("type", "number"), ("sql", sql(f"SAFE_DIVIDE({parts[0]}, {parts[1]})")))
    elif statistic == "dau_proportion":
        numerator = str(table.get("numerator", ""))
        divided = f"SAFE_DIVIDE(SUM(${{TABLE}}.{numerator.partition('.')[0]}), SUM({value}))"
        yield statistic, (("type", "number"), ("sql", sql(divided)))
    elif statistic == "rolling_average":
        yield from _rolling(view, metric, table)
    else:
        message = f"statistic '{statistic}' of metric '{metric.name}' has no LookML measure"
        _notice(view, metric, statistic, message)


def _reference(view: _View, metric: n.MetricDefinition, name: str) -> str | None:
    """Return the measure that `metric.statistic` names; reports one that this view does not have."""
    measure = name.replace(".", "_")
    if measure in view.measures:
        return f"${{{measure}}}"
    message = f"'{name}' in a ratio of metric '{metric.name}' is not a measure on data source '{view.source.name}'"
    _notice(view, metric, "ratio", message, nearest(measure, view.measures))
    return None


def _rolling(view: _View, metric: n.MetricDefinition, table: n.Frozen) -> Iterator[tuple[str, Items]]:
    for aggregation in table.get("aggregations", ("sum",)):
        base = f"{metric.name}_{aggregation}"
        if base not in view.measures:
            message = f"rolling_average of '{metric.name}' names '{aggregation}', which is not one of its statistics"
            _notice(view, metric, "rolling_average", message, nearest(aggregation, metric.statistics or {}))
            continue
        for size in table.get("window_sizes", ()):
            over = f"AVG(${{{base}}}) OVER (ORDER BY ${{submission_date}} ROWS BETWEEN {int(size) - 1} PRECEDING AND CURRENT ROW)"
            yield f"{aggregation}_{size}_day", (("type", "number"), ("sql", sql(over)))


def _over_periods(
    view: _View, metric: n.MetricDefinition, measure: str, suffix: str, table: n.Frozen
) -> Iterator[Block]:
    wanted = table.get("period_over_period") or {}
    for period in wanted.get("periods", ()):
        for kind in wanted.get("kinds", ("previous",)):
            earlier = _lag(measure, int(period))
            forms = {
                "previous": earlier,
                "difference": f"${{{measure}}} - {earlier}",
                "relative_change": f"SAFE_DIVIDE(${{{measure}}}, NULLIF({earlier}, 0)) - 1",
            }
            if kind not in forms:
                _notice(view, metric, suffix, f"'{kind}' is not a kind of period_over_period", nearest(kind, forms))
                continue
            name = f"{measure}_{period}_day_{kind}"
            yield Block("measure", name, (("type", "number"), ("sql", sql(forms[kind]))))


def _lag(measure: str, period: int) -> str:
    """Return a measure some days ago, in buckets of whatever grain is chosen."""
    cases = "".join(
        f"{{% {'if' if number == 0 else 'elsif'} aggregate_metrics_by._parameter_value == '{grain}' %}}{max(1, period // days)}"
        for number, (grain, days) in enumerate(DAYS_PER_BUCKET.items())
    )
    return f"LAG(${{{measure}}}, {cases}{{% else %}}{period}{{% endif %}}) OVER (ORDER BY ${{submission_date}})"


def _notice(view: _View, metric: n.MetricDefinition, statistic: str, message: str, hint: str | None = None) -> None:
    place = metric.places.get("statistics")
    at = place.below(statistic).location if place else None
    view.findings.append(diagnose("mh-lookml", message, at, severity=Severity.WARNING, hint=hint))


def _explore(name: str) -> Block:
    view = f"metric_definitions_{name}"
    filters = Block("always_filter", "", (("filters", '[submission_date: "7 days", sampling: "1"]'),))
    return Block("explore", view, (("view_name", view), filters))
