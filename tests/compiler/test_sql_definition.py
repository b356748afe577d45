"""The two stages of an SQL definition, and every defect of OSO's: right by default, repeated on request (spec oso §5, §9)."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest

from oso_world import connect, context, project, sql_metric, text
from tallystick.compiler.model import Model, TimeView
from tallystick.compiler.sql_definition import Stage, compile_definition, peer_models, unused_variables
from tallystick.definitions.about import About
from tallystick.definitions.metric import Aggregate, Metric, Views
from tallystick.definitions.origin import Origin
from tallystick.definitions.project import Project, Settings
from tallystick.errors import CompileError, ExpressionError, Location, MacroError
from tallystick.sql.grain import Grain, Window, WindowUnit

DIALECTS = ["duckdb", "trino", "postgres", "bigquery", "snowflake", "spark", "clickhouse"]
MONTH, WEEK, DAY = (TimeView(grain=g) for g in (Grain.MONTH, Grain.WEEK, Grain.DAY))
SIMPLE = """
select @metrics_sample_date(e.bucket_day) as metrics_sample_date, e.event_source, e.to_artifact_id,
  '' as from_artifact_id, @metric_name() as metric, sum(e.amount) as amount
from oso.events_daily e
where e.bucket_day between @metrics_start('DATE') and @metrics_end('DATE')
group by 1, 2, 3, 4, 5
"""
TIMED = """
select @metrics_sample_date(time) as metrics_sample_date, event_source, to_artifact_id,
  '' as from_artifact_id, @metric_name() as metric, count(*) as amount
from oso.events_timed where time between @metrics_start('{kind}') and @metrics_end('{kind}')
group by 1, 2, 3
"""


def day(month: int, of_month: int, artifact: str = "a1") -> tuple[date, str, str, str, str, int]:
    return date(2024, month, of_month), "STARRED", "GITHUB", artifact, "u1", 1


def run(rows, sql, time, entity="artifact", *, compat=None, timed=(), settings=None, **dates):
    """Return sample date, entity and amount of a definition run over events, in order."""
    metric = sql_metric(sql)
    world = (
        project(compat, m=metric) if settings is None else Project(root=".", settings=settings, metrics={"m": metric})
    )
    query = text(metric, Model("m", entity, time), context(world), **dates)
    found = connect(rows, timed).execute(
        f"SELECT metrics_sample_date, to_{entity}_id, amount FROM ({query}) ORDER BY ALL"
    )
    return found.fetchall()


def test_the_intermediate_stage_keeps_the_macros_of_a_run_and_fills_in_the_rest():
    query = text(
        sql_metric(SIMPLE), Model("m", "project", MONTH), context(project(m=sql_metric(SIMPLE))), stage="intermediate"
    )
    assert "@metrics_start('DATE')" in query and "@metrics_end('DATE')" in query
    assert "@metrics_sample_date(e.bucket_day)" in query
    assert "'m_monthly' AS metric" in query and "to_project_id" in query
    assert "@metric_name" not in query and "{" not in query


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("time", [MONTH, TimeView(window=Window(30)), TimeView()], ids=lambda t: t.suffix)
def test_the_full_stage_leaves_no_macro_on_any_dialect(dialect, time):
    metric = sql_metric(SIMPLE)
    query = text(
        metric,
        Model("m", "collection", time),
        context(project(m=metric), dialect),
        start=date(2024, 1, 5),
        end=date(2024, 1, 9),
    )
    assert "@" not in query


def test_a_template_is_not_changed_by_compiling_it():
    metric = sql_metric(SIMPLE)
    around = context(project(m=metric))
    first = [text(metric, Model("m", e, MONTH), around, stage="intermediate") for e in ("artifact", "collection")]
    text(metric, Model("m", "project", MONTH), around, start=date(2024, 1, 1), end=date(2024, 2, 1))
    again = [text(metric, Model("m", e, MONTH), around, stage="intermediate") for e in ("artifact", "collection")]
    assert first == again


def test_weeks_include_their_sunday():
    rows = [day(1, n) for n in range(1, 22)]
    for start in (date(2024, 1, 8), date(2024, 1, 11), date(2024, 1, 14)):
        weeks = run(rows, SIMPLE, WEEK, start=start, end=date(2024, 1, 15))
        assert weeks == [(date(2024, 1, 8), "a1", 7)]


def test_weeks_can_start_on_sunday():
    settings = Settings(week_start=7)
    weeks = run(
        [day(1, n) for n in range(1, 22)], SIMPLE, WEEK, settings=settings, start=date(2024, 1, 8), end=date(2024, 1, 9)
    )
    assert weeks == [(date(2024, 1, 7), "a1", 7)]


def test_the_first_day_of_the_next_bucket_is_not_read():
    rows = [day(1, 31), day(2, 1)]
    assert run(rows, SIMPLE, MONTH, start=date(2024, 1, 1), end=date(2024, 2, 1)) == [(date(2024, 1, 1), "a1", 1)]
    oso = run(rows, SIMPLE, MONTH, compat="oso", start=date(2024, 1, 1), end=date(2024, 2, 1))
    assert oso == [(date(2024, 1, 1), "a1", 1), (date(2024, 2, 1), "a1", 1)]


def test_a_part_of_a_bucket_computes_the_whole_bucket():
    rows = [day(1, 1), day(1, 20), day(2, 3)]
    found = run(rows, SIMPLE, TimeView(grain=Grain.QUARTER), start=date(2024, 1, 15), end=date(2024, 1, 16))
    assert found == [(date(2024, 1, 1), "a1", 3)]


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("grain", [Grain.QUARTER, Grain.HALF])
def test_quarters_and_half_years_are_not_months(dialect, grain):
    metric = sql_metric(SIMPLE)
    model = Model("m", "artifact", TimeView(grain=grain))
    dates = {"start": date(2024, 1, 1), "end": date(2024, 2, 1)}
    by_month = text(metric, Model("m", "artifact", MONTH), context(project(m=metric), dialect), **dates)
    right = text(metric, model, context(project(m=metric), dialect), **dates)
    oso = text(metric, model, context(project("oso", m=metric), dialect), **dates)
    bucket_of = [query.partition(" AS metrics_sample_date")[0] for query in (by_month, right, oso)]
    assert bucket_of[1] != bucket_of[0]
    assert (bucket_of[2] == bucket_of[0]) == (dialect != "duckdb")


def test_a_window_of_a_month_is_a_month():
    rows = [day(1, 15), day(1, 16), day(2, 15)]
    time = TimeView(window=Window(1, WindowUnit.MONTH))
    dates = {"start": date(2024, 2, 15), "end": date(2024, 2, 16)}
    assert run(rows, SIMPLE, time, **dates) == [(date(2024, 2, 15), "a1", 2)]
    assert run(rows, SIMPLE, time, compat="oso", **dates) == [(date(2024, 2, 15), "a1", 1)]


@pytest.mark.parametrize("kind", ["DATE", "TIMESTAMP"])
@pytest.mark.parametrize("time", [MONTH, TimeView(window=Window(2))], ids=lambda t: t.suffix)
def test_the_last_day_of_instants_is_whole(kind, time):
    timed = [(datetime(2024, 1, 31, 23, 59, 59, 999999), "GITHUB", "a1"), (datetime(2024, 2, 1), "GITHUB", "a1")]
    found = run([], TIMED.format(kind=kind), time, timed=timed, start=date(2024, 1, 31), end=date(2024, 2, 1))
    assert [amount for *_, amount in found] == [1]


def test_oso_loses_the_last_day_of_instants():
    timed = [(datetime(2024, 1, 31, 12), "GITHUB", "a1")]
    time, dates = TimeView(window=Window(2)), {"start": date(2024, 1, 31), "end": date(2024, 2, 1)}
    assert run([], TIMED.format(kind="TIMESTAMP"), time, timed=timed, compat="oso", **dates) == []


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("time >= @metrics_start('DATE') and time <= @metrics_end('DATE')", 2),
        ("time >= @metrics_start('DATE') and time < @metrics_end('DATE')", 2),
        ("@metrics_start('DATE') <= time and @metrics_end('DATE') >= time", 2),
        ("@metrics_end('DATE') > time", 2),
        ("time between @metrics_start('DATE') and cast(@metrics_end('TIMESTAMP') as timestamp)", 2),
        ("not time between @metrics_start('DATE') and @metrics_end('DATE')", 2),
        ("cast(time as date) = @metrics_end('DATE')", 1),
        ("time between @metrics_end('DATE') and @metrics_end('TIMESTAMP')", 1),
        ("cast(time as date) = cast(@start_ds as date) or cast(time as date) = cast(@end_ds as date)", 2),
    ],
)
def test_every_way_to_write_the_range_covers_the_same_days(condition, expected):
    timed = [(datetime(2024, 1, d, 12), "GITHUB", "a1") for d in (9, 10, 11, 12)]
    sql = TIMED.replace("time between @metrics_start('{kind}') and @metrics_end('{kind}')", condition)
    found = run([], sql, DAY, timed=timed, start=date(2024, 1, 10), end=date(2024, 1, 12))
    assert sum(amount for *_, amount in found) == expected


LENGTH = SIMPLE.replace("sum(e.amount)", "sum(e.amount) / @metrics_sample_interval_length(e.bucket_day, '{unit}')")


@pytest.mark.parametrize(
    ("time", "unit", "length"),
    [
        (DAY, "day", 1), (WEEK, "day", 7), (MONTH, "day", 29), (TimeView(grain=Grain.QUARTER), "day", 91),
        (TimeView(grain=Grain.HALF), "day", 182), (TimeView(grain=Grain.YEAR), "day", 366),
        (TimeView(grain=Grain.YEAR), "month", 12), (MONTH, "year", 1), (TimeView(window=Window(30)), "day", 30),
        (TimeView(window=Window(1, WindowUnit.MONTH)), "day", 31),
    ],
)  # fmt: skip
def test_an_interval_is_as_long_as_the_calendar_has_it(time, unit, length):
    # Rolling windows end with each day of the range; a grain is asked for up to a day on which all of them end.
    end = (
        date(2024, 2, 6)
        if time.grain is None
        else date(2025, 1, 1)
        if time.grain is not Grain.WEEK
        else date(2024, 2, 12)
    )
    found = run([day(2, 5)], LENGTH.format(unit=unit), time, start=date(2024, 2, 5), end=end)
    assert found[0][2] == pytest.approx(1 / length)


@pytest.mark.parametrize(
    ("time", "unit", "length", "oso"),
    [
        (WEEK, "day", 2, 7), (MONTH, "day", 6, 29), (TimeView(grain=Grain.QUARTER), "day", 37, 91),
        (TimeView(grain=Grain.YEAR), "day", 37, 366), (TimeView(grain=Grain.YEAR), "month", 1, 12),
    ],
)  # fmt: skip
def test_a_bucket_cut_by_the_end_is_as_long_as_what_it_covers(time, unit, length, oso):
    """The interval asked for ends with 6 February 2024, a Tuesday (spec oso §9.12); OSO takes the whole bucket."""
    dates = {"start": date(2024, 2, 5), "end": date(2024, 2, 7)}
    found = run([day(2, 5)], LENGTH.format(unit=unit), time, **dates)
    assert found[0][2] == pytest.approx(1 / length)
    found = run([day(2, 5)], LENGTH.format(unit=unit), time, compat="oso", **dates)
    assert found[0][2] == pytest.approx(1 / oso)


def test_all_time_is_as_long_as_the_history_it_covers_and_never_0():
    dates = {"as_of": date(2024, 1, 20)}
    begun = Settings(start=datetime(2024, 1, 1, tzinfo=UTC))
    rows, sql = [day(1, 11), day(1, 12)], LENGTH.format(unit="day")
    assert run(rows, sql, TimeView(), settings=begun, **dates) == [(date(2024, 1, 20), "a1", 2 / 20)]
    # Where the project names no start, history begins with the first row of the group.
    assert run(rows, sql, TimeView(), **dates) == [(date(2024, 1, 20), "a1", 2 / 10)]
    oso = run(rows, sql, TimeView(), compat="oso", **dates)
    assert oso[0][2] in (None, float("inf"))


def test_all_time_ends_with_the_day_it_is_asked_for():
    found = run([day(1, 11), day(1, 20), day(1, 21)], SIMPLE, TimeView(), as_of=date(2024, 1, 20))
    assert found == [(date(2024, 1, 20), "a1", 2)]


def test_the_short_form_of_the_interval_length_borrows_the_sampled_column():
    sql = SIMPLE.replace("sum(e.amount)", "sum(e.amount) / @metrics_sample_interval_length('day')")
    assert run([day(2, 5)], sql, MONTH, start=date(2024, 2, 1), end=date(2024, 3, 1))[0][2] == pytest.approx(1 / 29)
    with pytest.raises(MacroError, match="needs the date column"):
        run([], "select @metrics_sample_interval_length('day') as amount from oso.events_daily", MONTH)


def test_arithmetic_beside_a_macro_keeps_its_order():
    sql = SIMPLE.replace("sum(e.amount)", "100 - @metrics_sample_interval_length(e.bucket_day, 'day') * 2")
    assert run([day(2, 5)], sql, MONTH, start=date(2024, 2, 1), end=date(2024, 3, 1))[0][2] == 42


def test_functions_of_the_authors_dialect_survive_in_another():
    sql = "select date_diff('day', e.bucket_day, @metrics_end('DATE')) as d from oso.events_daily e"
    metric = sql_metric(sql)
    query = text(
        metric,
        Model("m", "artifact", DAY),
        context(project(m=metric), "trino"),
        start=date(2024, 1, 1),
        end=date(2024, 1, 2),
    )
    assert "DATE_DIFF( 'DAY', DATE_TRUNC('DAY', e.bucket_day), DATE_TRUNC(" in " ".join(query.split())


def test_a_quarter_read_only_from_peers_has_rows_of_the_run_only():
    peer = sql_metric(SIMPLE, "peer", views=Views(entities=("artifact",), grains=(Grain.MONTH,)))
    reader = sql_metric("select * from @metrics_peer_ref(peer, time_aggregation := @time_aggregation)", "reader")
    world = project(peer=peer, reader=reader)
    query = text(
        reader, Model("reader", "artifact", MONTH), context(world), start=date(2024, 2, 1), end=date(2024, 3, 1)
    )
    con = connect()
    con.execute(
        "CREATE TABLE oso.peer_to_artifact_monthly AS SELECT unnest([DATE '2024-01-01', DATE '2024-02-01', DATE '2024-03-01']) metrics_sample_date"
    )
    assert con.execute(query).fetchall() == [(date(2024, 2, 1),)]
    assert [m.name for m in peer_models(reader, Model("reader", "artifact", MONTH), context(world))] == [
        "peer_to_artifact_monthly"
    ]


def test_variables_of_a_metric_win_and_lists_become_lists():
    sql = SIMPLE.replace(
        "where", "where @entity_type = 'mine' and e.event_type in @kinds and e.amount in (0, @numbers) and"
    )
    metric = sql_metric(sql, vars={"entity_type": "mine", "kinds": ("STARRED",), "numbers": (1, 2), "spare": 3})
    world = context(project(m=metric))
    query = text(metric, Model("m", "artifact", DAY), world, start=date(2024, 1, 1), end=date(2024, 1, 2))
    assert "IN ('STARRED')" in query and "IN (0, 1, 2)" in query
    assert len(connect([day(1, 1)]).execute(query).fetchall()) == 1
    assert unused_variables(metric, world) == ("spare",)


def test_a_list_can_stand_alone():
    metric = sql_metric("select @kinds as a", vars={"kinds": ("x", "y")})
    assert "('x', 'y')" in text(
        metric, Model("m", "artifact", DAY), context(project(m=metric)), stage=Stage.INTERMEDIATE
    )


def test_instants_become_seconds():
    metric = sql_metric(
        "select @to_unix_timestamp(e.bucket_day) as a, @str_to_unix_timestamp('2024-01-01') as b from oso.events_daily e"
    )
    query = text(
        metric, Model("m", "artifact", DAY), context(project(m=metric)), start=date(2024, 1, 1), end=date(2024, 1, 2)
    )
    assert connect([day(1, 1)]).execute(query).fetchall() == [(1704067200, 1704067200)]


@pytest.mark.parametrize(
    ("sql", "error", "message", "hint"),
    [
        ("select @nothing from e", MacroError, "no variable @nothing", None),
        ("select @metric_name from e", MacroError, "@metric_name is a macro", "write @metric_name"),
        ("select a from @metrics_peer_ref(stras, time_aggregation := 'daily')", MacroError, "no metric 'stras'", "did you mean 'stars'"),
        ("select a from @metrics_peer_ref(stars)", MacroError, "which table of 'stars'", "time_aggregation := @time_aggregation"),
        ("select a from @metrics_peer_ref(stars, time_aggregation := 'yearly')", MacroError, "no table stars_to_artifact_yearly", "daily, over_all_time"),
        ("select a from @metrics_peer_ref(stars, entity_type := 'firm', time_aggregation := 'daily')", MacroError, "stars_to_firm_daily", "artifact, project"),
        ("select a from @metrics_peer_ref(stars, window := 0, unit := day)", MacroError, "is empty", None),
        ("select a from @metrics_peer_ref(stars, time_aggregation := 'fortnightly')", MacroError, "not a grain", None),
        ("select a from @metrics_peer_ref(old, time_aggregation := 'daily')", MacroError, "is disabled", None),
        ("select @relative_window_sample_date(@metrics_end('DATE'), 3, 'day', -1) as d from e", MacroError, "no meaning daily", "rolling"),
        ("select @metrics_start('YEAR') as d from e", MacroError, "not a type of date", "'DATE' or 'TIMESTAMP'"),
        ("select @metrics_sample_interval_length(d, 'moon') as d from e", MacroError, "not a unit", None),
        ("select a from e group by 2", ExpressionError, "GROUP BY 2", None),
    ],
)  # fmt: skip
def test_mistakes_name_what_exists(sql, error, message, hint):
    views = Views(entities=("artifact", "project"), grains=(Grain.DAY,), all_time=True)
    stars = sql_metric(SIMPLE, "stars", views=views)
    old = Metric(name="old", definition=stars.definition, views=views, enabled=False)
    wrong = sql_metric(sql, "wrong")
    with pytest.raises(error, match=message) as caught:
        text(wrong, Model("wrong", "artifact", DAY), context(project(stars=stars, old=old, wrong=wrong)))
    assert hint is None or hint in caught.value.hint


def test_an_error_is_located_in_the_file_of_the_definition():
    metric = sql_metric("select a\nfrom e\nwhere b = @nothing")
    origin = Origin(Location("registry.py", 7), {"sql": Location("code/m.sql", 11)})
    metric = Metric(name="m", definition=metric.definition, about=About(), origin=origin)
    with pytest.raises(MacroError) as caught:
        text(metric, Model("m", "artifact", DAY), context(project(m=metric)))
    assert str(caught.value.at) == "code/m.sql:13:11"


def test_only_sql_definitions_are_compiled_here():
    metric = Metric(name="m", definition=Aggregate(source="s", expr="sum(x)"))
    with pytest.raises(CompileError, match="not an SQL definition"):
        compile_definition(metric, Model("m", "artifact", DAY), context(project(m=metric)))


def test_group_keys_that_read_nothing_are_dropped_and_aliases_written_out():
    query = text(
        sql_metric(SIMPLE),
        Model("m", "artifact", MONTH),
        context(project(m=sql_metric(SIMPLE))),
        start=date(2024, 1, 1),
        end=date(2024, 2, 1),
    )
    keys = query.partition("GROUP BY")[2]
    assert "''" not in keys and "m_monthly" not in keys and "e.event_source" in keys


def test_an_alias_of_an_aggregate_is_written_out_in_having():
    sql = SIMPLE + " having amount > 1"
    assert run([day(1, 1), day(1, 2), day(1, 1, "a2")], sql, MONTH, start=date(2024, 1, 1), end=date(2024, 2, 1)) == [
        (date(2024, 1, 1), "a1", 2)
    ]
