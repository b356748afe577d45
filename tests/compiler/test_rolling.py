"""Many days of a rolling window in one query are the days one by one (spec oso §7.2, §13.5)."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from oso_world import connect, context, events, project, sql_metric, text
from tallystick.compiler.model import Model, TimeView
from tallystick.errors import CompileError, TooManyDaysError
from tallystick.sql.grain import Window, WindowUnit

HEAD = "@metrics_sample_date(e.bucket_day) as metrics_sample_date, e.event_source, e.to_artifact_id, '' as from_artifact_id"
WHERE = "from oso.events_daily e where e.bucket_day between @metrics_start('DATE') and @metrics_end('DATE')"
PLAIN = f"select {HEAD}, @metric_name() as metric, count(distinct e.from_artifact_id) as amount {WHERE} group by 1, 2, 3, 4, 5"
SHAPES = {
    "grouped": PLAIN,
    "union": f"{PLAIN} union all {PLAIN.replace('@metric_name()', '@metric_name(e.event_type)')}",
    "cte": f"with rows as ({PLAIN}) select * from rows where amount > 0",
    "windowed": f"select {HEAD}, @metric_name() as metric, sum(e.amount) over (partition by e.to_artifact_id) as amount {WHERE}",
    "constant": f"select @metrics_end('DATE') as metrics_sample_date, e.event_source, e.to_artifact_id, '' as from_artifact_id, @metric_name() as metric, sum(e.amount) as amount {WHERE} group by 2, 3",
    "full join": f"with a as ({PLAIN}), b as ({PLAIN.replace('.to_artifact_id, ', '.to_artifact_id, 1 as one, ')}) select a.metrics_sample_date, a.event_source, a.to_artifact_id, '' as from_artifact_id, a.metric, count(*) as amount from a full join b on a.to_artifact_id = b.to_artifact_id where a.amount > 0 group by 1, 2, 3, 4, 5",
    "semi join": f"with a as ({PLAIN}) select a.* from a semi join a as b on a.amount < b.amount",
    "length": PLAIN.replace("count(", "100 / @metrics_sample_interval_length(e.bucket_day, 'day') + count("),
}
CON = connect(events(seed=3, count=120))
WINDOWS = st.builds(Window, st.integers(1, 40)) | st.builds(Window, st.integers(1, 3), st.sampled_from(WindowUnit))


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@pytest.mark.parametrize("shape", SHAPES)
@given(window=WINDOWS, first=st.dates(date(2023, 12, 20), date(2024, 3, 1)), days=st.integers(2, 5))
def test_many_days_at_once_are_the_days_one_by_one(shape, window, first, days):
    metric = sql_metric(SHAPES[shape])
    model, around = Model("m", "project", TimeView(window=window)), context(project(m=metric))

    def rows(start, end):
        return CON.execute(text(metric, model, around, start=start, end=end)).fetchall()

    one_by_one = [row for n in range(days) for row in rows(first + timedelta(days=n), first + timedelta(days=n + 1))]
    assert sorted(rows(first, first + timedelta(days=days))) == sorted(one_by_one)


def shape(sql, dialect="duckdb", compat=None, days=30):
    metric = sql_metric(sql)
    model, around = Model("m", "artifact", TimeView(window=Window(7))), context(project(compat, m=metric), dialect)
    return text(metric, model, around, start=date(2024, 1, 1), end=date(2024, 1, 1) + timedelta(days=days))


def test_a_grouped_query_joins_a_spine_and_others_are_lateral():
    assert "LATERAL" not in shape(SHAPES["grouped"]) and "CROSS JOIN" in shape(SHAPES["grouped"])
    assert "LATERAL" in shape(SHAPES["windowed"])


def test_without_lateral_joins_days_are_written_out_up_to_a_limit():
    assert shape(SHAPES["windowed"], "bigquery", days=3).count("UNION ALL") == 2
    assert shape(SHAPES["grouped"], compat="oso", days=3).count("UNION ALL") == 2
    with pytest.raises(CompileError, match="cannot be rolled over 63 days"):
        shape(SHAPES["windowed"], "bigquery", days=63)


def test_joins_that_lateral_ones_do_not_take_are_written_out():
    assert shape(SHAPES["full join"], days=3).count("UNION ALL") == 2
    assert shape(SHAPES["full join"], "postgres", days=3).count("UNION ALL") == 0
    with pytest.raises(TooManyDaysError) as caught:
        shape(SHAPES["full join"], days=63)
    assert caught.value.days == 62 and "at most 62 days" in caught.value.hint


def test_a_definition_without_macros_of_the_run_is_read_once():
    query = shape(
        "select * from @metrics_peer_ref(m, window := @rolling_window, unit := @rolling_unit)".replace(
            "@metrics_peer_ref(m, window := @rolling_window, unit := @rolling_unit)", "oso.some_table"
        )
    )
    assert "model.metrics_sample_date < CAST('2024-01-31' AS DATE)" in query


@pytest.mark.parametrize("dates", [{}, {"start": date(2024, 1, 2), "end": date(2024, 1, 2)}])
def test_a_window_needs_a_day_to_end_on(dates):
    metric = sql_metric(PLAIN)
    with pytest.raises(CompileError, match="day"):
        text(metric, Model("m", "artifact", TimeView(window=Window(7))), context(project(m=metric)), **dates)


@pytest.mark.parametrize(
    ("cron", "ticks"),
    [
        ("@daily", [date(2024, 1, n) for n in range(1, 9)]),
        ("@weekly", [date(2024, 1, 7)]),
        ("@monthly", [date(2024, 1, 1)]),
        ("@yearly", [date(2024, 1, 1)]),
    ],
)
def test_osos_profile_samples_the_ticks_of_the_cron(cron, ticks):
    metric = sql_metric(PLAIN, cron=cron)
    model, dates = (
        Model("m", "artifact", TimeView(window=Window(400))),
        {"start": date(2024, 1, 1), "end": date(2024, 1, 9)},
    )

    def days(compat):
        query = text(metric, model, context(project(compat, m=metric)), **dates)
        return [
            row[0] for row in CON.execute(f"SELECT DISTINCT metrics_sample_date FROM ({query}) ORDER BY 1").fetchall()
        ]

    assert days("oso") == ticks
    assert days(None) == [date(2024, 1, n) for n in range(1, 9)]


def test_without_a_tick_osos_profile_has_no_rows():
    metric = sql_metric(PLAIN, cron="@yearly")
    around = context(project("oso", m=metric))
    query = text(
        metric, Model("m", "artifact", TimeView(window=Window(7))), around, start=date(2024, 2, 1), end=date(2024, 2, 9)
    )
    assert CON.execute(query).fetchall() == []
