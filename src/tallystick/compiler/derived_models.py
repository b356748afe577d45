"""SQL of the models that are made from models: union views and descriptions of metrics (spec oso §8, §13.8, §13.12).

A union's arms name their metric and time view as constants, so that an engine can skip those a query rules out.
Descriptions have a row per published name, with the SQL of exactly that metric's models. OSO's profile gives OSO's
columns, and for descriptions its mix-ups too: every model whose name starts alike.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import reduce

from sqlglot import exp

from tallystick.compiler.binding import bound_template
from tallystick.compiler.definition_context import DefinitionContext, key_of
from tallystick.compiler.factory_models import KEY_METRICS, METADATA, TIMESERIES, FactoryModel, factory_models
from tallystick.compiler.model import Model
from tallystick.compiler.plan import is_registered, metric_models
from tallystick.compiler.sql_definition import Stage, compile_definition, definition_of, render_definition
from tallystick.definitions.metric import Metric, SqlQuery
from tallystick.definitions.project import Project
from tallystick.errors import CompileError
from tallystick.sql.macro_calls import arguments_of, calls

UNION_COLUMNS = ("metrics_sample_date", "to_{entity}_id", "from_artifact_id", "metric", "amount")
_TYPES = {"metrics_sample_date": "DATE", "amount": "DOUBLE"}
METADATA_COLUMNS = ("display_name", "description", "metric", "sql_source_path", "rendered_sql")


def project_derived(project: Project) -> tuple[FactoryModel, ...]:
    """Return the unions and descriptions of what a project's registries list; none where it has no registry."""
    registered = {metric.name for metric in project.metrics.values() if is_registered(metric)}
    if not registered:
        return ()
    models = factory_models(project)
    shown = {m.name for m in models if m.model is not None and m.model.metric in registered}
    return tuple(
        replace(m, members=tuple(name for name in m.members if name in shown)) if m.kind == "union" else m
        for m in models
        if m.model is None
    )


def derived_named(project: Project, name: str) -> FactoryModel | None:
    """Return the union or description of that name, with or without its schema."""
    if not name.rpartition(".")[2].startswith((TIMESERIES, KEY_METRICS, METADATA)):
        return None  # the models of a large registry need not be listed to know that
    return next((model for model in project_derived(project) if name in (model.name, model.table)), None)


def derived_model(model: FactoryModel, context: DefinitionContext) -> exp.Query:
    """Return the query of a union or metadata model; raise CompileError for another kind."""
    if model.kind == "union":
        return union_model(model, context)
    if model.kind == "metadata":
        return metadata_model(model, context)
    raise CompileError(f"'{model.name}' is a model of a metric", hint="compile its definition")


def union_model(model: FactoryModel, context: DefinitionContext) -> exp.Query:
    """Return the view over all tables of an entity: `metric` is the published name, `{event_source}_{metric}`."""
    members = {member.name: member for member in factory_models(context.project)}
    arms: list[exp.Query] = [_arm(members[name], context) for name in model.members]
    if not arms:
        return _nothing(_union_types(str(model.entity), context))
    return reduce(lambda a, b: exp.union(a, b, distinct=False, copy=False), arms)


def _arm(member: FactoryModel, context: DefinitionContext) -> exp.Select:
    columns: list[exp.Expr] = [exp.column(name.format(entity=member.entity)) for name in UNION_COLUMNS]
    published = exp.func(
        "CONCAT", exp.column("event_source"), exp.Literal.string("_"), exp.column("metric"), dialect=context.dialect
    )
    columns[3] = exp.alias_(published, "metric")
    if not context.is_oso and member.model is not None:
        # One table of other types must not change those of all.
        columns[0] = exp.alias_(exp.cast(columns[0], "DATE"), UNION_COLUMNS[0])
        columns[4] = exp.alias_(exp.TryCast(this=columns[4], to=exp.DataType.build("DOUBLE")), UNION_COLUMNS[4])
        columns.append(exp.alias_(exp.Literal.string(member.metric or ""), "metric_key"))
        columns.append(exp.alias_(exp.Literal.string(member.model.time.suffix), "time_view"))
    return exp.select(*columns).from_(exp.table_(member.table, db=context.schema))


def _union_types(entity: str, context: DefinitionContext) -> dict[str, str]:
    names = [name.format(entity=entity) for name in UNION_COLUMNS]
    names += [] if context.is_oso else ["metric_key", "time_view"]
    return {name: _TYPES.get(name, "TEXT") for name in names}


def _nothing(types: dict[str, str]) -> exp.Query:
    """Return a query of no rows with typed columns: a union over no table is empty, not an error."""
    columns = [exp.alias_(exp.cast(exp.null(), kind), name) for name, kind in types.items()]
    return exp.select(*columns).where(exp.false())


def metadata_model(model: FactoryModel, context: DefinitionContext) -> exp.Query:
    """Return the rows that describe one metric, or all of them."""
    metrics = {key_of(metric): metric for metric in context.project.metrics.values()}
    keys = [model.metric] if model.metric is not None else [m.rpartition("metrics_metadata_")[2] for m in model.members]
    if model.metric is None:
        tables = (exp.table_(name.rpartition(".")[2], db=context.schema) for name in model.members)
        arms: list[exp.Query] = [exp.select(*_metadata_columns(context)).from_(table) for table in tables]
    else:
        arms = [row for key in keys if key in metrics for row in _rows(metrics[key], context)]
    if not arms:
        return _nothing(dict.fromkeys(_metadata_columns(context), "TEXT"))
    return reduce(lambda a, b: exp.union(a, b, distinct=model.metric is None, copy=False), arms)


def _metadata_columns(context: DefinitionContext) -> tuple[str, ...]:
    return METADATA_COLUMNS if context.is_oso else (*METADATA_COLUMNS, "metric_key", "unit")


def _rows(metric: Metric, context: DefinitionContext) -> Iterator[exp.Query]:
    definition, key = definition_of(metric), key_of(metric)
    names = [key] if context.is_oso else published_names(metric, context)
    # Of a disabled metric there is no text, and a list of nothing has no type of its own.
    texts = exp.Array(expressions=[exp.Literal.string(text) for text in _texts(metric, context)])
    sql = texts if texts.expressions else exp.cast(texts, "ARRAY<TEXT>")
    for name in names:
        values: list[exp.Expr] = [
            exp.Literal.string(metric.about.friendly_name or name),
            exp.Literal.string(metric.about.description or ""),
            exp.Literal.string(name),
            exp.Literal.string(definition.ref or ""),
            sql.copy(),
        ]
        if not context.is_oso:
            unit = metric.about.unit
            values += [exp.Literal.string(key), exp.Literal.string(unit) if unit else exp.cast(exp.null(), "TEXT")]
        pairs = zip(values, _metadata_columns(context), strict=True)
        yield exp.select(*(exp.alias_(value, column) for value, column in pairs))


def published_names(metric: Metric, context: DefinitionContext) -> list[str]:
    """Return the names a definition publishes, without time suffix; its key where they come from data.

    A name that contains an expression is known only once the query has run.
    """
    definition = definition_of(metric)
    found: dict[str, None] = {}
    for node, macro in calls(bound_template(definition.sql, context.dialect_of(definition))):
        if macro.name in ("metric_name", "metrics_name"):
            given = arguments_of(node).get("name")
            if given is None:
                found[key_of(metric)] = None
            elif isinstance(given, exp.Literal) and given.is_string:
                found[given.name] = None
    return list(found) or [key_of(metric)]


def _texts(metric: Metric, context: DefinitionContext) -> Iterator[str]:
    for of, model in described(metric, context):
        query = compile_definition(of, model, context, stage=Stage.INTERMEDIATE)
        yield render_definition(query, context.dialect)


def described(metric: Metric, context: DefinitionContext) -> Iterator[tuple[Metric, Model]]:
    """Yield the models a description speaks of; in OSO's profile also those of metrics named alike (spec oso §8)."""
    for other in context.project.metrics.values():
        if not isinstance(other.definition, SqlQuery):
            continue
        for model in metric_models(other, context.project):
            alike = context.is_oso and model.name.startswith(key_of(metric))
            if other is metric or alike:
                yield other, model


def name_collisions(context: DefinitionContext) -> dict[str, list[str]]:
    """Return, by key, the other metrics whose tables start with it: those OSO would describe together (spec oso §8)."""
    metrics = list(context.project.metrics.values())
    found = {
        key_of(metric): [
            key_of(other) for other in metrics if other is not metric and other.name.startswith(key_of(metric))
        ]
        for metric in metrics
    }
    return {key: others for key, others in found.items() if others}
