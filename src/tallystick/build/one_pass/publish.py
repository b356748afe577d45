"""Putting built models where readers look for them: views over change points, or dense tables where asked for."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime

from tallystick.build import relations
from tallystick.build.one_pass import state as one_pass_state
from tallystick.build.one_pass.dense import MOST, write_out
from tallystick.build.one_pass.state import Stored
from tallystick.build.state import BuiltState
from tallystick.compiler.lower import bucket_column
from tallystick.compiler.model import Model, TimeView
from tallystick.compiler.one_pass.days import as_date, day_of, number
from tallystick.compiler.one_pass.family import Family, Member
from tallystick.compiler.one_pass.held import Reach
from tallystick.compiler.one_pass.interning import level
from tallystick.compiler.one_pass.names import Schema, quoted
from tallystick.compiler.one_pass.readable import readable
from tallystick.compiler.one_pass.views import model_spans, model_view, row_counts
from tallystick.definitions.project import Project
from tallystick.engines.adapter import Engine
from tallystick.sql.calendar import Calendar, floor_date, local_date, start_of_day
from tallystick.sql.grain import Grain

CHANGE_POINTS = "change_points"
DENSE = "dense"
COUNTED = 250_000
"""Up to this many daily counters a build counts the dense rows of each model; beyond it would cost what it saves."""


@dataclass(frozen=True, slots=True)
class Publication:
    """A metric whose tables are ready; `since` is the day number they were extended from, None if they are new."""

    family: Family
    member: Member
    stored: Stored
    since: int | None
    hashes: Mapping[Model, str] = field(default_factory=dict)


def publish(
    engine: Engine,
    project: Project,
    target: Publication,
    old: Mapping[str, BuiltState],
    there: Collection[str],
    now: datetime,
) -> list[BuiltState]:
    """Put the models of a metric in place and return their states; run it in the transaction of the build.

    `old` and `there` are the states and the names of relations before it. `row_count` is None for models too large
    to count in passing.
    """
    calendar = _calendar(project)
    start = first_shown(project, target.member)
    covered = start_of_day(start or day_of(target.stored.first), calendar)
    storage = project.warehouse.storage
    mark = "" if storage == DENSE else _print(project, target)
    found: list[BuiltState] = []
    for model, hashed in target.hashes.items():
        built = BuiltState(
            model=model.name,
            metric=model.metric,
            definition_hash=hashed,
            storage=storage,
            covered_start=covered,
            covered_end=target.stored.end,
            row_count=None,
            built_at=now,
        )
        before = old.get(model.name)
        is_same = before is not None and (before.definition_hash, before.storage) == (hashed, storage)
        is_there = model.name in there
        if storage == DENSE:
            _write_table(engine, project, target, built, model, is_same=is_same or not (before or is_there))
        elif not (is_same and is_there and mark == target.stored.views):
            if is_there and not is_same:
                relations.keep_old(engine, model.name, hashed, now)
            view = engine.qualified(model.name)
            engine.execute(f"CREATE OR REPLACE VIEW {view} AS {_view(project, target, model)}")
        found.append(built)
    if mark != target.stored.views:
        one_pass_state.write(engine, replace(target.stored, views=mark))
    # What had too many counters to be counted has no fewer after days were appended.
    known = [old[built.model].row_count for built in found if built.model in old]
    is_large = target.since is not None and None in known
    return _counted(engine, project, target, found, is_large=is_large)


def _view(project: Project, target: Publication, model: Model) -> str:
    """Return the query of a view, which stays right when days are appended."""
    beside = Schema()
    reach = replace(reach_of(project, target), last_of=one_pass_state.last_day(beside, target.member.prefix))
    return model_view(model, target.family, target.member, target.stored.layout, project, beside, reach)


def _print(project: Project, target: Publication) -> str:
    """Return a print of all that views depend on, with the text of one view of each sort for how they are written."""
    member = target.member
    sorts = {(model.has_entity, *_sort(model.time)): model for model in reversed(member.models)}
    texts = [_view(project, target, model) for model in sorts.values()]
    entities = readable(project, [member.metric]).project.entities
    keys = [entities[model.entity].key if model.has_entity else "" for model in member.models]
    facts = (target.family.prefix, target.stored.layout, member.models, keys, texts)
    return hashlib.sha256(repr(facts).encode()).hexdigest()[:16]


def _sort(time: TimeView) -> tuple[bool, bool, bool]:
    """Return what the text of a view follows from: windows, days, longer grains and all time are written differently."""
    return time.window is None, time.grain is Grain.DAY, time.grain is None


def query(project: Project, target: Publication, model: Model, schema: Schema, first: int | None = None) -> str:
    """Return the query of a model's dense rows with buckets from day number `first` on."""
    reach = reach_of(project, target, first)
    return model_view(model, target.family, target.member, target.stored.layout, project, schema, reach)


def spans(project: Project, target: Publication, model: Model, schema: Schema) -> str:
    """Return the query of a model's stored rows and the days they hold."""
    reach = reach_of(project, target)
    return model_spans(model, target.family, target.member, target.stored.layout, project, schema, reach)


def first_shown(project: Project, member: Member) -> date | None:
    """Return the first day that a metric is shown for, None where it is its first row's."""
    if member.query is not None:
        return member.query.start
    start = project.settings.start
    return None if start is None else local_date(start, _calendar(project))


def reach_of(project: Project, target: Publication, first: int | None = None, last: int | None = None) -> Reach:
    """Return the days that readers see of a metric, those from `first` to `last` where they ask for some only."""
    begin, end = first_shown(project, target.member), target.stored.last
    end = end if last is None else min(last, end)
    start = None if begin is None else number(begin)
    reach = Reach(first, end, start, is_open=end == target.stored.last)
    if begin is None or target.member.query is None:
        return reach
    calendar = _calendar(project)
    return replace(reach, buckets={g: number(floor_date(begin, g, calendar)) for g in Grain if not g.is_sub_day})


def _calendar(project: Project) -> Calendar:
    return Calendar(project.settings.time_zone, project.settings.week_start)


def _write_table(
    engine: Engine, project: Project, target: Publication, built: BuiltState, model: Model, *, is_same: bool
) -> None:
    """Replace the buckets that may have changed, or write the whole table."""
    schema = Schema(engine.schema)
    table = schema.table(model.name)
    bucket = bucket_column(project.metrics[model.metric])
    if not is_same or target.since is None or model.time.is_all_time:
        relations.keep_old(engine, model.name, built.definition_hash, built.built_at)
        dense = query(project, target, model, schema)
        if model.time.window is None or _count(engine, schema, target.stored.layout.spans) > MOST:
            engine.execute(f"CREATE TABLE {table} AS {dense}")
            return
        engine.execute(f"CREATE TABLE {table} AS {dense} LIMIT 0")
        write_out(engine, model.name, spans(project, target, model, schema), bucket)
        return
    first = target.since
    if model.time.grain is not None:
        first = number(floor_date(day_of(first), model.time.grain, _calendar(project)))
    engine.execute(f"DELETE FROM {table} WHERE {quoted(bucket)} >= {as_date(str(first))}")
    engine.execute(f"INSERT INTO {table} {query(project, target, model, schema, first)}")


def _count(engine: Engine, schema: Schema, table: str) -> int:
    return int(engine.rows(f"SELECT count(*) AS n FROM {schema.table(table)}")[0]["n"])


def _counted(
    engine: Engine, project: Project, target: Publication, found: Sequence[BuiltState], *, is_large: bool
) -> list[BuiltState]:
    layout, schema = target.stored.layout, Schema(engine.schema)
    if is_large or _count(engine, schema, layout.days) > COUNTED:
        return list(found)
    reach = reach_of(project, target)
    alike: dict[TimeView, list[Model]] = {}
    for model in target.member.models:
        alike.setdefault(model.time, []).append(model)
    arms = [
        f"SELECT {index} AS i, level, n FROM ({row_counts(models, target.family, layout, schema, reach)}) AS c"
        for index, models in enumerate(alike.values())
    ]
    rows = engine.rows(" UNION ALL ".join(arms))
    times = list(alike)
    counts = {(times[row["i"]], row["level"]): row["n"] for row in rows}
    return [
        replace(built, row_count=counts.get((model.time, level(target.family, model.entity)), 0))
        for built, model in zip(found, target.member.models, strict=True)
    ]
