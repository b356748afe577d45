"""Reading the source of a family: its rows gathered and measured, its keys and entities numbered."""

from __future__ import annotations

from collections.abc import Sequence

from tallystick.build.one_pass import state as one_pass_state
from tallystick.build.one_pass.job import Job, execute
from tallystick.compiler.one_pass import interning, measures
from tallystick.compiler.one_pass.gather import Stream, gather
from tallystick.compiler.one_pass.measures import Measured
from tallystick.compiler.one_pass.names import work
from tallystick.compiler.span import Span
from tallystick.engines.adapter import Engine
from tallystick.errors import NotTogetherError

EPOCH = 0
"""The day number of 1970-01-01, where all time begins for queries (spec oso §7.3)."""


def read_source(job: Job, found: Sequence[Stream], span: Span) -> dict[str, Measured]:
    """Gather streams and measure them; raise NotTogetherError where a query says something else about their rows."""
    span = job.read_until(span, [stream.member for stream in found])
    execute(job.engine, gather(job.family, job.reads, found, span, is_copied=job.has_copied(span)))
    facts = {stream.table: measure(job.engine, stream) for stream in found}
    for stream in found:
        first, last = facts[stream.table].first, facts[stream.table].last
        if last is not None and last > job.last:
            raise NotTogetherError(f"'{stream.member.metric}' has rows of days after the build in its last bucket")
        if stream.member.query is not None and stream.member.has_all_time and first is not None and first < EPOCH:
            raise NotTogetherError(f"'{stream.member.metric}' has rows from before all time, which begins in 1970")
    return facts


def measure(engine: Engine, stream: Stream) -> Measured:
    """Measure a gathered stream."""
    types = engine.columns(work(stream.table))
    return measures.measured(stream, engine.rows(measures.measuring(stream, types))[0], types)


def number_entities(job: Job, found: Sequence[Stream], *, is_new: bool) -> None:
    """Intern the base keys and entities of gathered streams; the dictionaries of a new family are created."""
    engine, family, schema = job.engine, job.family, job.schema
    if is_new:
        execute(engine, interning.dictionaries(family, job.reads, schema, found[0]))
        one_pass_state.write_family(engine, family, membership_mark(job))
    numbers = engine.rows(interning.next_numbers(family, schema))[0]
    execute(engine, interning.intern_base(family, schema, found, numbers["bid"], numbers["eid"]))
    fresh = engine.rows(f"SELECT count(*) AS n FROM {work(interning.NEW_BASE)}")[0]["n"]
    if fresh:
        pair_up(job, numbers["eid"] + fresh)


def pair_up(job: Job, eid: int) -> None:
    """Pair new base keys with their entities; those not met before are numbered from `eid` on."""
    execute(job.engine, interning.reach_entities(job.family, job.reads, job.schema))
    query = interning.without_number(job.family)
    fresh = {} if query is None else job.engine.rows(query)[0]
    execute(job.engine, interning.intern_entities(job.family, job.schema, fresh, eid))


def membership_mark(job: Job) -> str | None:
    """Return the print of the memberships a family relies on, as they are now."""
    query = interning.membership_print(job.family, job.reads)
    return None if query is None else str(job.engine.rows(query)[0]["mark"])
