"""Keeping what was read: values, watermark and run of one window in one transaction, or none of them (DESIGN §5)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from logging import getLogger

from sqlalchemy import Connection

from tallystick.collect import due
from tallystick.collect.due import Reason
from tallystick.collect.read import SeriesRead
from tallystick.collect.report import CollectedWindow
from tallystick.collect.tasks import Task
from tallystick.collect.windows import Stretch
from tallystick.compiler.series import Point, PointState, Wanted
from tallystick.errors import TallystickError
from tallystick.store import identity, runs, series, watermarks
from tallystick.store.database import Store
from tallystick.store.run_status import RunStatus
from tallystick.store.runs import Run
from tallystick.store.secrecy import without_secrets

_FAR_BACK = (Reason.NEW, Reason.CHANGED, Reason.SWEEP)
"""Reasons for which as much of the past is read as ever is."""
_log = getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Keeper:
    """Writes what became of windows; `now` decides which buckets are final, `clock` what time it is on a run."""

    store: Store
    project: str
    now: datetime
    clock: Callable[[], datetime]
    secrets: tuple[str, ...] = ()

    def keep_all(self, chunk: Stretch, read: Sequence[tuple[Task, Run, SeriesRead]]) -> list[CollectedWindow]:
        """Write several windows in one transaction, which is quicker; where one cannot be written, each in its own."""
        if not read:
            return []
        try:
            if all(each.error is None for _, _, each in read):
                with self.store.transaction() as connection:
                    return self._write_all(connection, chunk, read)
        except Exception as error:  # noqa: BLE001 - told by the window it belongs to, below
            _log.debug("writing together failed", exc_info=error)
        return [self.keep(task, chunk, run, each) for task, run, each in read]

    def keep(self, task: Task, chunk: Stretch, run: Run, read: SeriesRead) -> CollectedWindow:
        """Write one window and its run; a window that cannot be written becomes a failed run."""
        if read.error is not None:
            return self.fail(task, chunk, run, read.error, read)
        try:
            with self.store.transaction() as connection:
                return self._write(connection, task, chunk, run, read)
        except Exception as error:  # noqa: BLE001 - one series' failure never ends the others
            return self.fail(task, chunk, run, error, read)

    def _write_all(
        self, connection: Connection, chunk: Stretch, read: Sequence[tuple[Task, Run, SeriesRead]]
    ) -> list[CollectedWindow]:
        """Write windows by few statements; a generation that is being built has its own way."""
        live = [each for each in read if not each[0].is_rebuild]
        kept = {
            task.subject.name: self._write(connection, task, chunk, run, each)
            for task, run, each in read
            if task.is_rebuild
        }
        if live:
            windows = [self._window(task, chunk, each) for task, _, each in live]
            done = series.replace_windows(
                connection, self.project, chunk.start, chunk.end, windows, collected_at=self.now
            )
            watermarks.advance_all(connection, [number for number, _ in done], chunk.end)
            swept = [number for (task, _, _), (number, _) in zip(live, done, strict=True) if _is_swept(task, chunk)]
            watermarks.note_sweeps(connection, swept, self.now)
            notes = [folded_note(window.wanted, window.points) for window in windows]
            outcomes = [
                (run, _success(each, written.rows, note))
                for (_, run, each), (_, written), note in zip(live, done, notes, strict=True)
            ]
            runs.succeed_all(connection, outcomes, now=self.clock(), window=(chunk.start, chunk.end))
            for (task, _, each), window, (_, written), note in zip(live, windows, done, notes, strict=True):
                kept[task.subject.name] = _collected(task, chunk, window, written, each.seconds, note)
        return [kept[task.subject.name] for task, _, _ in read]

    def _window(self, task: Task, chunk: Stretch, read: SeriesRead) -> series.Window:
        """Return what a series shall hold; a whole query may give more days than it was asked for."""
        ruler = task.subject.ruler

        def state_of(bucket: datetime) -> PointState:
            return due.state(bucket, self.now, ruler)

        return series.Window(
            wanted=task.subject.wanted,
            points=[point for point in read.points if chunk.start <= point.bucket < chunk.end],
            definition_hash=task.subject.definition_hash,
            state_of=state_of,
        )

    def _write(self, connection: Connection, task: Task, chunk: Stretch, run: Run, read: SeriesRead) -> CollectedWindow:
        wanted = task.subject.wanted
        hashed, rebuilding = task.subject.definition_hash, task.is_rebuild
        window = self._window(task, chunk, read)
        written = series.replace_window(
            connection,
            self.project,
            wanted,
            chunk.start,
            chunk.end,
            window.points,
            definition_hash=hashed,
            state_of=window.state_of,
            collected_at=self.now,
            rebuilding=rebuilding,
        )
        watermarks.advance(connection, self.project, wanted, chunk.end, definition_hash=hashed, rebuilding=rebuilding)
        if rebuilding and chunk.end == task.stretch.end:
            identity.commit_rebuild(connection, self.project, wanted, self.now)
        if _is_swept(task, chunk):
            watermarks.note_sweep(connection, self.project, wanted, self.now)
        note = folded_note(wanted, window.points)
        runs.finish(
            connection,
            run,
            RunStatus.SUCCESS,
            now=self.clock(),
            rows=written.rows,
            bytes=read.bytes,
            seconds=read.seconds,
            sql_hash=sql_hash(read.sql),
            note=note,
            window=(chunk.start, chunk.end),
        )
        return _collected(task, chunk, window, written, read.seconds, note)

    def fail(
        self, task: Task, chunk: Stretch, run: Run, error: Exception, read: SeriesRead | None = None
    ) -> CollectedWindow:
        """Write that a window could not be collected; nothing of it was changed."""
        message = self.told(error)
        sql = read.sql if read is not None else ()
        seconds = read.seconds if read is not None else 0.0
        try:
            with self.store.transaction() as connection:
                runs.finish(
                    connection,
                    run,
                    RunStatus.ERROR,
                    now=self.clock(),
                    bytes=read.bytes if read is not None else None,
                    seconds=seconds,
                    sql_hash=sql_hash(sql) if sql else None,
                    error=message,
                )
        except TallystickError as second:
            # The lease ends by itself; whoever started this pass still learns both.
            if self.told(second) != message:
                message = f"{message}; its run could not be written: {self.told(second)}"
        return CollectedWindow(
            wanted=task.subject.wanted,
            reason=task.reason,
            start=chunk.start,
            end=chunk.end,
            seconds=seconds,
            error=message,
        )

    def told(self, error: Exception) -> str:
        """Return what is told of an error: our own in full, of any other only its kind; never a secret (tripl §7.3)."""
        text = str(error) if isinstance(error, TallystickError) else f"internal error ({type(error).__name__})"
        return without_secrets(text, self.secrets)


def _is_swept(task: Task, chunk: Stretch) -> bool:
    """Tell whether a series was read as far back as it ever is, with this chunk."""
    return task.reason in _FAR_BACK and chunk.end == task.stretch.end


def _success(read: SeriesRead, rows: int, note: str | None) -> runs.Success:
    return runs.Success(rows=rows, bytes=read.bytes, seconds=read.seconds, sql_hash=sql_hash(read.sql), note=note)


def _collected(
    task: Task, chunk: Stretch, window: series.Window, written: series.Written, seconds: float, note: str | None
) -> CollectedWindow:
    return CollectedWindow(
        wanted=task.subject.wanted,
        reason=task.reason,
        start=chunk.start,
        end=chunk.end,
        points=written.rows,
        restated=written.restated,
        state=window.state_of(window.points[-1].bucket) if window.points else None,
        note=note,
        seconds=seconds,
    )


def folded_note(wanted: Wanted, points: Sequence[Point]) -> str | None:
    """Say which values of a dimension are kept, where others were folded into one; None where all are there."""
    if wanted.values_limit is None or not any(point.is_other for point in points):
        return None
    kept = len({point.dimension_value for point in points if not point.is_other})
    values = "value" if kept == 1 else "values"
    return f"{kept} {values} of {wanted.by} by rows, all others in one (values_limit = {wanted.values_limit})"


@lru_cache(maxsize=64)
def sql_hash(sql: tuple[str, ...]) -> str:
    """Return 16 hexadecimal digits by which runs that sent the same statements are found."""
    return hashlib.sha256("\n".join(sql).encode()).hexdigest()[:16]
