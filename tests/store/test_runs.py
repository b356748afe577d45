"""Runs: one worker has a run, a lease that ends frees it, and what became of it is kept."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest

from tallystick.compiler.series import Wanted
from tallystick.errors import ConflictError
from tallystick.sql.grain import Grain
from tallystick.store import runs
from tallystick.store.database import Store
from tallystick.store.run_status import RunStatus
from tallystick.store.runs import Run, Streak

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
LEASE = timedelta(minutes=5)
KEY = runs.key_of("shop", Wanted(metric="revenue", grain=Grain.DAY), NOW - timedelta(days=2), NOW)


def claim(store: Store, worker: str = "a", now: datetime = NOW, **options: bool) -> Run | None:
    with store.transaction() as connection:
        return runs.claim(connection, KEY, worker, now, LEASE, **options)


def claimed(store: Store, worker: str = "a", now: datetime = NOW, **options: bool) -> Run:
    run = claim(store, worker, now, **options)
    assert run is not None
    return run


def finish(store: Store, run: Run, status: str, now: datetime = NOW, error: str | None = None) -> Run:
    with store.transaction() as connection:
        return runs.finish(
            connection, run, RunStatus(status), now=now, rows=3, bytes=2**40, seconds=0.5, sql_hash="ab", error=error,
            window=(KEY.start, KEY.end),
        )  # fmt: skip


def test_one_worker_has_a_run(store: Store) -> None:
    run = claimed(store)
    assert claim(store, "b", NOW + LEASE / 2) is None
    done = finish(store, run, "success")
    assert done.bytes == 2**40
    assert claim(store, "b") is None
    assert claimed(store, "b", again=True).attempt == 2
    with store.reading() as connection:
        newest, first = runs.list_runs(connection, "shop", metric="revenue")
        assert (first, newest.status, newest.bytes) == (done, RunStatus.RUNNING, None)
        assert runs.list_runs(connection, "shop", metric="orders") == ()
        assert runs.list_runs(connection, "shop", status=RunStatus.ERROR) == ()


def test_a_failed_run_is_claimed_again(store: Store) -> None:
    finish(store, claimed(store), "error", error="no such table")
    assert claimed(store, "b").attempt == 2


def test_a_lease_that_ends_frees_the_run_and_its_worker_writes_nothing_more(store: Store) -> None:
    late = claimed(store)
    successor = claimed(store, "b", NOW + LEASE)
    assert successor.attempt == 2
    with pytest.raises(ConflictError, match="no longer held by 'a'"):
        finish(store, late, "success")
    with pytest.raises(ConflictError), store.transaction() as connection:
        runs.renew(connection, late, NOW, LEASE)
    finish(store, successor, "success")


def test_a_renewed_lease_holds(store: Store) -> None:
    with store.transaction() as connection:
        run = runs.claim(connection, KEY, "a", NOW, LEASE)
        assert run is not None
        assert runs.renew(connection, run, NOW + LEASE, LEASE).lease_until == NOW + 2 * LEASE
        # A clock that went back shortens nothing.
        assert runs.renew(connection, run, NOW - LEASE, LEASE).lease_until == NOW + LEASE
    with store.reading() as connection:
        assert runs.running(connection, "shop", NOW) == {KEY.subject}
        assert runs.running(connection, "shop", NOW + 3 * LEASE) == frozenset()


def test_stale_runs_are_reclaimed(store: Store) -> None:
    run = claimed(store)
    with store.transaction() as connection:
        assert runs.reclaim_stale(connection, "shop", NOW) == ()
        (lost,) = runs.reclaim_stale(connection, "shop", NOW + LEASE)
        assert (lost.id, lost.status) == (run.id, RunStatus.LOST)
        assert runs.reclaim_stale(connection, "shop", NOW + LEASE) == ()
        assert runs.list_runs(connection, "shop")[0].error == "its worker stopped without a word"


def test_failures_since_the_last_success_are_counted(store: Store) -> None:
    finish(store, claimed(store), "error")
    finish(store, claimed(store), "success")
    for minute in range(3):
        finish(store, claimed(store, again=True), "error", NOW + timedelta(minutes=minute))
    with store.reading() as connection:
        assert runs.streaks(connection, "shop") == {KEY.subject: Streak(3, NOW + timedelta(minutes=2))}
        assert runs.streaks(connection, "other") == {}


def test_errors_hold_no_secret(store: Store) -> None:
    text = (
        "could not connect to postgresql://bob:hunter2@host/db\npassword=hunter2 token: 'hunter2' Bearer hunter2hunter2"
    )
    found = finish(store, claimed(store), "error", error=text).error
    assert found is not None and "hunter2" not in found and "\n" not in found


_WORKER = """
import sys
from datetime import UTC, datetime, timedelta
from tallystick.store import runs
from tallystick.store.database import open_store

url, worker = sys.argv[1:]
store = open_store(url)
now = datetime(2026, 3, 1, tzinfo=UTC)
print("ready", flush=True)
sys.stdin.readline()
won = []
for number in range(25):
    key = runs.RunKey(project="shop", subject=f"s{number}", start=now, end=now + timedelta(days=1))
    with store.transaction() as connection:
        if runs.claim(connection, key, worker, now, timedelta(hours=1)):
            won.append(str(number))
print(" ".join(won), flush=True)
"""


def test_two_processes_never_claim_the_same_run(url: str) -> None:
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", _WORKER, url, f"w{number}"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for number in range(3)
    ]
    for worker in workers:
        assert worker.stdout is not None and worker.stdout.readline() == "ready\n"
    won = []
    for worker in workers:
        assert worker.stdin is not None
        worker.stdin.write("go\n")
        worker.stdin.flush()
    for worker in workers:
        output, _ = worker.communicate(timeout=60)
        assert worker.returncode == 0
        won += output.split()
    assert sorted(map(int, won)) == list(range(25))
