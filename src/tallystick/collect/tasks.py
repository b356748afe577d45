"""What a pass does: which series over which window and why, and which of them are read together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from tallystick.collect import due, windows
from tallystick.collect.due import Reason, Standing
from tallystick.collect.subjects import Subject
from tallystick.collect.windows import Stretch


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """What somebody wants of a pass: only what is due, or everything, over a window or the usual one."""

    due_only: bool = False
    start: datetime | None = None
    end: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One series to be read over a window. `expected` is the progress from which that window follows.

    A task whose reason is that the definition changed fills a new generation of the series beside the live one.
    """

    subject: Subject
    reason: Reason
    stretch: Stretch
    expected: datetime | None

    @property
    def is_rebuild(self) -> bool:
        """Tell whether the values go into a new generation."""
        return self.reason is Reason.CHANGED


def decide(subject: Subject, standing: Standing, ask: Ask, now: datetime) -> Task | None:
    """Return what is to be done for a series now, or None where there is nothing."""
    ruler, settings = subject.ruler, subject.settings
    reason = due.due(standing, now, ruler, settings.sweep) if ask.due_only else Reason.ASKED
    if reason is None:
        return None
    if standing.progress is not None and standing.is_changed:
        return _rebuild(subject, standing, ask, now)
    if due.went_back(standing, now) and ask.start is None and ask.end is None:
        end = ruler.floor(now)
        return Task(subject=subject, reason=Reason.CLOCK, stretch=Stretch(end, end), expected=standing.progress)
    if reason is Reason.SWEEP:
        stretch = windows.far_back(standing.progress, now, ruler, settings)
    elif ask.due_only:
        stretch = windows.regular(standing.progress, now, ruler, settings)
    elif ask.start is None and ask.end is None:
        stretch = windows.by_hand(standing.progress, now, ruler, settings)
    else:
        stretch = windows.asked(ask.start, ask.end, standing.progress, now, ruler, settings)
    if stretch.is_empty:
        return None
    return Task(subject=subject, reason=reason, stretch=stretch, expected=standing.progress)


def waiting(task: Task | None, until: datetime) -> Task | None:
    """Return what of a task need not wait for rows that are late: its sources have theirs up to an instant only."""
    if task is None or task.reason not in (Reason.NEW, Reason.BEHIND, Reason.SWEEP):
        return task
    floor = task.subject.ruler.floor
    reached = None if task.expected is None else floor(task.expected)
    end = floor(until) if reached is None else max(floor(until), reached)
    stretch = Stretch(task.stretch.start, min(end, task.stretch.end))
    has_news = reached is None or stretch.end > reached or task.reason is Reason.SWEEP
    return replace(task, stretch=stretch) if has_news and not stretch.is_empty else None


def _rebuild(subject: Subject, standing: Standing, ask: Ask, now: datetime) -> Task | None:
    """Return the task that reads the whole history of a changed series again, or what is left of it."""
    since = min((start for start in (standing.history, ask.start) if start is not None), default=None)
    ruler = subject.ruler
    if ruler.since is None and since is not None:
        ruler = replace(ruler, since=since)
    stretch = windows.regular(standing.rebuilt, now, ruler, subject.settings)
    if stretch.is_empty:
        return None
    return Task(subject=subject, reason=Reason.CHANGED, stretch=stretch, expected=standing.rebuilt)


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Tasks that are read together: the same window, cut alike, and grain of sources that belong together."""

    tasks: tuple[Task, ...]

    @property
    def stretch(self) -> Stretch:
        """Return the window all tasks share."""
        return self.tasks[0].stretch

    @property
    def pieces(self) -> tuple[Stretch, ...]:
        """Return the windows that are read one after the other.

        Where values of a dimension are limited it is one: which are kept is decided once for the whole (tripl §7.4).
        """
        subject, stretch = self.tasks[0].subject, self.stretch
        if stretch.is_empty or subject.wanted.values_limit is not None:
            return (stretch,)
        return tuple(windows.chunks(stretch, subject.ruler, subject.settings.chunk))


def batches(tasks: Sequence[Task]) -> tuple[Batch, ...]:
    """Group tasks by window, grain, calendar and connected sources, those that have waited longest first.

    Series that were never collected come last: a long first read keeps nobody else waiting.
    """
    root = connected(task.subject.sources for task in tasks)
    groups: dict[object, list[Task]] = {}
    for task in tasks:
        ruler = task.subject.ruler
        family = root.get(min(task.subject.sources, default=""), task.subject.wanted.metric)
        cut = None if task.subject.wanted.values_limit is not None else task.subject.settings.chunk
        groups.setdefault((task.stretch, ruler.grain, ruler.calendar, family, cut), []).append(task)
    found = [Batch(tasks=tuple(group)) for group in groups.values()]
    return tuple(sorted(found, key=_urgency))


def _urgency(batch: Batch) -> tuple[bool, datetime]:
    waiting = [task.expected for task in batch.tasks if task.expected is not None]
    return (not waiting, min(waiting, default=batch.stretch.start))


def connected(sets: Iterable[frozenset[str]]) -> dict[str, str]:
    """Return for each source a name that all sources share which some series reads together."""
    parent: dict[str, str] = {}

    def find(name: str) -> str:
        while parent.setdefault(name, name) != name:
            name = parent[name]
        return name

    for names in set(sets):
        roots = {find(name) for name in names}
        for name in roots:
            parent[name] = min(roots)
    return {name: find(name) for name in parent}
