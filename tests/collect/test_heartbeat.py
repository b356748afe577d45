from __future__ import annotations

from datetime import UTC, datetime, timedelta
from threading import Event

import pytest

from tallystick.collect.heartbeat import Heartbeat
from tallystick.errors import StoreError
from tallystick.store import runs
from tallystick.store.run_status import RunStatus

NOW = datetime(2026, 3, 3, 12, tzinfo=UTC)
LEASE = timedelta(minutes=5)


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def claim(store):
    def claimed(subject: str = "revenue", worker: str = "w") -> runs.Run:
        key = runs.RunKey(project="shop", subject=subject, start=NOW - timedelta(days=1), end=NOW)
        with store.transaction() as connection:
            found = runs.claim(connection, key, worker, NOW, LEASE)
        assert found is not None
        return found

    return claimed


def stale(store, now: datetime) -> list[str]:
    with store.transaction() as connection:
        return [run.key.subject for run in runs.reclaim_stale(connection, "shop", now)]


def test_what_is_held_outlives_its_lease_and_what_is_not_does_not(store, clock, claim) -> None:
    held, left = claim("held"), claim("left")
    heart = Heartbeat(store, clock, LEASE)
    heart.hold([held, left])
    heart.release([left])
    for _ in range(10):
        clock.now += timedelta(minutes=4)
        heart.beat()
    assert stale(store, clock.now) == ["left"]
    assert stale(store, clock.now + LEASE) == ["held"]  # its process was heard of last at the last beat


def test_a_clock_that_goes_back_makes_no_lease_shorter(store, clock, claim) -> None:
    run = claim()
    heart = Heartbeat(store, clock, LEASE)
    heart.hold([run])
    clock.now -= timedelta(hours=1)
    heart.beat()
    assert stale(store, NOW + timedelta(minutes=4)) == []


def test_what_another_worker_took_over_stays_theirs(store, clock, claim) -> None:
    first = claim(worker="first")
    heart = Heartbeat(store, clock, LEASE)
    heart.hold([first])
    clock.now += LEASE
    with store.transaction() as connection:
        second = runs.claim(connection, first.key, "second", clock.now, LEASE)
    assert second is not None
    clock.now += timedelta(minutes=4)
    heart.beat()
    with store.reading() as connection:
        statuses = {run.worker: run for run in runs.list_runs(connection, "shop")}
    assert statuses["first"].status is RunStatus.LOST
    assert statuses["second"].lease_until == second.lease_until


def test_a_store_that_is_busy_for_a_beat_costs_nothing(store, clock, claim, monkeypatch) -> None:
    heart = Heartbeat(store, clock, LEASE)
    heart.hold([claim()])

    def busy(*_: object) -> None:
        raise StoreError("another process holds the store")

    with monkeypatch.context() as patch:
        patch.setattr(runs, "renew_all", busy)
        heart.beat()
    clock.now += timedelta(minutes=4)
    heart.beat()
    assert stale(store, NOW + LEASE) == []


def test_the_thread_beats_until_it_is_left(store, clock, claim, monkeypatch) -> None:
    beaten, renew = Event(), runs.renew_all

    def told(*arguments: object) -> None:
        renew(*arguments)
        beaten.set()

    monkeypatch.setattr(runs, "renew_all", told)
    clock.now += timedelta(minutes=4)
    with Heartbeat(store, clock, LEASE, every=0.001) as heart:
        heart.hold([claim()])
        assert beaten.wait(30)
    assert not heart._thread.is_alive()
    assert stale(store, NOW + LEASE) == []
