"""One pass of the collector: what is due is claimed, read together, and kept window by window (tripl §7).

A pass can be killed at any statement. What it had claimed is taken over once its leases have ended; every window is
either kept as a whole, with its watermark and run, or not at all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from logging import getLogger
from time import perf_counter

from tallystick.collect.due import Budget, Reason, Standing
from tallystick.collect.freshness import late_sources
from tallystick.collect.heartbeat import Heartbeat
from tallystick.collect.keeping import Keeper
from tallystick.collect.read import SeriesRead, read_one, read_series
from tallystick.collect.report import CollectedWindow, CollectReport
from tallystick.collect.standings import standings
from tallystick.collect.subjects import Subject, subjects
from tallystick.collect.tasks import Ask, Batch, Task, batches, decide, waiting
from tallystick.collect.windows import Stretch
from tallystick.compiler.span import Span
from tallystick.definitions.about import Status
from tallystick.definitions.collect_settings import CollectSettings
from tallystick.definitions.project import Project
from tallystick.engines.adapter import Engine
from tallystick.engines.limits import Limits
from tallystick.errors import CompileError, TallystickError
from tallystick.store import identity, runs
from tallystick.store.database import Store
from tallystick.store.reach import take_turn
from tallystick.store.runs import Run
from tallystick.store.secrecy import is_secret

LARGEST_ANSWER = 256 * 2**20
"""Bytes of one answer; a day of hourly values of a thousand metrics is a thousandth of it."""
TOGETHER = 50
"""Windows that are written by one transaction; each of them is whole in it, with its watermark and run."""
LEASE = timedelta(minutes=5)
"""How long a claim lasts after its worker was heard of last; a heartbeat renews it while the process lives."""

Clock = Callable[[], datetime]
_log = getLogger(__name__)


def collect(  # noqa: PLR0913 - what the command line can say, and what tests set
    store: Store,
    engine: Engine,
    project: Project,
    *,
    now: datetime,
    due_only: bool = False,
    select: Sequence[str] = (),
    window: tuple[datetime | None, datetime | None] = (None, None),
    budget: Budget | None = None,
    worker: str = "collector",
    clock: Clock | None = None,
    others: Mapping[str, Engine] | None = None,
) -> CollectReport:
    """Collect the series of the named metrics, or of all active ones; what fails is reported and leaves others alone.

    `now` decides which buckets have ended, `clock` how long leases last. With `window` (either side may be open) the
    past is read again. Raise UnknownNameError for a metric that is not there, StoreError where the store cannot be
    used at all.
    """
    clock = clock or (lambda: datetime.now(UTC))
    keeper = Keeper(store=store, project=project.settings.name, now=now, clock=clock, secrets=_secrets(project))
    with Heartbeat(store, clock, LEASE) as heart:
        work = _Pass(
            store=store,
            engine=engine,
            project=project,
            now=now,
            ask=Ask(due_only=due_only, start=window[0], end=window[1]),
            budget=budget or Budget(),
            worker=worker,
            clock=clock,
            others=others or {},
            keeper=keeper,
            heart=heart,
        )
        wanted = subjects(project, select)
        work.run(wanted)
    return CollectReport(
        windows=tuple(work.done),
        left=tuple(work.left),
        busy=tuple(dict.fromkeys(work.busy)),
        deprecated=_deprecated(project, wanted),
        late=work.late,
        seconds=perf_counter() - work.began,
    )


def _deprecated(project: Project, wanted: Sequence[Subject]) -> tuple[str, ...]:
    names = dict.fromkeys(subject.wanted.metric for subject in wanted)
    return tuple(name for name in names if project.metrics[name].about.status is Status.DEPRECATED)


def _secrets(project: Project) -> tuple[str, ...]:
    return tuple(
        value
        for warehouse in project.warehouses.values()
        for name, value in warehouse.options.items()
        if is_secret(name) and value
    )


@dataclass(slots=True, kw_only=True)
class _Pass:
    """A pass under way."""

    store: Store
    engine: Engine
    project: Project
    now: datetime
    ask: Ask
    budget: Budget
    worker: str
    clock: Clock
    others: Mapping[str, Engine]
    keeper: Keeper
    heart: Heartbeat
    late: Mapping[str, datetime] = field(default_factory=dict)
    lost: frozenset[str] = frozenset()
    began: float = field(default_factory=perf_counter)
    done: list[CollectedWindow] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    busy: list[str] = field(default_factory=list)

    @property
    def settings(self) -> CollectSettings:
        """Return the project's settings for collecting."""
        return self.project.settings.collect

    @property
    def limits(self) -> Limits:
        """Return what one query may take and give."""
        return Limits(seconds=float(self.settings.timeout), rows=self.settings.max_rows, bytes=LARGEST_ANSWER)

    def run(self, wanted: Sequence[Subject]) -> None:
        """Plan, then read batch by batch."""
        name = self.project.settings.name
        with self.store.transaction() as connection:
            stale = runs.reclaim_stale(connection, name, self.clock())
        self.lost = frozenset(run.key.subject for run in stale)
        if self.ask.due_only:
            sources = sorted({source for subject in wanted for source in subject.sources})
            self.late = late_sources(self._engine_of, self.project, sources, self.now, self.limits)
        with self.store.reading() as connection:
            found = standings(connection, name, wanted, self.clock(), self.now, self.lost)
        self.busy += [subject.name for subject in wanted if subject.name not in found]
        tasks = [
            task
            for subject in wanted
            if subject.name in found and (task := self._decide(subject, found[subject.name])) is not None
        ]
        for batch in batches(tasks):
            self._collect(batch)

    def _decide(self, subject: Subject, standing: Standing) -> Task | None:
        """Return what is to be done for a series; what follows the latest row of a late source waits."""
        task = decide(subject, standing, self.ask, self.now)
        late = [self.late[name] for name in subject.sources if name in self.late]
        return waiting(task, min(late)) if late else task

    def _engine_of(self, source: str) -> Engine:
        return self.others.get(self.project.sources[source].warehouse or "", self.engine)

    def _collect(self, batch: Batch) -> None:
        """Read a batch chunk by chunk; a series that failed in one is not read in those after it."""
        tasks = batch.tasks
        for place, chunk in enumerate(batch.pieces):
            if not tasks:
                return
            if self.budget.is_spent(perf_counter() - self.began):
                self.left += [task.subject.name for task in tasks]
                return
            claimed = self._claim(tasks, chunk, is_first=place == 0)
            self.budget.used += 1
            held = [run for _, run in claimed]
            self.heart.hold(held)
            try:
                finished = self._read(claimed, chunk)
            finally:
                self.heart.release(held)
            good = {window.wanted for window in finished if window.error is None}
            self.done += finished
            tasks = tuple(task for task, _ in claimed if task.subject.wanted in good)

    def _claim(self, tasks: Sequence[Task], chunk: Stretch, *, is_first: bool) -> list[tuple[Task, Run]]:
        """Claim a window of several series at once; left out are those that others have taken or done meanwhile."""
        name, moment = self.project.settings.name, self.clock()
        asked: list[tuple[Task, runs.RunKey]] = []
        with self.store.transaction() as connection:
            take_turn(connection, name)
            found = standings(connection, name, [task.subject for task in tasks], moment, self.now, self.lost)
            for task in tasks:
                subject = task.subject
                if subject.name not in found:
                    self.busy.append(subject.name)
                    continue
                if is_first and self._decide(subject, found[subject.name]) != task:
                    continue  # somebody did it between our plan and now
                progress = found[subject.name].rebuilt if task.is_rebuild else found[subject.name].progress
                reached = max(chunk.start, task.expected or chunk.start)
                if not is_first and self.ask.due_only and progress != reached:
                    continue
                if task.is_rebuild:
                    identity.begin_rebuild(connection, name, subject.wanted, subject.definition_hash)
                asked.append((task, runs.key_of(name, subject.wanted, chunk.start, chunk.end)))
            ours = runs.claim_all(connection, [key for _, key in asked], self.worker, moment, LEASE, again=True)
        return [(task, ours[key.subject]) for task, key in asked if key.subject in ours]

    def _read(self, claimed: Sequence[tuple[Task, Run]], chunk: Stretch) -> list[CollectedWindow]:
        finished: list[CollectedWindow] = []
        held = dict(claimed)
        readable = [task for task, _ in claimed if task.reason is not Reason.CLOCK]
        finished += [
            self.keeper.fail(task, chunk, run, _clock_error(task, self.now))
            for task, run in claimed
            if task.reason is Reason.CLOCK
        ]
        ready: list[tuple[Task, Run, SeriesRead]] = []
        for task, read in zip(readable, self._reads(readable, chunk), strict=True):
            if not isinstance(read, SeriesRead):
                finished.append(self.keeper.fail(task, chunk, held[task], read))
                continue
            ready.append((task, held[task], read))
            if len(ready) == TOGETHER:
                finished += self.keeper.keep_all(chunk, ready)
                ready = []
        return finished + self.keeper.keep_all(chunk, ready)

    def _reads(self, tasks: Sequence[Task], chunk: Stretch) -> Iterator[SeriesRead | Exception]:
        """Yield what was read for each task, or the error nobody foresaw; then the others are read one by one."""
        if not tasks:
            return
        span = Span(chunk.start, chunk.end, tasks[0].subject.ruler.calendar)
        wanted = [task.subject.wanted for task in tasks]
        answered = 0
        try:
            for read in read_series(self.engine, self.project, wanted, span, self.limits, others=self.others):
                yield read
                answered += 1
        except Exception as error:  # noqa: BLE001 - what no adapter foresaw must not end the pass
            _log.debug("reading together failed", exc_info=error)
        for each in wanted[answered:]:
            try:
                found: SeriesRead | Exception = read_one(self.engine, self.project, each, span, self.limits)
            except Exception as error:  # noqa: BLE001 - the same
                found = error
            yield found


def _clock_error(task: Task, now: datetime) -> TallystickError:
    reached = f"{task.expected:%Y-%m-%d %H:%M}" if task.expected else "later"
    return CompileError(
        f"the clock went back: it shows {now:%Y-%m-%d %H:%M} UTC, and {task.subject.wanted.metric} is collected up to "
        f"{reached}",
        hint="nothing was moved back; set the clock right, or name the window with --start and --end",
    )
