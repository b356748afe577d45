"""Building families: one reading of the source, every model of its metrics, one transaction with the state."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from tallystick.build import pending, state
from tallystick.build.one_pass import known
from tallystick.build.one_pass import state as one_pass_state
from tallystick.build.one_pass.changes import drop_dictionaries, keep_history, retire_views
from tallystick.build.one_pass.create import create
from tallystick.build.one_pass.extend import can_count_from, extend, reread_from
from tallystick.build.one_pass.job import Found, Job, execute, look
from tallystick.build.one_pass.late import look_again, reaches_back
from tallystick.build.one_pass.publish import DENSE, Publication, publish
from tallystick.build.one_pass.source import membership_mark, pair_up
from tallystick.build.one_pass.state import Stored
from tallystick.build.state import BuiltState
from tallystick.compiler.definition_hash import definition_hashes
from tallystick.compiler.one_pass import interning
from tallystick.compiler.one_pass.days import day_of
from tallystick.compiler.one_pass.family import Family, Member
from tallystick.compiler.one_pass.gather import ROWS, streams
from tallystick.compiler.one_pass.names import WORK, Schema, work
from tallystick.definitions.project import Project
from tallystick.engines.adapter import Engine, embedded
from tallystick.errors import EngineError
from tallystick.sql.calendar import start_of_day


@dataclass(frozen=True, slots=True)
class Together:
    """What models of a family are now, and whether rows were replaced whose gaps may stay in the file for a while."""

    states: list[BuiltState]
    leaves_gaps: bool


def build_family(
    engine: Engine,
    project: Project,
    family: Family,
    *,
    end: datetime,
    now: datetime,
    since: datetime | None = None,
    before: Found | None = None,
) -> Together:
    """Bring every model of a family up to `end` in one transaction; return what they are now. Raise EngineError.

    What was built before is extended by its new days and the lookback, or by all days from `since` on (a
    restatement); what cannot be extended is built anew. `before` need not be known.
    """
    job = Job(engine, project, family, Schema(engine.schema), end, now)
    made: Collection[str] | None = None
    try:
        with engine.transaction():
            built = _build(job, since, before)
        # To ask for their names takes longer than to drop them.
        made = None if job.by_statements else _working_tables(family)
    finally:
        _drop(engine, _every_working_table(engine) if made is None else made)
    return built


def _build(job: Job, since: datetime | None, before: Found | None) -> Together:
    before = before or look(job.engine)
    is_new = interning.base_table(job.family) not in before.relations
    is_current = is_new or _has_current_memberships(job)
    stored = one_pass_state.read(job.engine)
    job = replace(job, known=known.read(job.engine))
    hashes = {member.prefix: definition_hashes(member.models, job.project) for member in job.family.members}
    for hashed in hashes.values():
        keep_history(job.engine, hashed, before.states)
    anew, groups, job = _divide(job, stored if is_current else {}, since)
    targets: dict[str, Publication] = {}
    for day, found in groups.items():
        extended = extend(job, found, day)
        targets |= {
            moved.prefix: Publication(job.family, member, moved, day, hashes[moved.prefix])
            for member, moved in extended
        }
        anew += [member for member, _ in found if member.prefix not in targets]
    if anew:
        embedded(job.engine).use_threads(None)
        for member in anew:
            retire_views(job.engine, member, stored.get(member.prefix))
        targets |= {
            created.prefix: Publication(job.family, member, created, None, hashes[created.prefix])
            for member, created in create(job, anew, is_new=is_new)
        }
    states = _publish_all(job, [targets[member.prefix] for member in job.family.members], before)
    leaves_gaps = all(target.stored.gaps for target in targets.values())
    pending.note(job.engine, job.project, _changes(job, stored, targets), before.states)
    return Together(states, leaves_gaps)


def _changes(job: Job, stored: Mapping[str, Stored], targets: Mapping[str, Publication]) -> dict[str, datetime]:
    """Return the metrics that were there and changed further back than usual, and from when on."""
    changes: dict[str, datetime] = {}
    for prefix, target in targets.items():
        before, day = stored.get(prefix), target.since
        if before is not None and (day is None or reaches_back(job, before, day)):
            since = pending.BEGINNING if day is None else start_of_day(day_of(day), job.calendar)
            changes[target.member.metric] = since
    return changes


_Groups = dict[int, list[tuple[Member, Stored]]]
"""Metrics that can be extended, by the first day that is read again."""


def _divide(job: Job, stored: Mapping[str, Stored], since: datetime | None) -> tuple[list[Member], _Groups, Job]:
    """Return the metrics that are built from nothing and those that are extended, and the job that knows of late rows."""
    days: dict[str, int] = {}
    for member in job.family.members:
        if member.prefix in stored and (day := reread_from(job, member, stored[member.prefix], since)) is not None:
            days[member.prefix] = day
    first = min(days.values(), default=None) if len(days) == len(job.family.members) else None
    job = look_again(job, {prefix: stored[prefix] for prefix in days}, first)
    anew: list[Member] = []
    groups: _Groups = {}
    for member in job.family.members:
        day = days.get(member.prefix)
        if day is not None:
            day = min(day, job.changed.get(member.prefix, day))
        if day is None or not can_count_from(job, stored[member.prefix], day):
            anew.append(member)
        else:
            groups.setdefault(day, []).append((member, stored[member.prefix]))
    return anew, groups, job


def _publish_all(job: Job, targets: Sequence[Publication], before: Found) -> list[BuiltState]:
    """Put the models of every member in place and write their states."""
    if job.project.warehouse.storage == DENSE:
        embedded(job.engine).use_threads(None)
    states: list[BuiltState] = []
    for target in targets:
        states += publish(job.engine, job.project, target, before.states, before.relations, job.now)
    state.write_all(job.engine, states, before.states)
    return states


def _has_current_memberships(job: Job) -> bool:
    """Tell whether entities have the members they were counted with; bring the pairs up to date where not."""
    mark = membership_mark(job)
    if mark == one_pass_state.families(job.engine).get(job.family.prefix):
        return True
    one_pass_state.write_family(job.engine, job.family, mark)
    embedded(job.engine).use_threads(None)
    query = interning.membership_changed(job.family, job.reads, job.schema)
    try:
        if not job.engine.rows(query)[0]["changed"]:
            return True
    except EngineError:
        # Keys of another type by now cannot be compared with those that are numbered.
        drop_dictionaries(job.engine, job.family)
        return False
    numbers = job.engine.rows(interning.next_numbers(job.family, job.schema))[0]
    one_pass_state.spoil_family(job.engine, job.family)
    execute(job.engine, interning.forget_pairs(job.family, job.schema))
    pair_up(job, numbers["eid"])
    return False


def _working_tables(family: Family) -> list[str]:
    """Return the working tables of a family whose metrics were all built in memory."""
    found = streams(family.members)
    return [ROWS, *(stream.table for stream in found), *interning.working_tables(family)]


def _every_working_table(engine: Engine) -> list[str]:
    """Return all working tables there are, those a failed build left too."""
    query = f"SELECT table_name AS name FROM duckdb_tables() WHERE temporary AND starts_with(table_name, '{WORK}')"
    return [row["name"].removeprefix(WORK) for row in engine.rows(query)]


def _drop(engine: Engine, names: Collection[str]) -> None:
    if names:
        engine.execute("; ".join(f"DROP TABLE IF EXISTS temp.{work(name)}" for name in names))
