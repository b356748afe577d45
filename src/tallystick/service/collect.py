"""Collecting series into the project's store, and reading them back."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import date, datetime
from typing import TYPE_CHECKING

from tallystick.compiler.plan import find_metric
from tallystick.compiler.series import Wanted
from tallystick.definitions.diagnostics import nearest
from tallystick.definitions.project import Project
from tallystick.errors import UnknownNameError, UsageError
from tallystick.service import stores
from tallystick.service.instants import parse_instant
from tallystick.sql.grain import parse_grain

if TYPE_CHECKING:
    import pyarrow as pa

    from tallystick.collect.report import CollectReport
    from tallystick.engines.adapter import Engine
    from tallystick.store.runs import Run, Total
    from tallystick.store.series import StoredPoint


def has_store(project: Project) -> bool:
    """Tell whether there is a store to read, without opening one."""
    return stores.has_store(project.root)


def run(  # noqa: PLR0913 - the words of the command line
    project: Project,
    engine: Engine,
    select: Sequence[str],
    *,
    due: bool,
    start: str | date | datetime | None,
    end: str | date | datetime | None,
    as_of: datetime,
    clock: Callable[[], datetime],
    seconds: float | None,
) -> CollectReport:
    """Bring files into the catalog and run one pass of the collector; raise UsageError for a window beside `due`."""
    from tallystick.collect.collector import collect
    from tallystick.collect.due import Budget
    from tallystick.service.catalog import FILES
    from tallystick.store.files import sync_files
    from tallystick.store.kinds import Author

    window = tuple(None if value is None else parse_instant(value, project) for value in (start, end))
    if due and window != (None, None):
        raise UsageError("what is due has its own window", hint="leave out --due, or --start and --end")
    if window[0] is not None and (window[1] or as_of) <= window[0]:
        raise UsageError(f"nothing lies between {start} and {end or 'now'}", hint="check start and end")
    from tallystick.engines.connect import connect_others

    others = connect_others(project)
    try:
        with stores.opened_store(project.root) as store:
            with store.transaction() as connection:
                synced = sync_files(connection, Author(FILES, clock()), project)
            report = collect(
                store,
                engine,
                project,
                now=as_of,
                due_only=due,
                select=select,
                window=(window[0], window[1]),
                budget=Budget(seconds=seconds),
                worker=f"{socket.gethostname()}:{os.getpid()}",
                clock=clock,
                others=others,
            )
            return replace(report, conflicts=synced.conflicts)
    finally:
        for other in others.values():
            other.close()


def history(project: Project, metric: str | None, *, limit: int, failed: bool) -> tuple[Run, ...]:
    """Return the newest runs first, of one metric or all; raise UnknownNameError."""
    if metric is not None:
        find_metric(project, metric)
    if not has_store(project):
        return ()
    from tallystick.store import runs
    from tallystick.store.run_status import RunStatus

    with stores.opened_store(project.root) as store, store.reading() as connection:
        if not failed:
            return runs.list_runs(connection, project.settings.name, metric=metric, limit=limit)
        found = [
            run
            for status in (RunStatus.ERROR, RunStatus.LOST)
            for run in runs.list_runs(connection, project.settings.name, metric=metric, status=status, limit=limit)
        ]
    return tuple(sorted(found, key=lambda run: run.id, reverse=True)[:limit])


def totals(project: Project, since: str | date | datetime | None = None) -> tuple[Total, ...]:
    """Return what collecting each metric has cost, the dearest first; runs that began before `since` do not count."""
    start = None if since is None else parse_instant(since, project)
    if not has_store(project):
        return ()
    from tallystick.store import runs

    with stores.opened_store(project.root) as store, store.reading() as connection:
        return runs.totals(connection, project.settings.name, start)


def choose(project: Project, metric: str, grain: str | None, entity: str | None, by: str | None) -> Wanted:
    """Return the series a question is about: the first that is collected and fits; raise UnknownNameError."""
    from tallystick.collect.subjects import series_of

    known = list(series_of(find_metric(project, metric), project))
    wanted = None if grain is None else parse_grain(grain)
    for each in known:
        fits_entity = entity is None or each.entity == entity
        if (wanted is None or each.grain is wanted) and fits_entity and each.by == by:
            return each
    names = sorted({each.grain.value for each in known})
    hint = f"it is collected by {', '.join(names)}" if names else "give it a calendar grain"
    if by is not None:
        hint = nearest(by, [each.by for each in known if each.by]) or hint
    raise UnknownNameError(f"metric '{metric}' has no such series", hint=hint)


def stored(
    project: Project,
    wanted: Wanted,
    start: str | date | datetime | None = None,
    end: str | date | datetime | None = None,
) -> tuple[StoredPoint, ...]:
    """Return the values of a series as they are in the store; none where there is no store."""
    if not has_store(project):
        return ()
    from tallystick.store.series import read_points

    bounds = [None if value is None else parse_instant(value, project) for value in (start, end)]
    with stores.opened_store(project.root) as store, store.reading() as connection:
        return read_points(connection, project.settings.name, wanted, *bounds)


def table(points: Sequence[StoredPoint], project: Project, wanted: Wanted) -> pa.Table:
    """Return stored values as a table: bucket, entity and dimension, value and its parts, n, state, time of reading.

    Where values of the dimension were folded into one, `is_other` tells which row that is.
    """
    import pyarrow as pa

    keys: dict[str, list[str | None]] = {}
    if wanted.entity in project.entities:
        keys[project.entities[wanted.entity].key] = [each.point.entity_id for each in points]
    if wanted.by is not None:
        keys[wanted.by] = [each.point.dimension_value for each in points]
    folded = any(each.point.is_other for each in points)
    instant = pa.timestamp("us", "UTC")

    def numbers(name: str) -> pa.Array:
        found = [getattr(each.point, name) for each in points]
        return pa.array([None if value is None else float(value) for value in found], pa.float64())

    return pa.table(
        {
            "bucket": pa.array([each.point.bucket for each in points], instant),
            **{name: pa.array(values, pa.string()) for name, values in keys.items()},
            **({"is_other": pa.array([each.point.is_other for each in points], pa.bool_())} if folded else {}),
            "value": numbers("value"),
            "numerator": numbers("numerator"),
            "denominator": numbers("denominator"),
            "n": pa.array([each.point.n for each in points], pa.int64()),
            "state": pa.array([each.state.value for each in points], pa.string()),
            "collected_at": pa.array([each.collected_at for each in points], instant),
        }
    )
