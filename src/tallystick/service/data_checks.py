"""Findings about the rows behind a project: ids that are missing, repeated, or belong to nothing."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

from sqlglot import exp

from tallystick.compiler.entity_paths import GROUP, MEMBER, Anchor, anchor, is_not_null, membership
from tallystick.compiler.relations import Scope, relation, scope
from tallystick.definitions.diagnostics import Diagnostic, Severity, diagnose
from tallystick.definitions.entity import Entity, RollUp
from tallystick.definitions.metric import Aggregate, Formula, SqlQuery
from tallystick.definitions.project import Project
from tallystick.definitions.source import Source
from tallystick.engines.adapter import Engine
from tallystick.errors import CompileError, EngineError, Location, MissingTableError

EXAMPLES = 3


def check_rows(project: Project, engine: Engine, columns: Mapping[str, Mapping[str, str]]) -> Iterator[Diagnostic]:
    """Yield what is odd about ids in sources and mappings; `columns` are those of the sources that can be read.

    What cannot be read is a finding too, and leaves the others alone.
    """
    broken: set[str] = set()
    for entity in project.entities.values():
        for edge in entity.rolls_up_to:
            if edge.through in project.sources and edge.through not in columns:
                broken.add(edge.through)
                continue
            try:
                yield from check_mapping(project, engine, entity, edge)
            except EngineError as error:
                broken.add(edge.through)
                yield _unreadable(f"mapping {_name(entity, edge)}", error, entity.origin.of("through"))
    for source in project.sources.values():
        if source.name in columns:
            for target in _counted_entities(project, source):
                yield from _check_source(project, engine, source, target, columns[source.name], broken)


def _check_source(
    project: Project, engine: Engine, source: Source, target: str, columns: Collection[str], broken: Collection[str]
) -> Iterator[Diagnostic]:
    try:
        reach = anchor(source, target, project.entities)
    except CompileError:
        return  # reported where the definition is read
    if any(edge.through in broken for path in reach.paths for edge in path):
        return  # reported with the mapping
    if reach.column.isidentifier() and reach.column not in columns:
        return  # reported with the columns of the source
    try:
        yield from _check_ids(project, engine, source, target, reach)
    except EngineError as error:
        at = source.origin.of(f"entities.{reach.base}")
        yield _unreadable(f"{reach.base}s of source '{source.name}'", error, at)


def _unreadable(what: str, error: EngineError, at: Location | None) -> Diagnostic:
    code = "missing-table" if isinstance(error, MissingTableError) else "unreadable-source"
    return diagnose(code, f"{what}: {error.message}", at, severity=Severity.ERROR, hint=error.hint)


def _name(entity: Entity, edge: RollUp) -> str:
    return f"'{edge.through}' of {entity.name} to {edge.parent}"


def _counted_entities(project: Project, source: Source) -> tuple[str, ...]:
    """Return the entities that metrics of a source are counted for."""
    found: dict[str, None] = {}
    for metric in project.metrics.values():
        if source.name in _read_by(metric.definition):
            wanted = metric.views.entities or project.settings.views.entities
            found |= dict.fromkeys(name for name in wanted if name in project.entities)
    return tuple(found)


def _read_by(definition: Aggregate | Formula | SqlQuery) -> tuple[str, ...]:
    """Return the sources whose rows a definition is joined to entities by."""
    if isinstance(definition, Aggregate):
        return (definition.source,)
    return definition.sources if isinstance(definition, SqlQuery) else ()


def check_mapping(project: Project, engine: Engine, entity: Entity, edge: RollUp) -> Iterator[Diagnostic]:
    """Yield what is odd about the pairs of a mapping: ids that are missing, pairs that are repeated."""
    child, parent = exp.column(edge.child_key), exp.column(edge.parent_key)
    incomplete = exp.or_(child.is_(exp.null()), parent.is_(exp.null()))
    pairs = exp.Distinct(expressions=[exp.Tuple(expressions=[child.copy(), parent.copy()])])
    complete = exp.Filter(this=exp.Count(this=exp.Star()), expression=exp.Where(this=exp.not_(incomplete)))
    distinct = exp.Filter(this=exp.Count(this=pairs), expression=exp.Where(this=exp.not_(incomplete)))
    query = exp.select(exp.Count(this=exp.Star()).as_("total"), complete.as_("complete"), distinct.as_("pairs"))
    row = engine.rows(query.from_(relation(edge.through, project, "mapping")).sql(engine.dialect))[0]
    name = f"mapping {_name(entity, edge)}"
    at = entity.origin.of("through")
    if row["total"] > row["complete"]:
        missing = row["total"] - row["complete"]
        yield diagnose("null-id", f"{name} has {missing} rows without an id", at, severity=Severity.WARNING)
    if row["complete"] > row["pairs"] and not (edge.valid_from or edge.valid_to):
        repeats = row["complete"] - row["pairs"]
        yield diagnose(
            "duplicate-mapping",
            f"{name} repeats {repeats} pairs; each counts once",
            at,
            severity=Severity.WARNING,
            hint="remove the repeated rows",
        )


def _check_ids(project: Project, engine: Engine, source: Source, target: str, reach: Anchor) -> Iterator[Diagnostic]:
    rows = scope(source, project, engine.dialect)
    at = source.origin.of(f"entities.{reach.base}")
    if not reach.paths:
        missing = count_where(engine, rows, rows.parse(reach.column).is_(exp.null()))
        if missing:
            yield diagnose(
                "null-id",
                f"{missing} rows of source '{source.name}' have no {target} and count for none",
                at,
                severity=Severity.WARNING,
            )
        return
    lost = without_group(project, engine, rows, reach)
    if lost:
        yield no_parent(lost, source, reach.base, target, at)


def no_parent(lost: Sequence[object], source: Source, base: str, target: str, at: Location) -> Diagnostic:
    """Return the finding that some ids of a source belong to nothing of an entity."""
    named = ", ".join(str(name) for name in lost[:EXAMPLES]) + (", …" if len(lost) > EXAMPLES else "")
    return diagnose(
        "no-parent",
        f"{len(lost)} of the {base}s in source '{source.name}' belong to no {target}: {named}",
        at,
        severity=Severity.WARNING,
        hint=f"their rows count for no {target}; add them to the mapping",
    )


def count_where(engine: Engine, rows: Scope, condition: exp.Expr) -> int:
    """Return how many rows meet a condition."""
    query = exp.select(exp.Count(this=exp.Star()).as_("n")).from_(rows.relation()).where(condition)
    return int(engine.rows(query.sql(engine.dialect))[0]["n"])


def without_group(project: Project, engine: Engine, rows: Scope, reach: Anchor) -> list[object]:
    """Return the ids that belong to nothing of an entity."""
    column = rows.parse(reach.column)
    ids = exp.select(column.as_("id")).distinct().from_(rows.relation()).where(is_not_null(column.copy()))
    on = exp.column("id", "ids").eq(exp.column(MEMBER, "membership"))
    query = (
        exp.select(exp.column("id", "ids"))
        .from_(ids.subquery("ids"))
        .join(membership(reach, project).subquery("membership"), on=on, join_type="left")
        .where(exp.column(GROUP, "membership").is_(exp.null()))
        .order_by(exp.column("id", "ids"))
    )
    return [row["id"] for row in engine.rows(query.sql(engine.dialect))]
