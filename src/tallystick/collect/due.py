"""When a series is read: due or not, how long to wait after failures, and when a bucket is final (tripl §7.1, §12)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from tallystick.collect.windows import Ruler
from tallystick.compiler.series import PointState
from tallystick.sql.grain import Grain

CLOCK_TOLERANCE = timedelta(minutes=5)
"""Clocks of machines that share a store differ by this much without anything being wrong."""
LONGEST_WAIT = timedelta(hours=24)
SWEEPS = timedelta(days=7)
"""How often a series is read far back, where it is at all."""
_MOST = 8
_LENGTHS = {
    Grain.FIVE_MINUTES: timedelta(minutes=5),
    Grain.FIFTEEN_MINUTES: timedelta(minutes=15),
    Grain.HOUR: timedelta(hours=1),
    Grain.SIX_HOURS: timedelta(hours=6),
}


class Reason(StrEnum):
    """Why a series is read."""

    NEW = "new"
    BEHIND = "behind"
    SETTLED = "settled"
    SWEEP = "sweep"
    CHANGED = "changed"
    ASKED = "asked"
    CLOCK = "clock"


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How far a series is: collected up to `progress`, of which the buckets from `settling` on may still change.

    It was read far back at `swept_at`. `failures` counts the runs that failed since one did not, the last of them at `failed_at`. Where the definition
    changed, `history` is the first bucket there is and `rebuilt` how far the new generation is.
    """

    progress: datetime | None = None
    settling: datetime | None = None
    is_changed: bool = False
    history: datetime | None = None
    rebuilt: datetime | None = None
    swept_at: datetime | None = None
    failures: int = 0
    failed_at: datetime | None = None


def due(standing: Standing, now: datetime, ruler: Ruler, sweep: int = 0) -> Reason | None:
    """Tell why a series is to be read now, or None: nothing new has ended, or it failed a short while ago.

    With `sweep`, so many buckets are read again once a week.
    """
    if _rests(standing, now, ruler):
        return None
    if standing.progress is None:
        return Reason.NEW
    if went_back(standing, now):
        return Reason.CLOCK
    if standing.is_changed:
        return Reason.CHANGED
    if sweep and (standing.swept_at is None or standing.swept_at + SWEEPS <= now):
        return Reason.SWEEP
    if standing.progress < ruler.floor(now):
        return Reason.BEHIND
    if standing.settling is not None and final_at(standing.settling, ruler) <= now:
        return Reason.SETTLED
    return None


def _rests(standing: Standing, now: datetime, ruler: Ruler) -> bool:
    failed_at = standing.failed_at
    if failed_at is None or failed_at > now + CLOCK_TOLERANCE:
        # A failure of tomorrow was written by a clock that has been set right since.
        return False
    return now < failed_at + wait(standing.failures, ruler.grain)


def wait(failures: int, grain: Grain) -> timedelta:
    """Return how long a series rests after failures in a row: 1, 2, 4, 8 buckets, at most a day.

    A bucket longer than a day counts as one: a month of silence after one failure would help nobody.
    """
    if failures < 1:
        return timedelta()
    bucket = _LENGTHS.get(grain, LONGEST_WAIT)
    return min(bucket * min(1 << min(failures - 1, _MOST), _MOST), LONGEST_WAIT)


def went_back(standing: Standing, now: datetime) -> bool:
    """Tell whether the clock shows a time long before what was already collected as over."""
    return standing.progress is not None and now + CLOCK_TOLERANCE < standing.progress


def final_at(bucket: datetime, ruler: Ruler) -> datetime:
    """Return the moment from which no more rows are expected in the bucket that starts at `bucket`."""
    return ruler.shift(bucket, 1) + ruler.settle


def state(bucket: datetime, now: datetime, ruler: Ruler) -> PointState:
    """Return what a value that is read now can be trusted to be."""
    return PointState.FINAL if now >= final_at(bucket, ruler) else PointState.SETTLING


@dataclass(slots=True, kw_only=True)
class Budget:
    """What one pass may cost: seconds and queries, None for any; what does not fit stays due."""

    seconds: float | None = None
    queries: int | None = None
    used: int = 0

    def is_spent(self, elapsed: float) -> bool:
        """Tell whether a pass has to end now; one query is always allowed, or nothing would ever be done."""
        if self.used == 0:
            return False
        late = self.seconds is not None and elapsed >= self.seconds
        return late or (self.queries is not None and self.used >= self.queries)
