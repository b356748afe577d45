"""Resolving metrics: what each is computed from exists, fits together and can be counted for what is asked."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace

from sqlglot.dialects.dialect import Dialect

from tallystick.definitions.columns import EXPR, condition_path, metric_columns, projected
from tallystick.definitions.conditions import expand, named_conditions
from tallystick.definitions.diagnostics import Severity, diagnose, nearest
from tallystick.definitions.drafts import Drafts
from tallystick.definitions.entity import ALL
from tallystick.definitions.fragment import check_condition, check_expression, check_template, is_name
from tallystick.definitions.graph import ARROW, bases, cycles, describe_edges, in_order
from tallystick.definitions.metric import Aggregate, Formula, Metric, SqlQuery
from tallystick.definitions.origin import place_of
from tallystick.definitions.query_file import place_in_query
from tallystick.definitions.source import Source
from tallystick.definitions.written_out import write_out
from tallystick.errors import DefinitionError, ExpressionError, Location
from tallystick.sql.expression import MeasureClass, parse, parse_formula

FACTORY_ENTITIES = frozenset({"artifact", "project", "collection"})
"""What SQL definitions may be counted for without a word about entities in the project (spec oso §1)."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What is known about a source while its metrics are checked, worked out once for all of them."""

    source: Source
    named: Mapping[str, str]
    stored: frozenset[str] | None
    dimensions: frozenset[str]


def resolve_metrics(drafts: Drafts, dialect: str) -> dict[str, Metric]:
    """Return the metrics that hold together, in the order of the drafts; report every other one."""
    write_out(drafts, dialect)
    terms = {name: _terms(source, drafts, dialect) for name, source in drafts.sources.items()}
    good: dict[str, Metric] = {}
    for metric in drafts.metrics.values():
        if not isinstance(metric.definition, Formula):
            before = drafts.errors()
            resolved = _resolve_one(metric, terms, drafts, dialect)
            _keep(resolved, before, good, drafts)
    _check_flawed(terms, drafts, dialect)
    _resolve_formulas(good, terms, drafts, dialect)
    _say_sides(drafts)
    return {name: good[name] for name in drafts.metrics if name in good and good.get(good[name].operand_of or name)}


def _say_sides(drafts: Drafts) -> None:
    """Let findings about operands speak of the ratio they belong to: their own names are written nowhere."""
    sides = {
        f"metric '{metric.name}'": f"{metric.name.rpartition('__')[2]} of metric '{metric.operand_of}'"
        for metric in drafts.metrics.values()
        if metric.operand_of is not None
    }
    for index, finding in enumerate(drafts.findings if sides else ()):
        message = finding.message
        for name, side in sides.items():
            message = message.replace(name, side)
        drafts.findings[index] = replace(finding, message=message)


def _check_flawed(terms: Mapping[str, Terms], drafts: Drafts, dialect: str) -> None:
    """Report what else is wrong with metrics that are left out already, but not that they are."""
    before = len(drafts.findings)
    for metric in drafts.flawed:
        if not isinstance(metric.definition, Formula):
            _resolve_one(metric, terms, drafts, dialect)
    drafts.findings[before:] = [finding for finding in drafts.findings[before:] if finding.code != "left-out"]


def _keep(metric: Metric, before: int, good: dict[str, Metric], drafts: Drafts) -> None:
    if drafts.errors() > before:
        drafts.leave_out("metric", metric.name)
    else:
        good[metric.name] = metric


def _terms(source: Source, drafts: Drafts, dialect: str) -> Terms:
    stored = projected(source, dialect)
    on_source = {dimension.name for dimension in drafts.dimensions.values() if dimension.source == source.name}
    dimensions = frozenset({*on_source, *source.columns, *(stored or ())})
    return Terms(source, named_conditions(source, drafts.segments), stored, dimensions)


def _resolve_one(metric: Metric, terms: Mapping[str, Terms], drafts: Drafts, dialect: str) -> Metric:
    definition = metric.definition
    if isinstance(definition, Aggregate | SqlQuery):
        _check_dialect(metric, definition.dialect, drafts)
    if isinstance(definition, SqlQuery):
        _check_query(metric, definition, drafts, dialect)
        return _check_query_views(metric, drafts)
    if not isinstance(definition, Aggregate):
        return metric
    metric = _with_source_of_event(metric, definition, drafts)
    definition = metric.definition
    if not isinstance(definition, Aggregate) or not definition.source:
        return metric
    if definition.source not in terms:
        at = place_of(metric.origin, "source", "data_source", "event")
        where = f"metric '{metric.name}'"
        drafts.findings.append(drafts.missing("source", definition.source, where, at, drafts.sources))
        return metric
    known = terms[definition.source]
    _check_aggregate(metric, definition, known, drafts, dialect)
    return _check_views(metric, [known], drafts)


def _check_dialect(metric: Metric, dialect: str | None, drafts: Drafts) -> None:
    if dialect is not None and not Dialect.get(dialect):
        hint = nearest(dialect, (name for name in Dialect.classes if name))
        at = place_of(metric.origin, "dialect")
        drafts.findings.append(diagnose("bad-value", f"'{dialect}' is not an SQL dialect", at, hint=hint))


# -- aggregates -------------------------------------------------------------------------------------------------------


def _with_source_of_event(metric: Metric, definition: Aggregate, drafts: Drafts) -> Metric:
    """Return the metric with the source of its event, where it names an event and no source."""
    if definition.source:
        return metric
    event = definition.where[0]
    segment = drafts.segments.get(event)
    if segment is not None:
        return replace(metric, definition=replace(definition, source=segment.source))
    kind = next((kind for kind in ("event", "segment", "filter") if event in drafts.broken.get(kind, ())), "event")
    at = place_of(metric.origin, "event")
    drafts.findings.append(drafts.missing(kind, event, f"metric '{metric.name}'", at, drafts.segments))
    return metric


def _check_aggregate(metric: Metric, definition: Aggregate, known: Terms, drafts: Drafts, dialect: str) -> None:
    written = definition.dialect or dialect
    if not Dialect.get(written):
        return
    try:
        check_expression(definition.expr, written, drafts.settings.allow_functions)
        parse(definition.expr, written)
    except DefinitionError as error:
        _report_expression(metric, error, drafts)
    _check_unit(metric, definition, known.source, written, drafts)
    for index, text in enumerate(definition.where):
        _check_condition(metric, index, text, known, drafts, dialect)
    only_all_time = metric.views.all_time and not (metric.views.grains or metric.views.rolling)
    if known.source.time is None and not only_all_time:
        at = place_of(metric.origin, "source", "data_source", "event")
        message = f"metric '{metric.name}': source '{known.source.name}' has no time column"
        hint = f"add time = \"…\" to source '{known.source.name}'"
        drafts.findings.append(diagnose("missing-time", message, at, hint=hint))
    if known.stored is not None:
        told = {(finding.file, finding.line, finding.column) for finding in drafts.findings}
        found = metric_columns(metric, known.source, known.stored, drafts.segments, dialect)
        drafts.findings += [one for one in found if (one.file, one.line, one.column) not in told]


def _check_unit(metric: Metric, definition: Aggregate, source: Source, dialect: str, drafts: Drafts) -> None:
    """Report a unit that rows of the source do not carry, and balances, which have no value per unit and bucket."""
    if definition.per_unit is None:
        return
    entity, at = definition.per_unit.entity, place_of(metric.origin, "per_unit")
    if entity not in source.entities:
        hint = nearest(entity, source.entities) or f"add {entity} to the source's entities"
        message = f"metric '{metric.name}': source '{source.name}' does not carry '{entity}'"
        drafts.findings.append(diagnose("unknown-entity", message, at, hint=hint))
    try:
        is_balance = parse(definition.expr, dialect).kind is MeasureClass.SEMI_ADDITIVE
    except DefinitionError:
        return
    if is_balance:
        message = f"metric '{metric.name}': first and last are balances and have no value per unit"
        drafts.findings.append(diagnose("bad-expression", message, at, hint="leave per_unit out"))


def _report_expression(metric: Metric, error: DefinitionError, drafts: Drafts) -> None:
    """Report an expression at the token where it stops being SQL, or as a whole where it is SQL that does not do."""
    drafts.report_sql(
        error,
        metric.origin,
        *EXPR,
        code="bad-expression" if isinstance(error, ExpressionError) and not error.at else "bad-sql",
    )


def _check_condition(metric: Metric, index: int, text: str, known: Terms, drafts: Drafts, dialect: str) -> None:
    definition = metric.definition
    own_dialect = definition.dialect if isinstance(definition, Aggregate) else None
    if not is_name(text):
        try:
            check_condition(text, own_dialect or dialect, drafts.settings.allow_functions)
            expand(text, known.named, dialect, own_dialect)
        except DefinitionError as error:
            drafts.report_sql(error, metric.origin, condition_path(metric, index), "where")
        return
    name, source = text.strip(), known.source
    if name in known.named or name in source.columns or name.lower() in (known.stored or ()):
        return
    at = place_of(metric.origin, condition_path(metric, index), "where")
    where = f"metric '{metric.name}'"
    if segment := drafts.segments.get(name):
        message = f"{where}: {segment.kind} '{name}' is on source '{segment.source}', not on '{source.name}'"
        hint = nearest(name, known.named) if known.named else None
        drafts.findings.append(diagnose("wrong-source", message, at, hint=hint))
        return
    kind = next((kind for kind in ("event", "segment", "filter") if name in drafts.broken.get(kind, ())), None)
    if kind is not None:
        drafts.findings.append(drafts.missing(kind, name, where, at, known.named))
        return
    message = f"{where}: source '{source.name}' has no filter, event or segment '{name}'"
    hint = nearest(name, known.named) or f"for a column write a condition, such as {name} = true"
    drafts.findings.append(diagnose("unknown-filter", message, at, hint=hint))


# -- formulas ---------------------------------------------------------------------------------------------------------


def _resolve_formulas(good: dict[str, Metric], terms: Mapping[str, Terms], drafts: Drafts, dialect: str) -> None:
    """Add formulas to the good metrics, operands before what is computed from them."""
    edges = _operands(drafts, dialect)
    for cycle in cycles(edges):
        at = place_of(drafts.metrics[cycle[0]].origin, *EXPR)
        message = f"metrics are computed from themselves: {ARROW.join(cycle)}"
        drafts.findings.append(diagnose("metric-cycle", message, at, hint="define one of them on a source"))
        for name in cycle:
            drafts.leave_out("metric", name)
    for name in in_order(edges):
        metric = drafts.metrics[name]
        if name in drafts.broken.get("metric", ()):
            continue
        if any(operand.name not in good for operand in _own_operands(metric)):
            drafts.leave_out("metric", name)  # their errors are reported
            continue
        before = drafts.errors()
        for operand in edges[name]:
            if operand not in good:
                at = place_of(metric.origin, *EXPR)
                known = [other for other in drafts.metrics if other != name]
                drafts.findings.append(drafts.missing("metric", operand, f"metric '{name}'", at, known))
        if drafts.errors() == before:
            sources = _sources_below(name, good, edges)
            _check_breakdown(metric, sources, drafts)
            metric = _check_views(metric, [terms[source] for source in sources], drafts)
            metric = _with_operands(metric, good)
        _keep(metric, before, good, drafts)


def _with_operands(metric: Metric, good: Mapping[str, Metric]) -> Metric:
    """Return a ratio with its operands as they were resolved."""
    operands = tuple(good[operand.name] for operand in _own_operands(metric))
    if not operands or not isinstance(metric.definition, Formula):
        return metric
    return replace(metric, definition=replace(metric.definition, operands=operands))


def _own_operands(metric: Metric) -> tuple[Metric, ...]:
    return metric.definition.operands if isinstance(metric.definition, Formula) else ()


def _check_breakdown(metric: Metric, sources: list[str], drafts: Drafts) -> None:
    """Report a breakdown of a ratio whose operands are on different sources (spec tripl §4.4)."""
    if metric.kind == "ratio" and metric.views.by and len(sources) > 1:
        message = f"metric '{metric.name}' divides rows of {' by rows of '.join(sources)} and cannot be broken down"
        hint = "write both operands on one source, or leave 'by' out"
        at = place_of(metric.origin, "by")
        drafts.findings.append(diagnose("cross-source-breakdown", message, at, hint=hint))


def _operands(drafts: Drafts, dialect: str) -> dict[str, tuple[str, ...]]:
    """Return the metrics each formula names; formulas that do not parse are reported and left out."""
    edges: dict[str, tuple[str, ...]] = {}
    for metric in drafts.metrics.values():
        if not isinstance(metric.definition, Formula):
            continue
        try:
            check_expression(metric.definition.expr, dialect, drafts.settings.allow_functions)
            edges[metric.name] = parse_formula(metric.definition.expr, dialect).names
        except DefinitionError as error:
            _report_expression(metric, error, drafts)
            drafts.leave_out("metric", metric.name)
    return edges


def _sources_below(name: str, good: Mapping[str, Metric], edges: Mapping[str, Iterable[str]]) -> list[str]:
    """Return the sources of all aggregates a formula is computed from."""
    sources: dict[str, None] = {}
    pending, seen = list(edges[name]), {name}
    while pending:
        operand = pending.pop()
        if operand not in seen:
            seen.add(operand)
            pending.extend(edges.get(operand, ()))
            definition = good[operand].definition
            if isinstance(definition, Aggregate):
                sources[definition.source] = None
    return sorted(sources)


# -- views ------------------------------------------------------------------------------------------------------------


def _check_views(metric: Metric, known: Collection[Terms], drafts: Drafts) -> Metric:
    """Check the entities and dimensions of a metric; return it with only those defaults that its sources reach."""
    for index, name in enumerate(metric.views.entities):
        if name != ALL and name not in drafts.entities:
            at, known_names = _place_of_entity(metric, index), [*drafts.entities, ALL]
            drafts.findings.append(drafts.missing("entity", name, f"metric '{metric.name}'", at, known_names))
        else:
            for terms in known:
                _check_reach(metric, name, terms.source, index, drafts)
    for index, name in enumerate(metric.views.by):
        for terms in known:
            if name not in terms.dimensions and name.lower() not in (terms.stored or ()):
                at = place_of(metric.origin, f"by.{index}")
                message = f"metric '{metric.name}': source '{terms.source.name}' has no dimension '{name}'"
                hint = nearest(name, terms.dimensions) or f'add dimensions = ["{name}"] to the source'
                drafts.findings.append(diagnose("unknown-dimension", message, at, hint=hint))
    return _with_reachable_defaults(metric, known, drafts)


def _place_of_entity(metric: Metric, index: int) -> Location:
    return place_of(metric.origin, f"entities.{index}", f"entity_types.{index}", "entity")


def _check_reach(metric: Metric, entity: str, source: Source, index: int, drafts: Drafts) -> None:
    ways = bases(source, entity, drafts.entities)
    if len(ways) == 1:
        return
    at = _place_of_entity(metric, index)
    if ways:
        message = f"metric '{metric.name}': source '{source.name}' reaches '{entity}' from {' and from '.join(ways)}"
        hint = f"name the column for {entity} in the source's entities"
        drafts.findings.append(diagnose("ambiguous-entity", message, at, hint=hint))
        return
    carried = ", ".join(source.entities) or "no entity"
    message = f"metric '{metric.name}': source '{source.name}' carries {carried} and cannot reach '{entity}'"
    edges = describe_edges(drafts.entities)
    hint = f"roll-ups are {edges}" if edges else f"add {entity} to the source's entities"
    drafts.findings.append(diagnose("unreachable-entity", message, at, hint=hint))


def _with_reachable_defaults(metric: Metric, known: Collection[Terms], drafts: Drafts) -> Metric:
    defaults = drafts.settings.views.entities
    if metric.views.entities or not defaults:
        return metric
    reached = [
        name for name in defaults if all(len(bases(terms.source, name, drafts.entities)) == 1 for terms in known)
    ]
    if len(reached) == len(defaults):
        return metric
    left = ", ".join(name for name in defaults if name not in reached)
    message = f"metric '{metric.name}' is not counted for {left}, a default its source cannot reach"
    drafts.findings.append(diagnose("default-not-reached", message, metric.origin.location, severity=Severity.INFO))
    return replace(metric, views=replace(metric.views, entities=tuple(reached) or (ALL,)))


def _check_query(metric: Metric, definition: SqlQuery, drafts: Drafts, dialect: str) -> None:
    """Report text that is not one query with known macros, at its place in the file it is written in."""
    written = definition.dialect or dialect
    if not Dialect.get(written):
        return
    try:
        check_template(definition.sql, written, drafts.settings.allow_functions)
    except DefinitionError as error:
        at = place_in_query(metric, error.at)
        drafts.findings.append(diagnose("bad-sql", error.message, at, hint=error.hint))


def _check_query_views(metric: Metric, drafts: Drafts) -> Metric:
    """Check what an SQL definition is counted for; its own text decides whether it can be."""
    known = {*drafts.entities, *FACTORY_ENTITIES, ALL}
    for index, name in enumerate(metric.views.entities):
        if name not in known:
            at = _place_of_entity(metric, index)
            drafts.findings.append(drafts.missing("entity", name, f"metric '{metric.name}'", at, known))
    if metric.views.by:
        at = place_of(metric.origin, "by")
        message = f"metric '{metric.name}': 'by' has no meaning beside a query"
        hint = "group by the column in the query, or write the metric as an expression on a source"
        drafts.findings.append(diagnose("misplaced-key", message, at, hint=hint))
    return metric
