"""Building is incremental, idempotent and leaves neighbours alone; what it builds equals the direct query."""

from __future__ import annotations

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
