"""Who enrolled, when, in which branch: enrollments with segments and exposures (spec metric_hub §9.3)."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

import sqlglot
from sqlglot import exp
from sqlglot.errors import ParseError

from tallystick.compiler.metric_hub.query import SourceQuery
from tallystick.compiler.metric_hub.skeleton import all_of, chain, column, filled, literal, shifted
from tallystick.compiler.metric_hub.tree import DIALECT, first_line, from_expression, parse_expression, quote_odd_names
from tallystick.definitions.metric_hub import resolved as r
from tallystick.definitions.metric_hub.nouns import SegmentDataSourceDefinition, Unit
from tallystick.errors import CompileError, ExpressionError

_EVENTS = """
SELECT :id AS analysis_id, :branch AS branch, MIN(:day) AS enrollment_date, COUNT(:day) AS num_enrollment_events
FROM :rows AS r
WHERE :day BETWEEN :first AND :last AND :is_enrollment AND :sampled AND :id IS NOT NULL
GROUP BY 1, 2
"""
_FIRST_ROWS = """
SELECT analysis_id, branch, enrollment_date, num_enrollment_events
FROM :rows AS r
QUALIFY ROW_NUMBER() OVER (PARTITION BY analysis_id ORDER BY enrollment_date, branch) = 1
"""
_EXPOSED = """
SELECT e.analysis_id, e.branch, MIN(:day) AS exposure_date, COUNT(:day) AS num_exposure_events
FROM raw_enrollments AS e
JOIN :rows AS r ON :id = e.analysis_id AND :is_exposure AND :day >= e.enrollment_date AND :day BETWEEN :first AND :last
GROUP BY e.analysis_id, e.branch
"""
_ENROLLMENTS = """
SELECT e.*, x.exposure_date, x.num_exposure_events
FROM raw_enrollments AS e
LEFT JOIN exposures AS x ON x.analysis_id = e.analysis_id AND x.branch = e.branch
"""
PROJECT = "moz-fx-data-shared-prod"


def enrollments_tree(experiment: r.ResolvedExperiment, *, through: dt.date | None = None) -> exp.Select:
    """Return one row per enrolled unit: branch, dates, segments as booleans, first exposure.

    `through` is the last day of data for exposures, by default the last day of enrollment. Raises `CompileError`.
    """
    first, last = span(experiment)
    body = filled(_ENROLLMENTS)
    steps: list[tuple[str, exp.Expr]] = [
        ("raw_enrollments", raw_enrollments(experiment)),
        ("exposures", exposures_tree(experiment, through or last)),
    ]
    by_source: dict[str, list[r.ResolvedSegment]] = {}
    for segment in experiment.segments:
        by_source.setdefault(segment.data_source.name, []).append(segment)
    for name, segments in by_source.items():
        step = f"segments_{name}"
        steps.append((step, _segments_tree(experiment, segments, first, last)))
        same = [
            exp.EQ(this=exp.column(key, step), expression=exp.column(key, "e")) for key in ("analysis_id", "branch")
        ]
        body = body.join(exp.to_table(step), on=exp.and_(*same), join_type="left")
        body = body.select(*(exp.column(segment.name, step) for segment in segments))
    return chain(body, steps)


def span(experiment: r.ResolvedExperiment) -> tuple[dt.date, dt.date]:
    """Return the first and the last day of enrollment; raises `CompileError` without a start."""
    first, last = experiment.start_date, experiment.last_enrollment_date
    if first is None or last is None:
        raise CompileError(
            f"experiment {experiment.slug} has no start date", hint="give one, or set experiment.start_date"
        )
    return first, last


def raw_enrollments(experiment: r.ResolvedExperiment) -> exp.Expr:
    """Return the enrollments themselves: from the custom query, or as the experiment's kind records them."""
    if experiment.enrollment_query is not None:
        return _custom(experiment, experiment.enrollment_query)
    kind = experiment.enrollments_query_type
    if kind == "background-update":
        both = exp.union(_events(experiment, "normandy"), _events(experiment, "background-update"), distinct=False)
        return filled(_FIRST_ROWS, {"rows": exp.Subquery(this=both)})
    return _events(experiment, kind)


def _custom(experiment: r.ResolvedExperiment, text: str) -> exp.Select:
    """Wrap a custom query; one that selects the id of the other unit is refused."""
    try:
        query = sqlglot.parse_one(text, read=DIALECT)
    except ParseError as problem:
        raise ExpressionError(f"enrollment_query: {first_line(problem)}") from None
    if not isinstance(query, exp.Query):
        raise ExpressionError("enrollment_query is not a query")
    quote_odd_names(query)
    names = set(query.named_selects)
    unit = str(experiment.analysis_unit)
    other = next(str(candidate) for candidate in Unit if str(candidate) != unit)
    if other in names and unit not in names and "analysis_id" not in names:
        raise CompileError(f"enrollment_query gives {other}, but the experiment is analysed by {unit}")
    key = "analysis_id" if "analysis_id" in names else unit
    count = "num_enrollment_events" if "num_enrollment_events" in names else None
    skeleton = """
    SELECT :id AS analysis_id, r.branch, r.enrollment_date, :count AS num_enrollment_events
    FROM :rows AS r
    WHERE r.enrollment_date BETWEEN :first AND :last
    """
    first, last = span(experiment)
    return filled(
        skeleton,
        {"rows": exp.Subquery(this=query)},
        id=exp.column(key, "r"),
        count=exp.column(count, "r") if count else 1,
        first=first,
        last=last,
    )


@dataclass(frozen=True, slots=True)
class _EventRows:
    """Where one kind of experiment records enrollments: table, columns, and what an enrollment looks like."""

    dataset: str
    table: str
    unit: str
    branch: str
    wanted: tuple[tuple[str, str], ...] = ()
    day: str = "DATE(submission_timestamp)"


_EXTRA = "mozfun.map.get_key(events[SAFE_OFFSET(0)].extra, '{}')"


def _event_rows(experiment: r.ResolvedExperiment, kind: str) -> _EventRows:
    dataset = experiment.record.app_id or experiment.record.app_name
    unit, slug = str(experiment.analysis_unit), experiment.slug
    named = (_EXTRA.format("experiment"), slug)
    match kind:
        case "normandy":
            wanted = (("event_category", "normandy"), ("event_method", "enroll"), ("event_string_value", slug))
            branch = "mozfun.map.get_key(event_map_values, 'branch')"
            return _EventRows("telemetry", "events", unit, branch, wanted, day="submission_date")
        case "cirrus":
            return _EventRows(
                f"{dataset}_cirrus", "enrollment", _EXTRA.format("nimbus_user_id"), _EXTRA.format("branch"), (named,)
            )
        case "fenix-fallback":
            by_client = experiment.analysis_unit is Unit.CLIENT
            key = "client_info.client_id" if by_client else "metrics.uuid.legacy_telemetry_profile_group_id"
            return _EventRows(
                dataset, "baseline", key, f"mozfun.map.get_key(ping_info.experiments, {_quoted(slug)}).branch"
            )
        case "background-update":
            key = "metrics.uuid.background_update_client_id"
            return _EventRows("firefox_desktop_background_update", "events", key, _EXTRA.format("branch"), (named,))
        case _:
            wanted = (
                ("event_category", "nimbus_events"),
                ("event_name", "enrollment"),
                ("JSON_VALUE(event_extra, '$.experiment')", slug),
            )
            return _EventRows(dataset, "events_stream", unit, "JSON_VALUE(event_extra, '$.branch')", wanted)


def _events(experiment: r.ResolvedExperiment, kind: str) -> exp.Select:
    first, last = span(experiment)
    rows = _event_rows(experiment, kind)
    table = exp.table_(rows.table, rows.dataset, PROJECT)
    quote_odd_names(table)
    branch = column(rows.branch, "r")
    sample = experiment.settings.sample_size
    sampled = exp.LT(this=exp.column("sample_id", "r"), expression=literal(sample)) if sample else exp.true()
    annotated = exp.Not(this=exp.Is(this=branch.copy(), expression=exp.Null()))
    return filled(
        _EVENTS,
        {"rows": table},
        id=column(rows.unit, "r"),
        branch=branch,
        day=column(rows.day, "r"),
        first=first,
        last=last,
        is_enrollment=_is(*(text for pair in rows.wanted for text in pair)) if rows.wanted else annotated,
        sampled=sampled,
    )


def _quoted(text: str) -> str:
    return exp.Literal.string(text).sql(DIALECT)


def _is(*pairs: str) -> exp.Expr:
    equal = [
        exp.EQ(this=column(pairs[at], "r"), expression=exp.Literal.string(pairs[at + 1]))
        for at in range(0, len(pairs), 2)
    ]
    return all_of(equal)


def annotation(kind: str | None, slug: str, rows: str, *, compat: bool = True) -> exp.Expr | None:
    """Return the branch a row says it belongs to, by the column type of its source (spec §9.5); none: unknown.

    Compat reads an `events_stream` row's own extra, so that ordinary rows of the first day never count
    (spec §14.1); otherwise the row's experiments are read.
    """
    quoted = _quoted(slug)
    texts = {
        "simple": f"mozfun.map.get_key(experiments, {quoted})",
        "native": f"mozfun.map.get_key(experiments, {quoted}).branch",
        "glean": f"mozfun.map.get_key(ping_info.experiments, {quoted}).branch",
    }
    if kind is None:
        return None
    if kind != "events_stream":
        return column(texts[kind], rows)
    if not compat:
        path = exp.Literal.string(f'$."{slug}".branch')
        return exp.JSONExtractScalar(this=column("experiments", rows), expression=path)
    skeleton = "SELECT IF(JSON_VALUE(:extra, '$.experiment') = :slug, JSON_VALUE(:extra, '$.branch'), NULL)"
    tree: exp.Expr = filled(skeleton, extra=column("event_extra", rows), slug=slug).selects[0]
    return tree


def exposures_tree(experiment: r.ResolvedExperiment, through: dt.date) -> exp.Expr:
    """Return the first exposure per unit: of the custom signal, else of the exposure events of the service."""
    first, _ = span(experiment)
    signal = experiment.exposure_signal
    if signal is not None:
        source = source_of(signal.data_source)
        rows = from_expression(source, None)
        return filled(
            _EXPOSED,
            {"rows": rows},
            id=column(id_column(signal.data_source, experiment.analysis_unit), "r"),
            day=column(signal.data_source.submission_date_column, "r"),
            is_exposure=parse_expression(signal.select_expression, f"exposure signal {signal.name}"),
            first=first,
            last=through,
        )
    dataset = experiment.record.app_id or experiment.record.app_name
    normandy = experiment.enrollments_query_type == "normandy"
    table = exp.table_("events" if normandy else "events_stream", "telemetry" if normandy else dataset, PROJECT)
    quote_odd_names(table)
    condition = (
        _is("event_category", "normandy", "event_method", "expose", "event_string_value", experiment.slug)
        if normandy
        else _is(
            "event_category", "nimbus_events", "event_name", "exposure",
            "JSON_VALUE(event_extra, '$.experiment')", experiment.slug,
        )
    )  # fmt: skip
    return filled(
        _EXPOSED,
        {"rows": table},
        id=column(str(experiment.analysis_unit), "r"),
        day=column("submission_date" if normandy else "DATE(submission_timestamp)", "r"),
        is_exposure=condition,
        first=first,
        last=through,
    )


def source_of(source: r.ResolvedDataSource) -> SourceQuery:
    """Return a resolved data source as a source query without joins."""
    return SourceQuery(
        name=source.name,
        from_expression=source.from_expression,
        client_id=source.client_id_column,
        submission_date=source.submission_date_column,
        default_dataset=source.default_dataset,
    )


def id_column(source: r.ResolvedDataSource | SegmentDataSourceDefinition, unit: Unit) -> str:
    """Return the column of a source that identifies a unit."""
    if unit is Unit.PROFILE_GROUP:
        return source.group_id_column or "profile_group_id"
    return source.client_id_column or "client_id"


def _segments_tree(
    experiment: r.ResolvedExperiment, segments: list[r.ResolvedSegment], first: dt.date, last: dt.date
) -> exp.Select:
    """Return the segments of one data source: booleans over rows around each enrollment (spec §9.3)."""
    source = segments[0].data_source
    query = SourceQuery(
        name=source.name, from_expression=str(source.from_expression), default_dataset=source.default_dataset
    )
    day = column(source.submission_date_column or "submission_date", "ds")
    enrolled = exp.column("enrollment_date", "e")
    skeleton = """
    SELECT e.analysis_id, e.branch
    FROM raw_enrollments AS e
    LEFT JOIN :rows AS ds ON :id = e.analysis_id
      AND :day BETWEEN :from_day AND :to_day AND :day BETWEEN :first AND :last
    GROUP BY e.analysis_id, e.branch
    """
    select = filled(
        skeleton,
        {"rows": from_expression(query, None)},
        id=column(id_column(source, experiment.analysis_unit), "ds"),
        day=day,
        from_day=shifted(enrolled.copy(), source.window_start),
        to_day=shifted(enrolled.copy(), source.window_end),
        first=first + dt.timedelta(days=source.window_start),
        last=last + dt.timedelta(days=source.window_end),
    )
    for segment in segments:
        condition = parse_expression(segment.select_expression, f"segment {segment.name}")
        select = select.select(exp.alias_(condition, segment.name))
    return select
