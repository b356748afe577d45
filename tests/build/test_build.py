"""Building is incremental, idempotent and leaves neighbours alone; what it builds equals the direct query."""

from __future__ import annotations

import duckdb
import pytest

from tallystick.build.report import Action
from tallystick.service.workspace import load


def test_every_model_equals_the_direct_query(shop, opened, contents):
    with opened(shop) as workspace:
        report = workspace.build()
        assert not report.failed
        expected = {model.name: workspace.query(model.metric, model=model.name) for model in workspace.models()}
    built = contents(shop)
    for name, table in expected.items():
        columns = [column for column in table.column_names if column not in ("n", "state")]
        direct = list(zip(*(table.column(column).to_pylist() for column in columns), strict=True))
        assert sorted(built[name], key=str) == sorted(direct, key=str), name


def test_building_again_changes_nothing(shop, opened, contents):
    with opened(shop) as workspace:
        workspace.build()
    first = contents(shop)
    with opened(shop) as workspace:
        report = workspace.build()
    assert {model.action for model in report.models} == {Action.REFRESHED}
    assert contents(shop) == first


def test_building_day_by_day_equals_building_at_once(shop, opened, contents, run):
    for as_of in ("2024-01-10", "2024-01-11", "2024-02-01", "2024-02-28", "2024-03-01"):
        with opened(shop, as_of) as workspace:
            assert not workspace.build().failed
    grown = contents(shop)
    from_scratch(shop, opened, run)
    assert contents(shop) == grown


def from_scratch(shop, opened, run):
    """Forget everything built and build it in one go."""
    run(shop, "DROP SCHEMA tally CASCADE")
    with opened(shop) as workspace:
        assert not workspace.build().failed


def test_late_rows_within_the_lookback_are_seen(shop, opened, contents, run):
    with opened(shop, "2024-02-28") as workspace:
        workspace.build()
    run(
        shop,
        "INSERT INTO shop.orders VALUES (TIMESTAMP '2024-02-26 00:00', 's0', 1000, 5), (TIMESTAMP '2024-02-27 12:00', 's1', 1001, 5), (TIMESTAMP '2024-02-28 12:00', 's3', 7, 1)",
    )
    with opened(shop, "2024-03-01") as workspace:
        workspace.build()
    grown = contents(shop)
    from_scratch(shop, opened, run)
    assert contents(shop) == grown


def test_a_changed_definition_is_built_beside_and_the_old_rows_are_kept(shop, opened, run):
    with opened(shop) as workspace:
        workspace.build(["revenue"])
    before = run(shop, "SELECT * FROM tally.revenue_to_store_daily ORDER BY ALL")
    file = shop / "definitions" / "shop.toml"
    file.write_text(file.read_text().replace('expr = "sum(amount)"', 'expr = "sum(amount) * 2"'))
    with opened(shop) as workspace:
        report = workspace.build(["revenue"])
    assert {model.action for model in report.models} == {Action.REBUILT}
    doubled = [(bucket, store, 2 * value) for bucket, store, value in before]
    assert run(shop, "SELECT * FROM tally.revenue_to_store_daily ORDER BY ALL") == doubled
    kept = run(shop, "SELECT relation FROM tally._model_history WHERE model = 'revenue_to_store_daily'")
    assert run(shop, f"SELECT * FROM tally.{kept[0][0]} ORDER BY ALL") == before


def test_a_definition_that_comes_back_leaves_one_note_for_each_relation_that_is_kept(shop, opened, run):
    file = shop / "definitions" / "shop.toml"
    first = file.read_text()
    for text in (first, first.replace('(amount)"', '(amount) * 2"')) * 2:
        file.write_text(text)
        with opened(shop) as workspace:
            assert not workspace.build(["revenue", "median_order"]).failed
    notes = run(shop, "SELECT relation FROM tally._model_history ORDER BY 1")
    there = run(shop, "SELECT table_name FROM information_schema.tables WHERE starts_with(table_name, '_old_')")
    assert notes == sorted(there) and len(set(notes)) == len(notes)


def test_text_of_a_definition_does_not_change_its_hash(shop, opened):
    with opened(shop) as workspace:
        workspace.build(["revenue"])
    file = shop / "definitions" / "shop.toml"
    file.write_text(file.read_text().replace('expr = "sum(amount)"', 'expr = "SUM( amount )"\ndescription = "Money."'))
    with opened(shop) as workspace:
        assert {model.action for model in workspace.build(["revenue"]).models} == {Action.REFRESHED}


def test_a_failing_metric_leaves_the_others_alone(shop, opened, run):
    run(shop, "ALTER TABLE shop.orders DROP COLUMN buyer")
    with opened(shop) as workspace:
        report = workspace.build()
    assert {model.metric for model in report.failed} == {"buyers", "spend"}
    assert all("buyer" in (model.error or "") for model in report.failed if model.metric == "buyers")
    assert run(shop, "SELECT count(*) FROM tally.revenue_to_all_daily")[0][0] > 0


def test_selecting_a_metric_or_a_model(shop, opened):
    with opened(shop) as workspace:
        report = workspace.build(["revenue_to_store_daily", "median_order"])
    names = {model.name for model in report.models}
    assert "revenue_to_store_daily" in names
    assert "revenue_to_all_daily" not in names
    assert "median_order_to_all_weekly" in names


def test_leftovers_of_a_killed_build_are_dropped(shop, opened, run):
    with opened(shop) as workspace:
        workspace.build(["revenue"])
    run(shop, "CREATE TABLE tally._next_revenue_to_store_daily AS SELECT 1 AS half_written")
    with opened(shop) as workspace:
        workspace.build(["revenue"])
    assert not run(shop, "SELECT 1 FROM information_schema.tables WHERE table_name LIKE '\\_next%' ESCAPE '\\'")


@pytest.mark.parametrize("name", ["revenu", "revenue_to_store_dayly"])
def test_an_unknown_selection_names_the_nearest(shop, name):
    with load(shop) as workspace, pytest.raises(Exception, match="did you mean 'revenue"):
        workspace.build([name])


QUERIES = """
[entities.thing]
[metrics.read]
sql = "select @metrics_sample_date(ts) as metrics_sample_date, 'x' as event_source, to_thing_id, '' as from_thing_id, @metric_name() as metric, sum(v) as amount from raw where {condition} and ts between @metrics_start('DATE') and @metrics_end('DATE') group by 1, to_thing_id"
grains = ["day"]
rolling = [3]
entities = ["thing"]
[metrics.reader]
sql = "select metrics_sample_date, event_source, to_thing_id, from_thing_id, @metric_name() as metric, 2 * amount as amount from @metrics_peer_ref(read, time_aggregation := @time_aggregation)"
grains = ["day"]
entities = ["thing"]
"""


@pytest.fixture
def queries(tmp_path):
    """A folder with whole queries over a table that is no source, and how to write their condition."""
    (tmp_path / "tally.toml").write_text("[project]\nas_of = 2024-03-01T00:00:00Z\n[warehouse]\npath = 'w.duckdb'\n")
    (tmp_path / "definitions").mkdir()

    def write(condition: str) -> None:
        (tmp_path / "definitions" / "all.toml").write_text(QUERIES.format(condition=condition))

    write("true")
    with duckdb.connect(str(tmp_path / "w.duckdb")) as connection:
        days = "SELECT DATE '2024-01-01' + i::INT AS ts, 'a' AS to_thing_id, i AS v FROM range(60) t(i)"
        connection.execute(f"CREATE TABLE raw AS {days}")
    return tmp_path, write


def test_a_query_over_tables_nobody_describes_is_built_with_all_its_history(queries):
    folder, _ = queries
    with load(folder) as workspace:
        rows = {model.name: model.rows for model in workspace.build().models}
        windows = workspace.query("read", window="3").num_rows
    assert rows == {"read_to_thing_over_3_day_window": 60, "read_to_thing_daily": 60, "reader_to_thing_daily": 60}
    assert windows == 60


def test_what_reads_a_changed_definition_is_built_anew(queries):
    folder, write = queries
    with load(folder) as workspace:
        workspace.build()
    write("v % 2 = 0")
    with load(folder) as workspace:
        report = workspace.build()
    assert {model.name: (model.action, model.rows) for model in report.models}["reader_to_thing_daily"] == (
        Action.REBUILT,
        30,
    )


def test_queries_that_read_each_other_are_named_and_leave_the_others_alone(queries):
    folder, _ = queries
    reader = QUERIES.format(condition="true").partition("[metrics.reader]")[2]
    circle = "".join(
        f"[metrics.{name}]" + reader.replace("peer_ref(read,", f"peer_ref({other},")
        for name, other in (("one", "two"), ("two", "one"), ("three", "two"))
    )
    (folder / "definitions" / "circle.toml").write_text(circle)
    with load(folder) as workspace:
        report = workspace.build()
    assert {model.metric for model in report.failed} == {"one", "two", "three"}
    assert all("read each other in a cycle: " in (model.error or "") for model in report.failed)
    assert len(report.models) - len(report.failed) == 3
