"""Holding claims while their process lives: leases are renewed beside the reading, however long a query takes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from logging import getLogger
from threading import Event, Lock, Thread
from types import TracebackType
from typing import Self

from tallystick.errors import StoreError
from tallystick.store import runs
from tallystick.store.database import Store
from tallystick.store.runs import Run

BEATS = 4
"""How often a lease is renewed while it lasts: a store that is busy for one beat or two costs no claim."""

_log = getLogger(__name__)


class Heartbeat:
    """Renews the leases of runs from a thread of its own, every few seconds, until they are released or it ends."""

    def __init__(
        self, store: Store, clock: Callable[[], datetime], lease: timedelta, every: float | None = None
    ) -> None:
        self._store = store
        self._clock = clock
        self._lease = lease
        self._every = lease.total_seconds() / BEATS if every is None else every
        self._over = Event()
        self._lock = Lock()
        self._held: dict[int, Run] = {}
        self._thread = Thread(target=self._work, name="heartbeat", daemon=True)

    def hold(self, claimed: Iterable[Run]) -> None:
        """Renew these from now on."""
        with self._lock:
            self._held |= {run.id: run for run in claimed}

    def release(self, finished: Iterable[Run]) -> None:
        """Renew these no more: they are written, or given up."""
        with self._lock:
            for run in finished:
                self._held.pop(run.id, None)

    def beat(self) -> None:
        """Renew what is held, once; a store that cannot be written now is asked again at the next beat."""
        with self._lock:
            held = tuple(self._held.values())
        if not held:
            return
        try:
            with self._store.transaction() as connection:
                runs.renew_all(connection, held, self._clock(), self._lease)
        except StoreError as error:
            _log.debug("leases could not be renewed", exc_info=error)

    def _work(self) -> None:
        while not self._over.wait(self._every):
            self.beat()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()
