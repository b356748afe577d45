"""Runs: who collects what now, and what became of it. A lease is the truth; a queue only wakes workers (ecosystem §3).

Every attempt is a row. It is claimed by inserting it under a unique key, so two workers cannot both have it; a worker
that dies stops renewing its lease, and the next one counts the attempt as lost and takes the following one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, Update, and_, bindparam, case, func, or_, select, text, update
from sqlalchemy.dialects import postgresql, sqlite

from tallystick.compiler.series import Wanted
from tallystick.errors import ConflictError
from tallystick.store.columns import in_utc
from tallystick.store.identity import series_name
from tallystick.store.run_status import RunStatus
from tallystick.store.secrecy import without_secrets
from tallystick.store.tables import runs

_INSERT: dict[str, Any] = {"postgresql": postgresql.insert(runs), "sqlite": sqlite.insert(runs)}
_NAMES = ("project", "subject", "window_start", "window_end")
# Arrays in one statement: a server takes long to parse a list of some hundred rows.
_DIFFERENT = {"subject": "text", "metric": "text", "attempt": "int"}
_SHARED = ("project", "window_start", "window_end", "status", "worker", "lease_until", "started_at")
_INSERT_ARRAYS = text(
    f"INSERT INTO runs ({', '.join((*_DIFFERENT, *_SHARED))}) "
    f"SELECT new.*, {', '.join(f':{name}' for name in _SHARED)} "
    f"FROM unnest({', '.join(f'CAST(:{name} AS {kind}[])' for name, kind in _DIFFERENT.items())}) AS new "
    "ON CONFLICT DO NOTHING RETURNING id, subject"
)
_LAST = (
    select(runs.c.id, runs.c.attempt, runs.c.status, runs.c.lease_until)
    .where(*(runs.c[name] == bindparam(f"its_{name}", type_=runs.c[name].type) for name in _NAMES))
    .order_by(runs.c.attempt.desc())
    .limit(1)
)
_LAST_OF = (
    select(runs.c.subject, runs.c.id, runs.c.attempt, runs.c.status, runs.c.lease_until)
    .where(
        *(runs.c[n] == bindparam(f"its_{n}", type_=runs.c[n].type) for n in ("project", "window_start", "window_end")),
        runs.c.subject.in_(bindparam("subjects", expanding=True)),
    )
    .order_by(runs.c.attempt)
)
_OURS = and_(
    runs.c.id == bindparam("its_id"), runs.c.worker == bindparam("its_worker"), runs.c.status == RunStatus.RUNNING
)
_OUTCOME = (
    "status", "finished_at", "rows", "bytes", "seconds", "sql_hash", "error", "note", "covered_start", "covered_end"
)  # fmt: skip
_FINISH = update(runs).where(_OURS).values({name: bindparam(name, type_=runs.c[name].type) for name in _OUTCOME})
_RENEW = update(runs).where(_OURS).values(lease_until=bindparam("until", type_=runs.c.lease_until.type))
_HOLD = (
    update(runs)
    .where(_OURS, runs.c.lease_until < bindparam("until", type_=runs.c.lease_until.type))
    .values(lease_until=bindparam("until", type_=runs.c.lease_until.type))
)
_FAILED = (RunStatus.ERROR.value, RunStatus.LOST.value)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunKey:
    """What a run is about: a subject (a series' name, or any other) of a project over a window.

    `metric` is the name it is listed under.
    """

    project: str
    subject: str
    start: datetime
    end: datetime
    metric: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One attempt; times are UTC, `window` is what was covered in the end, `error` holds no secret.

    `note` is what there is to say about a run that did not fail. `bytes` are those of all answers of the statements
    behind `sql_hash`, None where unknown: runs that shared them have the same, so count each hash of a window once.
    """

    id: int
    key: RunKey
    attempt: int
    status: RunStatus
    worker: str
    lease_until: datetime
    started_at: datetime
    finished_at: datetime | None = None
    window: tuple[datetime, datetime] | None = None
    rows: int | None = None
    seconds: float | None = None
    sql_hash: str | None = None
    error: str | None = None
    note: str | None = None
    bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Streak:
    """How many attempts failed since the last success, and when the latest of them did."""

    failures: int = 0
    failed_at: datetime | None = None


def key_of(project: str, wanted: Wanted, start: datetime, end: datetime) -> RunKey:
    """Return the key of a run that collects one series over a window."""
    return RunKey(project=project, subject=series_name(wanted), start=start, end=end, metric=wanted.metric)


def claim(
    connection: Connection, key: RunKey, worker: str, now: datetime, lease: timedelta, *, again: bool = False
) -> Run | None:
    """Return a run that is ours until the lease ends, or None where somebody has it or it is done.

    A failed run and one whose lease has ended can be claimed; one that succeeded only `again`, on somebody's demand.
    Commit at once: others see the claim then.
    """
    now = in_utc(now)
    last = connection.execute(_LAST, _named(key)).first()
    if not _is_free(connection, last, now, again=again):
        return None
    attempt = 1 if last is None else last.attempt + 1
    statement = _INSERT[connection.dialect.name].on_conflict_do_nothing().returning(runs.c.id)
    found = connection.execute(statement, _row(key, attempt, worker, now, lease)).scalar()
    return None if found is None else _claimed(found, key, attempt, worker, now, lease)


def claim_all(
    connection: Connection, keys: Sequence[RunKey], worker: str, now: datetime, lease: timedelta, *, again: bool = False
) -> dict[str, Run]:
    """Claim runs of several subjects over one window by few statements, as `claim` does one; return ours by subject."""
    if not keys:
        return {}
    now, first = in_utc(now), keys[0]
    asked = {**_named(first), "subjects": [key.subject for key in keys]}
    del asked["its_subject"]
    last = {row.subject: row for row in connection.execute(_LAST_OF, asked)}
    attempts = {
        key: 1 if key.subject not in last else last[key.subject].attempt + 1
        for key in keys
        if _is_free(connection, last.get(key.subject), now, again=again)
    }
    if not attempts:
        return {}
    ids = _insert_all(connection, [_row(key, attempt, worker, now, lease) for key, attempt in attempts.items()])
    return {
        key.subject: _claimed(ids[key.subject], key, attempt, worker, now, lease)
        for key, attempt in attempts.items()
        if key.subject in ids
    }


def _insert_all(connection: Connection, rows: list[dict[str, Any]]) -> dict[str, int]:
    """Insert attempts that nobody else has made, which differ in subject, metric and attempt; return ids by subject."""
    if connection.dialect.name == "postgresql":
        each = {name: [row[name] for row in rows] for name in _DIFFERENT}
        found = connection.execute(_INSERT_ARRAYS, rows[0] | each)
    else:
        statement = _INSERT["sqlite"].on_conflict_do_nothing().returning(runs.c.id, runs.c.subject)
        found = connection.execute(statement, rows)
    return {row.subject: row.id for row in found}


def _is_free(connection: Connection, last: Any, now: datetime, *, again: bool) -> bool:
    """Tell whether another attempt may begin after the last one."""
    if last is None or last.status in _FAILED:
        return True
    if last.status == RunStatus.SUCCESS:
        return again
    return last.lease_until <= now and _lose(connection, last.id, now)


def _row(key: RunKey, attempt: int, worker: str, now: datetime, lease: timedelta) -> dict[str, Any]:
    return {
        "project": key.project,
        "subject": key.subject,
        "metric": key.metric,
        "window_start": key.start,
        "window_end": key.end,
        "attempt": attempt,
        "status": RunStatus.RUNNING.value,
        "worker": worker,
        "lease_until": now + lease,
        "started_at": now,
    }


def _claimed(number: int, key: RunKey, attempt: int, worker: str, now: datetime, lease: timedelta) -> Run:
    return Run(
        id=number,
        key=key,
        attempt=attempt,
        status=RunStatus.RUNNING,
        worker=worker,
        lease_until=now + lease,
        started_at=now,
    )


def renew(connection: Connection, run: Run, now: datetime, lease: timedelta) -> Run:
    """Hold a run for longer; raise ConflictError where it is no longer ours."""
    until = max(in_utc(now) + lease, run.lease_until)
    _update(connection, _RENEW, run, {"until": until})
    return replace(run, lease_until=until)


def renew_all(connection: Connection, held: Sequence[Run], now: datetime, lease: timedelta) -> None:
    """Hold several runs for longer; what is no longer ours stays as it is, and no lease is made shorter."""
    until = in_utc(now) + lease
    connection.execute(_HOLD, [{"its_id": run.id, "its_worker": run.worker, "until": until} for run in held])


def finish(  # noqa: PLR0913 - everything there is to say about a run
    connection: Connection,
    run: Run,
    status: RunStatus,
    *,
    now: datetime,
    rows: int | None = None,
    bytes: int | None = None,  # noqa: A002 - its name on a run
    seconds: float | None = None,
    sql_hash: str | None = None,
    error: str | None = None,
    note: str | None = None,
    window: tuple[datetime, datetime] | None = None,
) -> Run:
    """Write what became of a run, in the transaction of its values; raise ConflictError where it is no longer ours.

    That error ends the transaction: a worker whose lease ended while it was away writes nothing over its successor.
    """
    text = None if error is None else without_secrets(" ".join(error.split()))
    changes: dict[str, Any] = {
        "status": status.value,
        "finished_at": in_utc(now),
        "rows": rows,
        "bytes": bytes,
        "seconds": seconds,
        "sql_hash": sql_hash,
        "error": text,
        "note": note,
        "covered_start": window[0] if window else None,
        "covered_end": window[1] if window else None,
    }
    _update(connection, _FINISH, run, changes)
    return replace(
        run,
        status=status,
        finished_at=in_utc(now),
        rows=rows,
        bytes=bytes,
        seconds=seconds,
        sql_hash=sql_hash,
        error=text,
        note=note,
        window=window,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Success:
    """What a run brought: rows, seconds, a hash of its statements, the bytes of their answers, and a note."""

    rows: int
    seconds: float
    sql_hash: str | None
    note: str | None = None
    bytes: int | None = None


def succeed_all(
    connection: Connection,
    done: Sequence[tuple[Run, Success]],
    *,
    now: datetime,
    window: tuple[datetime, datetime],
) -> None:
    """Write that runs over a window succeeded, in the transaction of their values, as `finish` does for one.

    Raise ConflictError, which ends the transaction, where any of them is no longer ours.
    """
    changes = [
        {
            "its_id": run.id,
            "its_worker": run.worker,
            "status": RunStatus.SUCCESS.value,
            "finished_at": in_utc(now),
            "rows": what.rows,
            "bytes": what.bytes,
            "seconds": what.seconds,
            "sql_hash": what.sql_hash,
            "error": None,
            "note": what.note,
            "covered_start": window[0],
            "covered_end": window[1],
        }
        for run, what in done
    ]
    if connection.execute(_FINISH, changes).rowcount != len(done):
        raise ConflictError(
            f"one of {len(done)} runs is no longer held by '{done[0][0].worker}'",
            hint="its lease ended and another worker took over; use a longer lease",
        )


def reclaim_stale(connection: Connection, project: str, now: datetime) -> tuple[Run, ...]:
    """Count runs whose lease has ended as lost and return them; what they were about can be claimed anew."""
    is_stale = and_(runs.c.project == project, runs.c.status == RunStatus.RUNNING, runs.c.lease_until <= now)
    rows = connection.execute(select(runs).where(is_stale).order_by(runs.c.id)).all()
    return tuple(_run(row, RunStatus.LOST, now) for row in rows if _lose(connection, row.id, now))


def list_runs(
    connection: Connection,
    project: str,
    *,
    metric: str | None = None,
    status: RunStatus | None = None,
    limit: int = 50,
) -> tuple[Run, ...]:
    """Return the newest runs first."""
    statement = select(runs).where(runs.c.project == project).order_by(runs.c.id.desc()).limit(limit)
    if metric is not None:
        statement = statement.where(runs.c.metric == metric)
    if status is not None:
        statement = statement.where(runs.c.status == status.value)
    return tuple(_run(row) for row in connection.execute(statement))


def streaks(connection: Connection, project: str) -> dict[str, Streak]:
    """Return, by subject, the failures since the last success; subjects without any are left out."""
    done = runs.alias()
    last_success = (
        select(func.max(done.c.id))
        .where(done.c.project == runs.c.project, done.c.subject == runs.c.subject, done.c.status == RunStatus.SUCCESS)
        .scalar_subquery()
    )
    statement = (
        select(runs.c.subject, func.count(), func.max(runs.c.finished_at, type_=runs.c.finished_at.type))
        .where(
            runs.c.project == project,
            runs.c.status.in_(_FAILED),
            or_(last_success.is_(None), runs.c.id > last_success),
        )
        .group_by(runs.c.subject)
    )
    return {row[0]: Streak(row[1], row[2]) for row in connection.execute(statement)}


def running(connection: Connection, project: str, now: datetime) -> frozenset[str]:
    """Return the subjects somebody is at work on."""
    statement = select(runs.c.subject).where(
        runs.c.project == project, runs.c.status == RunStatus.RUNNING, runs.c.lease_until > now
    )
    return frozenset(connection.execute(statement).scalars())


def _named(key: RunKey) -> dict[str, Any]:
    return {
        "its_project": key.project,
        "its_subject": key.subject,
        "its_window_start": key.start,
        "its_window_end": key.end,
    }


def _lose(connection: Connection, run: int, now: datetime) -> bool:
    """Count a run as lost unless its worker renewed or finished it meanwhile."""
    statement = (
        update(runs)
        .where(runs.c.id == run, runs.c.status == RunStatus.RUNNING, runs.c.lease_until <= now)
        .values(status=RunStatus.LOST.value, finished_at=now, error="its worker stopped without a word")
    )
    return connection.execute(statement).rowcount == 1


def _update(connection: Connection, statement: Update, run: Run, changes: dict[str, Any]) -> None:
    """Change a run that is still ours."""
    if connection.execute(statement, {"its_id": run.id, "its_worker": run.worker, **changes}).rowcount != 1:
        raise ConflictError(
            f"run {run.id} ({run.key.subject}) is no longer held by '{run.worker}'",
            hint="its lease ended and another worker took over; use a longer lease",
        )


def _run(row: Row[Any], status: RunStatus | None = None, finished_at: datetime | None = None) -> Run:
    key = RunKey(
        project=row.project, subject=row.subject, start=row.window_start, end=row.window_end, metric=row.metric
    )
    return Run(
        id=row.id,
        key=key,
        attempt=row.attempt,
        status=status or RunStatus(row.status),
        worker=row.worker,
        lease_until=row.lease_until,
        started_at=row.started_at,
        finished_at=finished_at or row.finished_at,
        window=None if row.covered_start is None else (row.covered_start, row.covered_end),
        rows=row.rows,
        bytes=row.bytes,
        seconds=row.seconds,
        sql_hash=row.sql_hash,
        error=row.error,
        note=row.note,
    )


def metrics_at_work(connection: Connection, project: str, now: datetime) -> frozenset[str]:
    """Return the metrics somebody is at work on."""
    statement = select(runs.c.metric).where(
        runs.c.project == project, runs.c.status == RunStatus.RUNNING, runs.c.lease_until > now
    )
    return frozenset(connection.execute(statement).scalars())


@dataclass(frozen=True, slots=True, kw_only=True)
class Total:
    """What one metric has cost so far: runs, those of them that failed, values written, seconds and bytes of queries.

    A statement that answered several series of the metric at once counts its bytes once.
    """

    metric: str
    runs: int
    failed: int
    rows: int
    seconds: float
    bytes: int


def totals(connection: Connection, project: str, since: datetime | None = None) -> tuple[Total, ...]:
    """Return what collecting each metric has cost, the dearest first; runs that began before `since` do not count."""
    failed = func.sum(case((runs.c.status.in_(_FAILED), 1), else_=0))
    statements = (
        select(
            runs.c.metric,
            func.count().label("runs"),
            failed.label("failed"),
            func.sum(runs.c.rows).label("rows"),
            func.sum(runs.c.seconds).label("seconds"),
            func.max(runs.c.bytes).label("bytes"),
        )
        .where(runs.c.project == project)
        .group_by(runs.c.metric, runs.c.sql_hash, runs.c.window_start, runs.c.window_end, runs.c.attempt)
    )
    if since is not None:
        statements = statements.where(runs.c.started_at >= since)
    each = statements.subquery()
    sums = [func.coalesce(func.sum(each.c[name]), 0) for name in ("runs", "failed", "rows", "seconds", "bytes")]
    statement = select(each.c.metric, *sums).group_by(each.c.metric).order_by(sums[3].desc(), each.c.metric)
    return tuple(
        Total(
            metric=row[0],
            runs=int(row[1]),
            failed=int(row[2]),
            rows=int(row[3]),
            seconds=float(row[4]),
            bytes=int(row[5]),
        )
        for row in connection.execute(statement)
    )
