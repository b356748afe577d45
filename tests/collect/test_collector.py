from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from threading import Barrier

import pytest

from tallystick.collect import collector
from tallystick.collect.collector import LEASE, collect
from tallystick.collect.due import Budget, Reason
from tallystick.collect.heartbeat import Heartbeat
from tallystick.collect.read import SeriesRead
from tallystick.collect.report import CollectReport
from tallystick.compiler.series import PointState, Wanted
from tallystick.definitions.about import Status
from tallystick.definitions.collect_settings import CollectOverrides
from tallystick.definitions.per_unit import PerUnit
from tallystick.engines.duckdb import DuckDBEngine
from tallystick.errors import EngineError, StoreError, UsageError
from tallystick.sql.grain import Grain
from tallystick.store import runs, series, watermarks
from tallystick.store.run_status import RunStatus

NOW = datetime(2026, 3, 3, 12, 10, tzinfo=UTC)
HOURLY = Wanted(metric="revenue", grain=Grain.HOUR)


@pytest.fixture
def run(store, engine, project):
    def collected(now: datetime = NOW, of=project, **more) -> CollectReport:
        more.setdefault("clock", lambda: now)
        return collect(store, engine, of, now=now, **more)

    return collected


@pytest.fixture
def stored(store):
    def read(wanted: Wanted = HOURLY):
        with store.reading() as connection:
            return series.read_points(connection, "shop", wanted)

    return read


@pytest.fixture
def history(store):
    def read(**more):
        with store.reading() as connection:
            return runs.list_runs(connection, "shop", limit=1000, **more)

    return read


@pytest.fixture
def reached(store):
    def read(wanted: Wanted = HOURLY):
        with store.reading() as connection:
            return watermarks.get(connection, "shop", wanted)

    return read


def names(report: CollectReport) -> set[tuple[str, str, str, str | None]]:
    return {(w.wanted.metric, w.wanted.grain.value, w.wanted.entity, w.wanted.by) for w in report.windows}


def values(points: Sequence[series.StoredPoint]) -> list[tuple[datetime, float]]:
    return [(each.point.bucket.replace(tzinfo=None), float(each.point.value)) for each in points]


def test_first_pass_collects_every_active_series(run, stored, rows, reached) -> None:
    report = run(due_only=True)
    assert not report.failed
    assert names(report) == {
        ("revenue", "hour", "all", None),
        ("revenue", "hour", "all", "country"),
        ("revenue", "hour", "store", None),
        ("orders", "hour", "all", None),
        ("orders", "day", "all", None),
        ("order_value", "hour", "all", None),
    }
    assert values(stored()) == rows(
        "SELECT date_trunc('hour', moment), sum(amount)::DOUBLE FROM orders "
        "WHERE moment >= '2026-03-02 06:00' AND moment < '2026-03-03 12:00' GROUP BY 1 ORDER BY 1"
    )
    states = [each.state for each in stored()]
    assert states[-2:] == [PointState.SETTLING] * 2 or states[-1] is PointState.SETTLING
    assert set(states[:-2]) == {PointState.FINAL}
    assert reached() == NOW.replace(minute=0)


def test_runs_that_shared_a_query_have_its_bytes(run, history) -> None:
    run()
    found = history()
    assert len(found) > len({each.sql_hash for each in found})
    shared = {(each.key.start, each.sql_hash): set() for each in found}
    for each in found:
        shared[each.key.start, each.sql_hash].add(each.bytes)
    assert all(len(sizes) == 1 and None not in sizes for sizes in shared.values())


def test_nothing_is_due_until_a_bucket_ends_or_settles(run, stored) -> None:
    run(due_only=True)
    assert not run(due_only=True).windows
    settled = run(NOW + timedelta(minutes=25), due_only=True)
    assert {window.reason for window in settled.windows} == {Reason.SETTLED}
    assert not run(NOW + timedelta(minutes=25), due_only=True).windows
    later = run(NOW + timedelta(minutes=55), due_only=True)
    assert {window.reason for window in later.windows} == {Reason.BEHIND}
    assert [each.state for each in stored()].count(PointState.SETTLING) == 2


def test_the_same_window_twice_changes_nothing(run, stored) -> None:
    run()
    before = stored()
    again = run()
    assert not again.failed and stored() == before


def test_late_and_vanished_rows_restate_what_the_window_holds_and_leave_older_values(run, stored, engine) -> None:
    run(due_only=True)
    run(NOW + timedelta(minutes=30), due_only=True)  # ten o'clock is final now
    old = {each.point.bucket: each for each in stored()}
    engine.execute("DELETE FROM orders WHERE moment < '2026-03-03 08:00' OR moment >= '2026-03-03 11:00'")
    engine.execute("INSERT INTO orders VALUES ('2026-03-03 10:30', 1000, 's9', 'DE')")
    run(NOW + timedelta(hours=1), due_only=True)
    new = {each.point.bucket: each for each in stored()}
    eleven, ten = NOW.replace(hour=11, minute=0), NOW.replace(hour=10, minute=0)
    assert eleven not in new  # the source shrank, and this bucket was read again
    assert new[ten].point.value == old[ten].point.value + 1000 and new[ten].state is PointState.RESTATED
    assert all(new[bucket] == old[bucket] for bucket in old if bucket < NOW.replace(hour=9, minute=0))


def test_no_rows_advance_the_watermark(run, stored, engine, reached, history) -> None:
    engine.execute("DELETE FROM orders")
    assert not run(due_only=True).failed
    assert not stored() and reached() == NOW.replace(minute=0)
    assert {found.rows for found in history()} == {0}


def test_a_failure_is_told_rests_and_leaves_others_alone(run, project, history, engine, stored) -> None:
    broken = replace(
        project.metrics["orders"], definition=replace(project.metrics["orders"].definition, expr="sum(gone)")
    )
    of = replace(project, metrics={**project.metrics, "orders": broken})
    report = run(of=of, due_only=True)
    assert {window.wanted.metric for window in report.failed} == {"orders", "order_value"}
    assert all("gone" in str(window.error) for window in report.failed)
    assert len(stored()) == 30
    assert {found.key.metric for found in history(status=RunStatus.ERROR)} == {"orders", "order_value"}
    assert {found.bytes is None for found in history(status=RunStatus.ERROR)} == {True}
    assert not run(of=of, due_only=True).windows
    assert {w.wanted.metric for w in run(NOW + timedelta(hours=1), due_only=True).windows} >= {"orders", "revenue"}


def test_a_truncated_answer_fails_without_deleting(run, project, stored) -> None:
    run()
    before = stored()
    small = replace(project.settings, collect=replace(project.settings.collect, max_rows=3))
    report = run(of=replace(project, settings=small), select=["revenue"])
    assert len(report.failed) == len(report.windows)
    assert "more than 3 rows" in str(report.failed[0].error)
    assert stored() == before


def test_a_column_that_changes_its_type_or_disappears(run, engine, stored) -> None:
    run()
    before = stored()
    engine.execute("ALTER TABLE orders ALTER amount TYPE VARCHAR")
    engine.execute("ALTER TABLE orders DROP country")
    report = run(NOW + timedelta(hours=1), due_only=True)
    assert {w.wanted.metric for w in report.failed} == {"revenue", "order_value"}
    assert {w.wanted.metric for w in report.windows if not w.error} == {"orders"}
    assert stored() == before


def test_a_query_that_never_ends(run, project, engine, history) -> None:
    # A billion pairs; the limit is set below what any settings file can say to keep the test short.
    endless = replace(project.sources["orders"], table=None, sql="SELECT o.* FROM orders o, range(1000000000) r")
    quick = replace(project.settings.collect, timeout=0.05)
    of = replace(
        project,
        sources={"orders": endless},
        settings=replace(project.settings, collect=quick),
        metrics={"orders": project.metrics["orders"]},
    )
    report = run(of=of, due_only=True)
    assert report.failed and all("longer than" in str(window.error) for window in report.failed)
    assert history()[0].status is RunStatus.ERROR


def test_a_warehouse_that_is_down_and_a_driver_that_repeats_a_password(run, engine, monkeypatch, history) -> None:
    def refuse(*_: object) -> None:
        raise EngineError("cannot reach postgres://me:hunter2@db/x password=hunter2")

    monkeypatch.setattr(engine, "run", refuse, raising=False)
    report = run(due_only=True)
    assert len(report.failed) == len(report.windows) == 6
    assert not any("hunter2" in str(window.error) for window in report.windows)
    assert not any("hunter2" in str(found.error) for found in history())


def test_an_error_nobody_foresaw_stays_with_its_series(run, monkeypatch, stored) -> None:
    def explode(*_: object, **__: object) -> SeriesRead:
        raise ZeroDivisionError("hunter2")

    monkeypatch.setattr(collector, "read_series", explode)
    report = run(select=["revenue", "orders"])
    assert not report.failed and stored()
    monkeypatch.setattr(collector, "read_one", explode)
    report = run()
    assert {window.error for window in report.windows} == {"internal error (ZeroDivisionError)"}


def test_a_store_that_is_full_keeps_what_was_there(run, stored, monkeypatch, reached) -> None:
    run(due_only=True)
    before, watermark = stored(), reached()
    later = NOW + timedelta(hours=1)

    def full(*_: object, **__: object) -> None:
        raise StoreError("the disk below the store is full")

    with monkeypatch.context() as patch:
        for name in ("advance", "advance_all"):
            patch.setattr(watermarks, name, full)
        report = run(later, due_only=True)
    assert len(report.failed) == len(report.windows) and "full" in str(report.failed[0].error)
    assert (stored(), reached()) == (before, watermark)
    assert not run(later + timedelta(days=1), due_only=True).failed
    assert reached() > watermark


def test_a_clock_that_goes_back_moves_nothing(run, stored, reached, history) -> None:
    run(due_only=True)
    before, watermark = stored(), reached()
    report = run(NOW - timedelta(days=3), due_only=True)
    assert report.failed and all("the clock went back" in str(window.error) for window in report.failed)
    assert (stored(), reached()) == (before, watermark)
    assert "the clock went back" in str(history()[0].error)


def test_a_named_window_reads_the_past_again_without_moving_the_watermark(run, stored, reached) -> None:
    run(due_only=True)
    watermark = reached()
    report = run(select=["revenue"], window=(datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 3, 1, 5, tzinfo=UTC)))
    assert not report.failed and reached() == watermark
    assert stored()[0].point.bucket == datetime(2026, 3, 1, tzinfo=UTC)


def test_a_draft_is_collected_when_it_is_named(run) -> None:
    assert {window.wanted.metric for window in run(select=["idea"]).windows} == {"idea"}


def test_what_the_budget_does_not_allow_stays_due(run) -> None:
    first = run(due_only=True, budget=Budget(queries=1))
    assert first.left and len(first.windows) < 9
    passes = 0
    while run(due_only=True, budget=Budget(queries=1)).windows:
        passes += 1
    assert 1 < passes < 9 and not run(due_only=True).windows


def test_a_changed_definition_is_built_beside_the_old_and_swapped(run, project, stored) -> None:
    run(due_only=True)
    before = stored()
    doubled = replace(
        project.metrics["revenue"], definition=replace(project.metrics["revenue"].definition, expr="sum(2 * amount)")
    )
    of = replace(project, metrics={**project.metrics, "revenue": doubled})
    # A budget of one query fills a part of the new generation; the live one stays as it was until all is there.
    run(of=of, due_only=True, budget=Budget(queries=1))
    assert stored() == before
    report = run(of=of, due_only=True)
    assert Reason.CHANGED in {window.reason for window in report.windows} and not report.failed
    assert [(b, v * 2) for b, v in values(before)] == values(stored())
    assert not run(of=of, due_only=True).windows


def test_a_lost_run_is_taken_over_when_its_lease_has_ended(run, store, reached, history) -> None:
    end = NOW.replace(minute=0)
    key = runs.key_of("shop", HOURLY, end - timedelta(hours=30), end - timedelta(hours=20))
    with store.transaction() as connection:
        runs.claim(connection, key, "dead", NOW, timedelta(minutes=15))
    report = run(due_only=True)
    assert report.busy == ("revenue/hour/all",) and reached() is None
    run(NOW + timedelta(minutes=16), due_only=True)
    assert reached() == end
    assert history(status=RunStatus.LOST)[0].worker == "dead"


def test_two_collectors_at_once_do_each_window_once(store, project, engine, folder, history) -> None:
    barrier = Barrier(2)

    def work(mine: DuckDBEngine) -> CollectReport:
        barrier.wait()
        return collect(store, mine, project, now=NOW, due_only=True, clock=lambda: NOW)

    twin = DuckDBEngine(folder / "twin.duckdb")
    with ThreadPoolExecutor(2) as pool:
        reports = list(pool.map(work, (engine, twin)))
    twin.close()
    while (more := collect(store, engine, project, now=NOW, due_only=True, clock=lambda: NOW)).windows:
        reports.append(more)
    assert not [window for report in reports for window in report.failed]
    done = [(found.key.subject, found.key.start, found.key.end) for found in history()]
    assert len(done) == len(set(done)) and len({subject for subject, _, _ in done}) == 6


def test_a_run_longer_than_its_lease_stays_its_own_while_its_process_lives(
    run, store, project, engine, monkeypatch, history, stored
) -> None:
    read, hearts = collector.read_series, []
    moment = [NOW]

    class Beating(Heartbeat):
        def __init__(self, *arguments, **more) -> None:
            super().__init__(*arguments, **more)
            hearts.append(self)

    def slow(*arguments, **more):
        for _ in range(5):
            moment[0] += LEASE * 0.8
            hearts[0].beat()
        with store.transaction() as connection:
            assert runs.reclaim_stale(connection, "shop", moment[0]) == ()
        return read(*arguments, **more)

    monkeypatch.setattr(collector, "Heartbeat", Beating)
    monkeypatch.setattr(collector, "read_series", slow)
    assert not run(select=["orders"], clock=lambda: moment[0]).failed
    assert {found.status for found in history()} == {RunStatus.SUCCESS}
    assert stored(Wanted(metric="orders", grain=Grain.HOUR))


def with_collect(project, metric: str, **settings):
    changed = replace(project.metrics[metric], collect=CollectOverrides(**settings))
    return replace(project, metrics={**project.metrics, metric: changed})


def test_a_metric_has_a_lookback_of_its_own(run, project) -> None:
    of = with_collect(project, "orders", lookback=7)
    run(of=of, due_only=True)
    report = run(NOW + timedelta(hours=1), of=of, due_only=True)
    starts = {window.wanted.metric: window.start for window in report.windows if window.wanted.grain is Grain.HOUR}
    end = NOW.replace(minute=0)
    assert starts == {
        "orders": end - timedelta(hours=7),
        "revenue": end - timedelta(hours=2),
        "order_value": end - timedelta(hours=2),
    }


def test_a_metric_is_cut_as_it_says(run, project) -> None:
    report = run(of=with_collect(project, "orders", chunk=15), due_only=True)
    hourly = [w for w in report.windows if w.wanted.grain is Grain.HOUR and w.wanted.by is None]
    assert [w.end - w.start for w in hourly if w.wanted.metric == "orders"] == [timedelta(hours=15)] * 2
    assert [w.end - w.start for w in hourly if w.wanted.metric == "order_value"] == [timedelta(hours=10)] * 3


def test_values_of_a_dimension_are_limited_and_the_run_says_so(run, project, stored, history, engine) -> None:
    engine.execute("UPDATE orders SET country = 'C' || (amount % 5) WHERE country = 'FR'")
    everything = Wanted(metric="revenue", grain=Grain.HOUR, by="country")
    run(due_only=True)
    assert len({each.point.dimension_value for each in stored(everything)}) == 6
    assert {found.note for found in history()} == {None}
    report = run(of=with_collect(project, "revenue", values_limit=3), due_only=True)
    (window,) = [w for w in report.windows if w.wanted.by]
    assert window.reason is Reason.CHANGED and window.end - window.start == timedelta(hours=30)  # one window, no chunks
    assert window.note == "2 values of country by rows, all others in one (values_limit = 3)"
    assert [found.note for found in history() if found.note] == [window.note]
    kept = {each.point.dimension_value for each in stored(everything) if not each.point.is_other}
    assert len(kept) == 2 and "DE" in kept
    by_hour: dict[datetime, float] = {}
    for each in stored(everything):
        by_hour[each.point.bucket] = by_hour.get(each.point.bucket, 0) + float(each.point.value)
    assert by_hour == {each.point.bucket: float(each.point.value) for each in stored()}


def test_deprecated_metrics_are_collected_archived_ones_are_not(run, project) -> None:
    def having(status: Status):
        changed = replace(project.metrics["orders"], about=replace(project.metrics["orders"].about, status=status))
        return replace(project, metrics={**project.metrics, "orders": changed})

    report = run(of=having(Status.DEPRECATED), due_only=True)
    assert report.deprecated == ("orders",) and "orders" in {window.wanted.metric for window in report.windows}
    report = run(NOW + timedelta(hours=1), of=having(Status.ARCHIVED), due_only=True)
    assert report.windows and "orders" not in {window.wanted.metric for window in report.windows}


def test_metrics_without_any_row_where_it_was_looked_first_are_told(run, engine) -> None:
    assert run(due_only=True).empty == ()
    engine.execute("DELETE FROM orders")
    assert run(NOW + timedelta(hours=1), due_only=True).empty == ()  # a quiet hour is no surprise
    assert set(run(NOW + timedelta(days=99)).empty) == {"revenue", "orders", "order_value"}


def test_rows_that_come_later_than_the_lookback_are_found_once_a_week(run, project, stored, engine) -> None:
    of = with_collect(project, "revenue", sweep=200)
    run(of=of, due_only=True)
    day = timedelta(days=1)
    run(NOW + day, of=of, due_only=True)
    late = stored()[0]
    engine.execute(f"INSERT INTO orders VALUES ('{late.point.bucket:%Y-%m-%d %H:%M}', 500, 's0', 'DE')")
    run(NOW + 6 * day, of=of, due_only=True)
    assert stored()[0] == late
    report = run(NOW + 7 * day, of=of, due_only=True)
    swept = [window for window in report.windows if window.reason is Reason.SWEEP]
    assert {window.wanted.metric for window in swept} == {"revenue"} and not report.failed
    found = next(each for each in stored() if each.point.bucket == late.point.bucket)
    assert found.point.value == late.point.value + 500 and found.state is PointState.RESTATED
    again = run(NOW + 8 * day, of=of, due_only=True)
    assert again.windows and Reason.SWEEP not in {window.reason for window in again.windows}


def test_a_sweep_that_fails_is_tried_again(run, project, engine) -> None:
    of = with_collect(project, "revenue", sweep=200)
    run(of=of, due_only=True)
    later = NOW + timedelta(days=7)
    engine.execute("ALTER TABLE orders RENAME TO gone")
    assert run(later, of=of, due_only=True).failed
    engine.execute("ALTER TABLE gone RENAME TO orders")
    report = run(later + timedelta(hours=2), of=of, due_only=True)
    assert Reason.SWEEP in {window.reason for window in report.windows} and not report.failed


def test_a_metric_without_a_calendar_grain_cannot_be_asked_for(run, project) -> None:
    bare = replace(project.metrics["idea"], views=replace(project.metrics["idea"].views, grains=(), all_time=True))
    of = replace(project, metrics={**project.metrics, "idea": bare})
    with pytest.raises(UsageError, match="metric 'idea' has no calendar grain"):
        run(of=of, select=["idea"])
    assert not run(of=of).failed


def with_fresh(project, **changes):
    return replace(project, sources={"orders": replace(project.sources["orders"], **changes)})


def test_what_follows_the_latest_row_of_a_late_source_waits(run, project, engine, stored, reached) -> None:
    of = with_fresh(project, fresh_seconds=3600)
    nine = NOW.replace(hour=9, minute=0)
    engine.execute("CREATE TABLE late AS SELECT * FROM orders WHERE moment >= '2026-03-03 09:30'")
    engine.execute("DELETE FROM orders WHERE moment >= '2026-03-03 09:30'")
    report = run(of=of, due_only=True)
    assert not report.failed and reached() == nine
    assert report.late["orders"] == nine + timedelta(minutes=24)
    assert max(window.end for window in report.windows if window.wanted.grain is Grain.HOUR) == nine
    again = run(NOW + timedelta(hours=1), of=of, due_only=True)
    assert again.late and not again.windows and reached() == nine  # and the clock did not go back
    engine.execute("INSERT INTO orders SELECT * FROM late")
    last = run(NOW + timedelta(hours=2), of=of, due_only=True)
    assert not last.late and not last.failed and reached() == nine + timedelta(hours=5)
    hours = [each.point.bucket for each in stored()]
    assert hours == [hours[0] + timedelta(hours=number) for number in range(len(hours))]


def test_a_fresh_source_a_quiet_one_and_one_that_is_asked_for_wait_for_nothing(run, project, engine, reached) -> None:
    assert not run(of=with_fresh(project, fresh_seconds=3600), due_only=True).late
    assert reached() == NOW.replace(minute=0)
    engine.execute("DELETE FROM orders WHERE moment >= '2026-03-03 09:30'")
    later = NOW + timedelta(hours=1)
    assert not run(later, of=project, due_only=True).late
    assert reached() == later.replace(minute=0)
    latest = later + timedelta(hours=1)
    assert not run(latest, of=with_fresh(project, fresh_seconds=3600), select=["revenue"]).late
    assert reached() == latest.replace(minute=0)


def test_days_of_a_late_source_are_whole(run, project, engine, reached) -> None:
    engine.execute("CREATE TABLE days AS SELECT moment::DATE AS day, amount, store, country FROM orders")
    of = with_fresh(project, table="days", time="day", time_is_date=True, fresh_seconds=86400)
    daily = Wanted(metric="orders", grain=Grain.DAY)
    report = run(datetime(2026, 3, 7, 12, tzinfo=UTC), of=of, due_only=True, select=["orders"])
    assert report.late["orders"] == reached(daily) == datetime(2026, 3, 4, tzinfo=UTC)


def test_an_empty_source_is_not_late_and_a_missing_one_fails_where_it_is_read(run, project, engine) -> None:
    of = with_fresh(project, fresh_seconds=3600)
    engine.execute("DELETE FROM orders")
    report = run(of=of, due_only=True)
    assert not report.late and not report.failed and report.windows
    engine.execute("DROP TABLE orders")
    assert run(NOW + timedelta(hours=3), of=of, due_only=True).failed


def test_a_limit_of_the_project_is_left_where_it_cannot_be_kept(run, project) -> None:
    settings = replace(project.settings, collect=replace(project.settings.collect, values_limit=2))
    revenue = project.metrics["revenue"]
    spread = replace(
        revenue,
        name="spread",
        views=replace(revenue.views, entities=()),
        definition=replace(revenue.definition, per_unit=PerUnit(entity="store", cap=5.0)),
    )
    of = replace(project, settings=settings, metrics={"revenue": revenue, "spread": spread})
    report = run(of=of, due_only=True)
    assert not report.failed
    notes = {window.wanted.metric: window.note for window in report.windows if window.wanted.by}
    assert notes == {"revenue": "1 value of country by rows, all others in one (values_limit = 2)", "spread": None}
    own = replace(spread, collect=CollectOverrides(values_limit=2))
    report = run(NOW + timedelta(hours=1), of=replace(of, metrics={"spread": own}), due_only=True)
    assert ["values per unit" in str(window.error) for window in report.failed] == [True]  # what it asks for itself
