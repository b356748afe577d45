"""A store whose disk is really full: told clearly, nothing lost, and all goes on once there is room.

The disk is a small one in memory where tests may mount one; else the database itself is kept from growing.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import event

from tallystick.collect.collector import collect
from tallystick.collect.report import CollectReport
from tallystick.compiler.series import Wanted
from tallystick.errors import StoreError
from tallystick.sql.grain import Grain
from tallystick.store import series, watermarks
from tallystick.store.database import Store, open_store

NOW = datetime(2026, 3, 3, 12, 10, tzinfo=UTC)
FULL = "the disk below the store is full"
HOURLY = Wanted(metric="revenue", grain=Grain.HOUR)
ROOM = [0, 8, 24, 40, 64, 96, 160, 256]
"""Kilobytes that are left: a pass stops at its claims, at some of its values, or at none."""

Squeezed = Callable[[int], AbstractContextManager[None]]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    mount, unmount = shutil.which("mount"), shutil.which("umount")
    if os.geteuid() != 0 or mount is None or unmount is None:
        pytest.skip("a disk can be mounted by root only")
    done = subprocess.run(
        [mount, "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if done.returncode != 0:
        pytest.skip("no disk can be mounted here")
    yield folder
    subprocess.run([unmount, str(folder)], check=True)


@pytest.fixture(params=["disk", "pages"])
def store_on_it(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Store, Squeezed]]:
    if request.param == "disk":
        folder: Path = request.getfixturevalue("small_disk")
        store = open_store(f"sqlite:///{folder / 'tally.db'}")
        yield store, lambda room: _disk_left(store, folder, room)
    else:
        store = open_store(f"sqlite:///{tmp_path / 'tally.db'}")
        yield store, lambda room: _pages_left(store, room)
    store.close()


@contextmanager
def _disk_left(store: Store, folder: Path, room: int) -> Iterator[None]:
    _shrink(store)
    filler = folder / "filler"
    space = os.statvfs(folder)
    filler.write_bytes(bytes(space.f_bavail * space.f_frsize - room * 1024))
    try:
        yield
    finally:
        filler.unlink()


@contextmanager
def _pages_left(store: Store, room: int) -> Iterator[None]:
    _shrink(store)
    with store.reading() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()

    def limit(connection, _: object) -> None:
        connection.execute(f"PRAGMA max_page_count = {pages + room // 4}")

    store._engine.dispose()
    event.listen(store._engine, "connect", limit)
    try:
        yield
    finally:
        event.remove(store._engine, "connect", limit)
        store._engine.dispose()


def _shrink(store: Store) -> None:
    """Give back the room of the log, which would be written again before the disk has to give more."""
    with store._engine.connect().execution_options(tallystick_reading=True) as connection:
        connection.commit()
        connection.connection.driver_connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def kept(store: Store) -> tuple[list[datetime], datetime | None]:
    with store.reading() as connection:
        assert connection.exec_driver_sql("PRAGMA integrity_check").scalar() == "ok"
        points = series.read_points(connection, "shop", HOURLY)
        return [each.point.bucket for each in points], watermarks.get(connection, "shop", HOURLY)


def attempt(store, engine, project, now: datetime) -> CollectReport | None:
    """Run a pass; None where there is no room even for its claims, which is told."""
    try:
        return collect(store, engine, project, now=now, due_only=True, clock=lambda: now)
    except StoreError as error:
        told = str(error)
    assert FULL in told and "free some space" in told
    return None


@pytest.mark.parametrize("room", ROOM)
def test_a_full_disk_is_told_and_loses_nothing(store_on_it, engine, project, room: int, tmp_path: Path) -> None:
    store, squeezed = store_on_it
    assert not collect(store, engine, project, now=NOW - timedelta(hours=20), due_only=True, clock=lambda: NOW).failed
    before = kept(store)
    with squeezed(room):
        report = attempt(store, engine, project, NOW)
        if report is not None:
            assert all(FULL in str(window.error) for window in report.failed)
        buckets, watermark = kept(store)
        # A window is there as a whole with its watermark, or not at all.
        assert watermark is not None and watermark == buckets[-1] + timedelta(hours=1)
        assert buckets[: len(before[0])] == before[0]
        neighbour = open_store(f"sqlite:///{tmp_path / 'neighbour.db'}")
        assert not collect(neighbour, engine, project, now=NOW, due_only=True, clock=lambda: NOW).failed
        neighbour.close()
    later = NOW + timedelta(hours=3)
    assert not collect(store, engine, project, now=later, due_only=True, clock=lambda: later).failed
    buckets, watermark = kept(store)
    assert watermark == later.replace(minute=0)
    assert buckets == [before[0][0] + timedelta(hours=hour) for hour in range(len(buckets))]


def test_these_rooms_are_too_small_and_large_enough(store_on_it, engine, project) -> None:
    store, squeezed = store_on_it
    collect(store, engine, project, now=NOW - timedelta(hours=20), due_only=True, clock=lambda: NOW)
    outcomes = set()
    for turn, room in enumerate(ROOM):
        now = NOW + timedelta(hours=turn * 6)
        with squeezed(room):
            report = attempt(store, engine, project, now)
        outcomes.add("none" if report is None else "some" if report.failed else "all")
        collect(store, engine, project, now=now + timedelta(hours=1), due_only=True, clock=lambda now=now: now)
    assert {"all"} < outcomes
