"""Checking SQL definitions without running them: outputs, peers, entities, and what OSO would do otherwise.

Every model of a metric is compiled; findings are collected, and one metric never hides another (spec oso §13.7).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

from sqlglot import exp

from tallystick.compiler.binding import bound_template
from tallystick.compiler.definition_context import DefinitionContext
from tallystick.compiler.derived_models import name_collisions
from tallystick.compiler.entity_join import base_entity, differs_joined_last
from tallystick.compiler.labels import Labels, output_labels, wanted_labels
from tallystick.compiler.model import Model
from tallystick.compiler.peers import misalignment
from tallystick.compiler.plan import metric_models
from tallystick.compiler.run_dates import output_name
from tallystick.compiler.sql_definition import (
    Stage,
    compile_definition,
    definition_of,
    peer_models,
    specialise,
    unused_variables,
)
from tallystick.definitions.diagnostics import Diagnostic, Severity, diagnose, from_error, nearest, sort
from tallystick.definitions.graph import ARROW, cycles
from tallystick.definitions.metric import Metric, SqlQuery
from tallystick.errors import CompileError, DefinitionError
from tallystick.sql.grain import Grain
from tallystick.sql.macro_calls import calls

REQUIRED = ("metrics_sample_date", "metric", "amount")
OPTIONAL = ("event_source",)


def check_definitions(context: DefinitionContext) -> tuple[Diagnostic, ...]:
    """Return all findings about the SQL definitions of a project."""
    metrics = [m for m in context.project.metrics.values() if isinstance(m.definition, SqlQuery) and m.enabled]
    found: list[Diagnostic] = []
    for metric in metrics:
        found += check_definition(metric, context)
    found += _cycles(metrics, context)
    if context.is_oso:
        found += _collisions(context)
    return sort(found)


def check_definition(metric: Metric, context: DefinitionContext) -> tuple[Diagnostic, ...]:
    """Return the findings about one metric, each told once however many of its models it concerns."""
    at = metric.origin.of("sql")
    try:
        template = bound_template(definition_of(metric).sql, context.dialect_of(definition_of(metric)))
    except DefinitionError:
        return _compile_errors(metric, next(metric_models(metric, context.project), None), context)
    found: list[Diagnostic] = []
    for name in unused_variables(metric, context):
        message = f"'{metric.name}': the variable '{name}' is given and never used"
        found.append(diagnose("unused-variable", message, at, severity=Severity.WARNING))
    for model in metric_models(metric, context.project):
        problems = _compile_errors(metric, model, context)
        found += problems or _model_findings(metric, model, template, context)
    if context.is_oso:
        found += _differences(metric, template, context)
    return tuple(dict.fromkeys(found))


def _compile_errors(metric: Metric, model: Model | None, context: DefinitionContext) -> tuple[Diagnostic, ...]:
    if model is None:
        return ()
    try:
        compile_definition(metric, model, context, stage=Stage.INTERMEDIATE)
    except DefinitionError as error:
        return (from_error("bad-definition", error, metric.origin.of("sql")),)
    except CompileError as error:
        return (from_error("entity-join", error, metric.origin.of("sql")),)
    return ()


def is_faulty(metric: Metric, model: Model, context: DefinitionContext) -> bool:
    """Tell whether a definition cannot be compiled for a model, or lacks a column there."""
    if _compile_errors(metric, model, context):
        return True
    tree = compile_definition(metric, model, context, stage=Stage.INTERMEDIATE)
    return any(found.severity is Severity.ERROR for found in _contract(metric, model, tree, context))


def _model_findings(
    metric: Metric, model: Model, template: exp.Query, context: DefinitionContext
) -> Iterator[Diagnostic]:
    tree = compile_definition(metric, model, context, stage=Stage.INTERMEDIATE)
    yield from _contract(metric, model, tree, context)
    yield from _lost_labels(metric, model, tree, context)
    if differs_joined_last(tree):
        base = base_entity(definition_of(metric), context).name
        message = (
            f"'{metric.name}' is worked out for each {base} first, and only then for each {model.entity}: "
            "what it counts distinctly, averages or compares is not that of the whole"
        )
        hint = f"name the column of the {base} plainly in every SELECT that reads an event source"
        yield diagnose("joined-last", message, metric.origin.of("sql"), severity=Severity.WARNING, hint=hint)
    relative = any(macro.name == "relative_window_sample_date" for _, macro in calls(template))
    for peer in peer_models(metric, model, context):
        reason = misalignment(peer, model.time, context, relative=relative)
        if reason is not None:
            message = f"'{metric.name}' {model.time.suffix} reads {peer.name}: {reason}"
            yield diagnose("misaligned-peer", message, metric.origin.of("sql"), severity=Severity.WARNING)


def _lost_labels(metric: Metric, model: Model, tree: exp.Query, context: DefinitionContext) -> Iterator[Diagnostic]:
    """Report conditions on the names of peers' rows that no row of theirs can meet (spec oso §9.8)."""
    peers = peer_models(metric, model, context)
    wanted = list(wanted_labels(tree, [peer.name for peer in peers])) if peers else []
    if not wanted:
        return
    known: set[str] = set()
    for peer in peers:
        labels = _labels(peer, context)
        if labels is None:
            return
        known |= labels
    for text, pattern in wanted:
        if not any(pattern.fullmatch(label) for label in known):
            names = ", ".join(dict.fromkeys(peer.metric for peer in peers))
            message = f"'{metric.name}' reads rows named '{text}', which {names} does not put out"
            hint = nearest(text, known) or f"it puts out {', '.join(sorted(known)[:8])}, …"
            yield diagnose("unknown-label", message, metric.origin.of("sql"), severity=Severity.WARNING, hint=hint)


def _labels(peer: Model, context: DefinitionContext) -> Labels:
    """Return the names in a peer's rows, None where they are not known or the peer has mistakes of its own."""
    try:
        return output_labels(
            compile_definition(context.project.metrics[peer.metric], peer, context, stage=Stage.INTERMEDIATE)
        )
    except (DefinitionError, CompileError):
        return None


def output_columns(tree: exp.Query) -> list[str] | None:
    """Return the names of the columns a query puts out, or None where a star hides them."""
    names = tree.named_selects
    return None if "*" in names or any(select.is_star for select in tree.selects) else [n.lower() for n in names]


def contract_columns(metric: Metric, model: Model, columns: Collection[str], context: DefinitionContext) -> list[str]:
    """Return the columns every metric table has, in their order; `columns` tells how the entity's key is written."""
    base, entity = base_entity(definition_of(metric), context), context.entities[model.entity]
    prefixed = f"to_{model.entity}_id"
    key = entity.key.lower() if prefixed not in columns and entity.key.lower() in columns else prefixed
    return ["metrics_sample_date", "event_source", key, f"from_{base.name}_id", "metric", "amount"]


def entity_column(model: Model, context: DefinitionContext) -> str:
    """Return the column of a query's tables that says which entity a row is of."""
    metric = context.project.metrics[model.metric]
    return contract_columns(metric, model, output_columns(specialise(metric, model, context)) or (), context)[2]


def contracted(query: exp.Query, model: Model, context: DefinitionContext) -> exp.Query:
    """Return a definition's query with exactly the columns of a metric table, in their order (spec oso §1).

    What is beyond them is dropped; a registry's tables have the two that may be left out, too. Raise CompileError
    where one is missing that nothing can stand for.
    """
    metric, columns = context.project.metrics[model.metric], output_columns(query)
    if columns is None or model.entity not in context.entities:
        return query
    for finding in _contract(metric, model, query, context):
        if finding.severity is Severity.ERROR:
            raise CompileError(finding.message, at=finding.location, hint=finding.hint)
    expected = contract_columns(metric, model, columns, context)
    spare = {name for name in expected if name not in columns}
    is_complete = spare <= {"event_source", expected[3]}
    if definition_of(metric).oso is None:
        expected = [name for name in expected if name in columns]
    if columns == expected or not is_complete:
        return query
    written = dict(zip(columns, map(output_name, query.selects), strict=True))
    chosen = [
        exp.Literal.string("").as_(name) if name in spare else exp.column(written[name].copy()) for name in expected
    ]
    return exp.select(*chosen).from_(query.subquery("model", copy=False), copy=False)


def _contract(metric: Metric, model: Model, tree: exp.Query, context: DefinitionContext) -> Iterator[Diagnostic]:
    """Compare what a definition puts out with the columns of every metric table (spec oso §1)."""
    columns = output_columns(tree)
    if columns is None:
        return
    at, base = metric.origin.of("sql"), base_entity(definition_of(metric), context)
    expected = contract_columns(metric, model, columns, context)
    for name in [n for n in expected if n not in columns]:
        yield _missing(metric, model, name, columns, base.name, context)
    for name in [n for n in columns if n not in expected]:
        message = f"'{metric.name}' puts out '{name}', which no metric table has"
        yield diagnose(
            "extra-column", message, at, severity=Severity.WARNING, hint=f"columns are {', '.join(expected)}"
        )
    known = [name for name in columns if name in expected]
    if known != [name for name in expected if name in columns]:
        message = f"'{metric.name}' puts its columns out in another order"
        yield diagnose("reordered-columns", message, at, severity=Severity.WARNING, hint=f"write {', '.join(expected)}")


def _missing(
    metric: Metric, model: Model, name: str, columns: list[str], base: str, context: DefinitionContext
) -> Diagnostic:
    at = metric.origin.of("sql")
    if name in ("event_source", f"from_{base}_id"):
        message = f"'{metric.name}' puts out no '{name}'"
        return diagnose("missing-column", message, at, severity=Severity.WARNING, hint=f"add '' AS {name}")
    if name == f"to_{model.entity}_id" and (f"to_{base}_id" in columns or context.entities[base].key in columns):
        tables = ", ".join(sorted({t.name for t in tables_of(metric, context)}))
        message = f"'{metric.name}' stays at {base} level in its {model.entity} tables: it reads no known event source"
        hint = f"add the table that carries to_{base}_id to timeseries_sources (it reads {tables})"
        severity = Severity.WARNING if context.is_oso else Severity.ERROR
        return diagnose("entity-join", message, at, severity=severity, hint=hint)
    return diagnose("missing-column", f"'{metric.name}' puts out no '{name}'", at, hint=f"select … AS {name}")


def tables_of(metric: Metric, context: DefinitionContext) -> Iterator[exp.Table]:
    """Yield the tables a definition reads under their own names: no common tables, no peers."""
    definition = definition_of(metric)
    tree = bound_template(definition.sql, context.dialect_of(definition))
    derived = {cte.alias for cte in tree.find_all(exp.CTE)}
    for table in tree.find_all(exp.Table):
        if isinstance(table.this, exp.Identifier) and table.name not in derived:
            yield table


def _cycles(metrics: list[Metric], context: DefinitionContext) -> list[Diagnostic]:
    """Report metrics that read each other in a circle, each circle once as a path of tables."""
    places = {metric.name: metric.origin.location for metric in metrics}
    owners = {model.name: model.metric for metric in metrics for model in metric_models(metric, context.project)}
    found: dict[frozenset[str], Diagnostic] = {}
    for path in cycles(model_dependencies(metrics, context)):
        message = f"metrics read each other in a cycle: {ARROW.join(path)}"
        hint = "break it at one of these tables"
        circle = frozenset(owners[name] for name in path)
        found.setdefault(circle, diagnose("peer-cycle", message, places[owners[path[0]]], hint=hint))
    return list(found.values())


def model_dependencies(metrics: list[Metric], context: DefinitionContext) -> dict[str, tuple[str, ...]]:
    """Return for each model the models it reads; those of a definition that does not compile are left out."""
    found: dict[str, tuple[str, ...]] = {}
    for metric in metrics:
        for model in metric_models(metric, context.project):
            try:
                found[model.name] = tuple(peer.name for peer in peer_models(metric, model, context))
            except DefinitionError:
                break
    return found


def _collisions(context: DefinitionContext) -> list[Diagnostic]:
    return [
        diagnose(
            "metadata-collision",
            f"the description of '{key}' also holds the SQL of {', '.join(others)}",
            severity=Severity.WARNING,
            hint='this is compat = "oso"',
        )
        for key, others in name_collisions(context).items()
    ]


def _differences_of_entities(metric: Metric, context: DefinitionContext) -> Iterator[str]:
    base = base_entity(definition_of(metric), context).name
    if all(entity == base for entity in metric.views.entities):
        return
    yield "a member reached by two paths counts twice"
    events = (table for table in tables_of(metric, context) if table.name in context.sources)
    if any(table.find_ancestor(exp.CTE, exp.Subquery) for table in events):
        yield f"what its inner queries compute stays at {base} level"


def _differences(metric: Metric, template: exp.Query, context: DefinitionContext) -> Iterator[Diagnostic]:
    """Say where OSO's profile gives other numbers than the default would (spec oso §9)."""
    views, used = metric.views, {macro.name for _, macro in calls(template)}
    reasons: list[str] = []
    if context.dialect != "duckdb" and {Grain.QUARTER, Grain.HALF} & set(views.grains):
        reasons.append(f"quarters and half-years are cut by month on {context.dialect}")
    if views.grains and "metrics_end" in used:
        reasons.append("the first day of the next bucket is read too")
    if any(not window.is_fixed for window in views.rolling):
        reasons.append("windows of months, quarters and years are one unit short")
    if views.rolling and "metrics_end" in used:
        reasons.append("the last day of a window is lost on timestamps")
    if "metrics_sample_interval_length" in used and (views.all_time or views.rolling):
        reasons.append("interval lengths are 0 over all time and a day short in windows")
    if "metrics_sample_interval_length" in used and views.grains:
        reasons.append("an average over a bucket that still runs is divided by the whole bucket")
    if views.rolling and definition_of(metric).cron not in (None, "@daily"):
        reasons.append(f"windows end on the ticks of {definition_of(metric).cron} only")
    reasons += _differences_of_entities(metric, context)
    for reason in reasons:
        yield diagnose(
            "oso-difference",
            f"'{metric.name}': {reason}",
            metric.origin.of("sql"),
            severity=Severity.INFO,
            hint='remove compat = "oso" for the right values',
        )
