"""How far the series of a project are, as the metadata store has it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection

from tallystick.collect.due import Standing
from tallystick.collect.subjects import Subject
from tallystick.compiler.series import PointState
from tallystick.store import identity, runs, series, watermarks
from tallystick.store.identity import Generation
from tallystick.store.reach import first_bucket
from tallystick.store.runs import Streak


def standings(
    connection: Connection,
    project: str,
    subjects: Sequence[Subject],
    moment: datetime,
    now: datetime,
    lost: frozenset[str],
) -> dict[str, Standing]:
    """Return where each series stands; series somebody is at work on are left out.

    `moment` is the time leases are measured by. `lost` are those whose worker has just been found dead: one such end alone is no failure of theirs.
    """
    # In this order: what was at work and is not any more has committed before its watermark is read.
    busy = runs.running(connection, project, moment)
    live = watermarks.states(connection, project)
    streaks = runs.streaks(connection, project)
    found: dict[str, Standing] = {}
    for subject in subjects:
        if subject.name not in busy:
            streak = streaks.get(subject.name, Streak())
            forgiven = subject.name in lost and streak.failures == 1
            found[subject.name] = standing(
                connection, project, subject, live.get(subject.name), now, Streak() if forgiven else streak
            )
    return found


def standing(
    connection: Connection,
    project: str,
    subject: Subject,
    live: Generation | None,
    now: datetime,
    streak: Streak,
) -> Standing:
    """Return where one series stands, given its live generation."""
    if live is None or live.watermark is None:
        return Standing(failures=streak.failures, failed_at=streak.failed_at)
    history = rebuilt = None
    is_changed = live.definition_hash != subject.definition_hash
    if is_changed:
        history = first_bucket(connection, live.id)
        newest = identity.generations(connection, project, subject.wanted)[-1]
        if newest.is_being_built and newest.definition_hash == subject.definition_hash:
            rebuilt = newest.watermark
    return Standing(
        progress=live.watermark,
        settling=None if is_changed else _settling(connection, project, subject, live.watermark, now),
        is_changed=is_changed,
        history=history,
        rebuilt=rebuilt,
        swept_at=live.swept_at,
        failures=streak.failures,
        failed_at=streak.failed_at,
    )


def _settling(
    connection: Connection, project: str, subject: Subject, progress: datetime, now: datetime
) -> datetime | None:
    """Return the oldest bucket that was still settling when it was read; asked only where nothing else is due."""
    ruler = subject.ruler
    if not ruler.settle or progress < ruler.floor(now):
        return None
    oldest = ruler.shift(ruler.floor(progress - ruler.settle), -1)
    stored = series.read_points(connection, project, subject.wanted, oldest, progress)
    return min((point.point.bucket for point in stored if point.state is PointState.SETTLING), default=None)
