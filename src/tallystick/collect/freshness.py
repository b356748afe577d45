"""Sources whose rows are late: what comes after their latest row waits for it, and is not taken for nothing.

Asked only of sources that say how often rows come (`fresh`), once a pass, and first whether any row is new enough.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, date, datetime, time, timedelta
from logging import getLogger

from sqlglot import exp

from tallystick.compiler.lower import to_text
from tallystick.compiler.relations import scope
from tallystick.definitions.project import Project
from tallystick.definitions.source import Source
from tallystick.engines.adapter import Engine
from tallystick.engines.limits import Limits
from tallystick.errors import TallystickError
from tallystick.sql import buckets
from tallystick.sql.calendar import Calendar, start_of_day

_log = getLogger(__name__)


def late_sources(
    engine_of: Callable[[str], Engine], project: Project, names: Iterable[str], now: datetime, limits: Limits
) -> Mapping[str, datetime]:
    """Return, of these sources, those that are late, each with the instant up to which its rows are there.

    A source without any row is not late, and one that cannot be read now is told by whatever reads it next.
    """
    return dict(_late(engine_of, project, names, now, limits))


def _late(
    engine_of: Callable[[str], Engine], project: Project, names: Iterable[str], now: datetime, limits: Limits
) -> Iterator[tuple[str, datetime]]:
    for name in names:
        source = project.sources[name]
        if not source.fresh_seconds or source.time is None:
            continue
        engine, oldest = engine_of(name), now - timedelta(seconds=source.fresh_seconds)
        try:
            if (_reach(engine, source, project, limits, oldest) or oldest) > oldest:
                continue
            found = _reach(engine, source, project, limits)
        except TallystickError as error:
            _log.debug("source '%s' could not be asked how fresh it is", name, exc_info=error)
            continue
        if found is not None and found <= oldest:
            yield name, found


def _reach(
    engine: Engine, source: Source, project: Project, limits: Limits, since: datetime | None = None
) -> datetime | None:
    """Return the instant up to which a source has rows: its latest one, or the end of its latest whole day."""
    rows = scope(source, project, engine.dialect)
    calendar = Calendar(source.time_zone or project.settings.time_zone)
    query = exp.select(exp.Max(this=rows.time()).as_("latest")).from_(rows.relation())
    if since is not None:
        is_date = source.time_is_date
        bound = buckets.literal_instant(since, is_date=is_date, dialect=engine.dialect, calendar=calendar)
        query = query.where(exp.GTE(this=rows.time(), expression=bound))
    answer = engine.run(to_text(query, engine.dialect, reads=project.dialect), limits)
    latest = answer.column(0)[0].as_py()
    if isinstance(latest, datetime):
        return latest.astimezone(UTC) if latest.tzinfo else latest.replace(tzinfo=UTC)
    if isinstance(latest, date):
        day = latest + timedelta(days=1)
        return start_of_day(day, calendar) if source.time_is_date else datetime.combine(latest, time(), UTC)
    return None
