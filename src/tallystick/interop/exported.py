"""What every export of models needs: each model's query with its tables named, its keys, and when it runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import PurePath

from sqlglot import exp

from tallystick.compiler.aggregate_model import BUCKET, DENOMINATOR, NUMERATOR, VALUE
from tallystick.compiler.definition_hash import definition_hash
from tallystick.compiler.factory_models import FactoryModel
from tallystick.compiler.lower import bucket_column, key_columns
from tallystick.compiler.model import Model
from tallystick.compiler.order import circles, in_a_circle, in_order
from tallystick.definitions.entity import ALL
from tallystick.definitions.metric import Metric, SqlQuery
from tallystick.definitions.oso_options import Audit
from tallystick.definitions.project import Project
from tallystick.errors import CompileError, TallystickError
from tallystick.interop.bounds import Bounds, Ranged, ranged_query
from tallystick.interop.facts import Facts
from tallystick.interop.registered import Derived, derived, registered_tables
from tallystick.interop.schedule import Schedule, schedule
from tallystick.interop.tables import STAGING, Origin, Reference, resolve

AMOUNT = "amount"
_DESCRIPTIONS = {
    "metrics_sample_date": "First day of the bucket, or last day of the window.",
    VALUE: "Value of the metric.",
    NUMERATOR: "Value above the line of the quotient.",
    DENOMINATOR: "Value below the line of the quotient.",
    AMOUNT: "Value of the metric.",
}
_READERS = {".parquet": "read_parquet", ".json": "read_json", ".ndjson": "read_json"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One model before its SQL: what both tools want to know about it."""

    model: Model
    metric: Metric
    schedule: Schedule
    start: date | None
    is_full: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """What differs between tools: the range a query is given, and how tables are written."""

    bounds: Callable[[Setting], Bounds]
    written: Callable[[Reference], exp.Table]


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """One model ready to be written."""

    setting: Setting
    query: exp.Query
    time_column: str
    key: str | None
    grain: tuple[str, ...]
    columns: tuple[str, ...]
    definition_hash: str
    tags: tuple[str, ...]
    audits: tuple[Audit, ...]
    reads: tuple[Reference, ...]

    @property
    def name(self) -> str:
        """Return the name of the model."""
        return self.setting.model.name

    @property
    def not_null(self) -> tuple[str, ...]:
        """Return the columns that are never NULL."""
        if isinstance(self.setting.metric.definition, SqlQuery) or self.key is None:
            # A query of somebody's own may put out what belongs to nothing.
            return (self.time_column,)
        return (self.time_column, self.key)

    def description(self) -> str:
        """Return what the model holds, in a sentence after the metric's own."""
        model, about = self.setting.model, self.setting.metric.about
        by = f" by {', '.join(model.by)}" if model.by else ""
        of = "over everything" if model.entity == ALL else f"per {model.entity}"
        view = model.time.suffix.replace("_", " ")
        said = (about.description or about.friendly_name or model.metric).strip()
        return f"{said}{'' if said.endswith(('.', '!', '?')) else '.'} {of.capitalize()}{by}, {view}."

    def column_descriptions(self) -> Iterator[tuple[str, str]]:
        """Yield what each column holds."""
        unit = self.setting.metric.about.unit
        for column in self.columns:
            text = _DESCRIPTIONS.get(column)
            if column == self.time_column:
                text = _bucket_description(self.setting.model)
            elif column == self.key:
                text = f"Id of the {self.setting.model.entity}."
            elif column in (VALUE, AMOUNT) and unit:
                text = f"{text} Unit: {unit}."
            if text is not None:
                yield column, text


@dataclass(frozen=True, slots=True, kw_only=True)
class Staged:
    """The rows of a file as a model of its own."""

    name: str
    query: exp.Select
    description: str | None
    columns: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """A model that could not be exported, and why."""

    name: str
    error: TallystickError


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """Everything an export holds, whatever the tool; `external` are tables that somebody else fills."""

    project: Project
    schema: str
    models: tuple[Exported, ...]
    derived: tuple[Derived, ...]
    staged: tuple[Staged, ...]
    external: tuple[Reference, ...]
    failed: tuple[Failed, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Return the names of all models, those of a registry's unions and descriptions last."""
        return (*(model.name for model in self.models), *(model.name for model in self.derived))

    @property
    def audits(self) -> tuple[Audit, ...]:
        """Return the audits a registry gives to all of them."""
        given = (*(model.audits for model in self.models), *(model.audits for model in self.derived))
        return tuple(audit for audits in given for audit in audits)

    @property
    def dialect(self) -> str:
        """Return the dialect of the warehouse."""
        return self.project.warehouse.engine


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What an export wrote and what it could not; `left_out` names audits the tool does not have."""

    models: tuple[str, ...]
    files: tuple[str, ...]
    failed: tuple[Failed, ...]
    left_out: tuple[str, ...] = ()


def contents(
    project: Project, models: Sequence[Model], unions: Sequence[FactoryModel], schema: str, facts: Facts, tool: Tool
) -> Contents:
    """Compile models, parts first and those they read added; one that fails is reported and leaves the others alone.

    `unions` are the unions and descriptions of a registry to write, over what of their parts is exported.
    """
    ordered = in_order(models, project)
    where = Ranged(project=project, dialect=project.warehouse.engine, schema=schema, exported=frozenset(ordered))
    round_about = circles(ordered, project)
    done: list[Exported] = []
    failed: list[Failed] = []
    names = {model.name for model in ordered}
    listed = registered_tables(project)
    for model in ordered:
        try:
            if model.name in round_about:
                raise in_a_circle(round_about[model.name])
            found = _exported(_setting(model, project, facts), where, names, facts, tool)
            done.append(_as_listed(found, listed.get(model.name)))
        except TallystickError as error:
            failed.append(Failed(name=model.name, error=error))
    reads = dict.fromkeys(reference for model in done for reference in model.reads)
    staged = [_staged(reference, project, facts) for reference in reads if reference.origin is Origin.FILE]
    external = sorted(reference for reference in reads if reference.origin is Origin.EXTERNAL)
    exported = {model.name for model in done}
    return Contents(
        project=project,
        schema=schema,
        models=tuple(done),
        derived=tuple(derived(project, unions, schema, exported, tool.written)),
        staged=tuple(staged),
        external=tuple(external),
        failed=tuple(failed),
    )


def _as_listed(model: Exported, listed: FactoryModel | None) -> Exported:
    """Return a model with the tags and audits a registry gives it."""
    if listed is None:
        return model
    return replace(model, tags=tuple(dict.fromkeys((*model.tags, *listed.tags))), audits=listed.audits)


def _setting(model: Model, project: Project, facts: Facts) -> Setting:
    metric = project.metrics[model.metric]
    definition = metric.definition
    is_full = model.time.is_all_time or (isinstance(definition, SqlQuery) and not definition.incremental)
    start = facts.start(model)
    if start is None and not model.time.is_all_time:
        raise CompileError(
            f"'{model.name}' has no first day: neither the project nor the rows of its sources say one",
            hint="give --start DATE, or start = DATE in [project]",
        )
    return Setting(
        model=model, metric=metric, schedule=schedule(model.time, facts.calendar), start=start, is_full=is_full
    )


def _exported(setting: Setting, where: Ranged, names: set[str], facts: Facts, tool: Tool) -> Exported:
    model, project = setting.model, where.project
    query = ranged_query(model, tool.bounds(setting), where)
    columns = _columns(query, setting, facts)
    reads = resolve(query, project, where.schema, names, tool.written)
    time = bucket_column(setting.metric)
    key, grain = _keys(setting, columns, project)
    return Exported(
        setting=setting,
        query=query,
        time_column=time,
        key=key,
        grain=grain,
        columns=columns,
        definition_hash=definition_hash(model, project),
        tags=setting.metric.about.tags,
        audits=(),
        reads=reads,
    )


def _columns(query: exp.Query, setting: Setting, facts: Facts) -> tuple[str, ...]:
    """Return the columns of a model; the warehouse is asked for those that a star stands for."""
    if not query.is_star:
        return tuple(query.named_selects)
    known = facts.types(setting.model)
    if known is None:
        raise CompileError(
            f"the columns of '{setting.model.name}' are not known: its query ends in SELECT *",
            hint="name its columns, or export where the warehouse can be asked for them",
        )
    return tuple(known)


def _keys(setting: Setting, columns: tuple[str, ...], project: Project) -> tuple[str | None, tuple[str, ...]]:
    """Return the entity column and the columns that identify a row: of SQL definitions all but the amount (spec oso §1)."""
    model = setting.model
    if isinstance(setting.metric.definition, SqlQuery):
        wanted = f"to_{model.entity}_id"
        return wanted if wanted in columns else None, tuple(name for name in columns if name != AMOUNT)
    found = key_columns(model, project)
    return found[0] if model.has_entity else None, (BUCKET, *found)


def _bucket_description(model: Model) -> str:
    if model.time.window is not None:
        return "Last day of the window."
    if model.time.grain is None:
        return "Last day the value counts."
    return "Start of the bucket (UTC)." if model.time.grain.is_sub_day else "First day of the bucket."


def _staged(reference: Reference, project: Project, facts: Facts) -> Staged:
    source = project.sources[reference.name.removeprefix(STAGING)]
    assert source.file is not None  # noqa: S101 - only files are staged
    known = facts.columns(source.name)
    rows = _reader(source.file, known or {})
    columns: list[exp.Expr] = [
        exp.cast(exp.column(name, quoted=True), kind, dialect=project.warehouse.engine).as_(name, quoted=True)
        for name, kind in (known or {}).items()
    ]
    query = exp.select(*(columns or [exp.Star()])).from_(rows)
    return Staged(name=reference.name, query=query, description=source.about.description, columns=tuple(known or ()))


def _reader(file: str, columns: object) -> exp.Expr:
    """Return the table function that reads a file; the types of text files are said, so that none is guessed anew."""
    path = exp.Literal.string(PurePath(file).as_posix())
    suffix = PurePath(file).suffix.lower()
    if suffix in _READERS:
        return exp.Anonymous(this=_READERS[suffix], expressions=[path])
    arguments: list[exp.Expr] = [path]
    if isinstance(columns, dict) and columns:
        types = [
            exp.PropertyEQ(this=exp.Literal.string(name), expression=exp.Literal.string(kind))
            for name, kind in columns.items()
        ]
        arguments.append(exp.EQ(this=exp.column("types"), expression=exp.Struct(expressions=types)))
    return exp.Anonymous(this="read_csv", expressions=arguments)
