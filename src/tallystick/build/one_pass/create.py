"""Building metrics of a family from nothing."""

from __future__ import annotations

from collections.abc import Sequence

from tallystick.build.one_pass import state as one_pass_state
from tallystick.build.one_pass import sweep
from tallystick.build.one_pass.arrays import write_days
from tallystick.build.one_pass.changes import forget_dictionaries, gathered_types
from tallystick.build.one_pass.job import Job, days, execute, settled
from tallystick.build.one_pass.late import kept_from, remember
from tallystick.build.one_pass.source import number_entities, read_source
from tallystick.build.one_pass.state import Stored
from tallystick.compiler.one_pass import interning, measures, tables
from tallystick.compiler.one_pass.family import Family, Member
from tallystick.compiler.one_pass.gather import Stream, streams
from tallystick.compiler.one_pass.layout import layout
from tallystick.compiler.one_pass.measures import Measured
from tallystick.compiler.one_pass.names import work
from tallystick.compiler.one_pass.presence import Packing, packing
from tallystick.compiler.one_pass.tables import Extent, Plan
from tallystick.compiler.span import Span


def create(job: Job, members: Sequence[Member], *, is_new: bool) -> list[tuple[Member, Stored]]:
    """Build metrics from nothing, the dictionaries of a new family too; return how each is stored."""
    engine, family = job.engine, job.family
    created: list[tuple[Member, Stored]] = []
    found = streams(members)
    facts = read_source(job, found, Span(None, job.end, job.calendar))
    types = facts[found[0].table].types
    number_entities(job, found, is_new=is_new or forget_dictionaries(engine, job.schema, family, types))
    firsts = [f.first for f in facts.values() if f.first is not None]
    first = min(firsts, default=job.last)
    calendar = days(job, first, members)
    for member in members:
        mine = tuple(stream for stream in found if stream.member is member)
        for name in sorted(engine.tables()):
            if name.startswith(f"{member.prefix}_"):
                engine.drop(name)
        plan = _plan(
            job, member, mine, facts, Extent(first, job.last, settled(job), job.start(member), kept_from(job, member))
        )
        if sweep.is_for_memory(engine, plan, mine):
            sweep.create_tables(engine, plan, mine, calendar)
        else:
            job.by_statements.add(member.prefix)
            write_days(engine, calendar)
            execute(engine, tables.create_tables(plan, mine))
        sizes = {name: f.magnitude for stream in mine for name, f in facts[stream.table].facts.items()}
        remember(job, member, plan.extent.kept)
        created.append((member, write_stored(job, plan, family, sizes, gathered_types(mine, facts))))
    return created


def _plan(job: Job, member: Member, mine: tuple[Stream, ...], facts: dict[str, Measured], extent: Extent) -> Plan:
    """Decide how a metric is stored, and number its keys."""
    engine = job.engine
    types: dict[str, str] = {}
    for stream in mine:
        types |= dict(engine.columns(work(stream.table)))
    stored = layout(member, types, {n: f for stream in mine for n, f in facts[stream.table].facts.items()})
    raw: set[str] = set()
    packings: dict[str, Packing] = {}
    for stream in mine:
        if stream.measure is None:
            continue
        keys = facts[stream.table].keys
        if measures.is_raw(keys) and not tables.keeps_missing(stored, stream.measure.name):
            raw.add(stream.measure.name)
        else:
            execute(engine, interning.intern_keys(job.schema, stream, create=True))
        top = max_uid(job, stream, facts[stream.table], raw)
        packings[stream.measure.name] = packing(extent.first, extent.last, top, max_eid(job))
    return Plan(job.family, member, stored, job.schema, extent, packings, frozenset(raw))


def write_stored(
    job: Job, plan: Plan, family: Family, sizes: dict[str, float], types: dict[str, dict[str, str]]
) -> Stored:
    """Write the state of a metric whose tables were just written, and return it."""
    stored = Stored(
        prefix=plan.member.prefix,
        family=family.prefix,
        metric=plan.member.metric,
        layout=plan.layout,
        models=tuple(sorted(model.name for model in plan.member.models)),
        first=plan.extent.first,
        last=plan.extent.last,
        settled=plan.extent.settled,
        end=job.end,
        magnitudes=sizes,
        raw_keys=tuple(sorted(plan.raw_keys)),
        types=types,
    )
    one_pass_state.write(job.engine, stored)
    return stored


def max_uid(job: Job, stream: Stream, facts: Measured, raw: set[str]) -> int:
    """Return the largest number a key of a distinct count has."""
    assert stream.measure is not None  # noqa: S101 - only distinct counts have keys
    if stream.measure.name in raw:
        return 0 if facts.keys is None else facts.keys[1]
    table = job.schema.table(interning.keys_table(stream))
    return int(job.engine.rows(f"SELECT coalesce(max(uid), 0) AS top FROM {table}")[0]["top"])


def max_eid(job: Job) -> int:
    """Return the largest number an entity has."""
    table = job.schema.table(interning.closure_table(job.family))
    return int(job.engine.rows(f"SELECT coalesce(max(eid), 0) AS top FROM {table}")[0]["top"])
