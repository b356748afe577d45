"""Builds after something else than rows has changed: types of columns, views that are asked for, definitions, mappings."""

from __future__ import annotations

import duckdb
import pytest

from tallystick.build import direct
from tallystick.errors import CompileError, UsageError
from tallystick.service.workspace import load

TALLY = (
    '[project]\nname = "c"\nas_of = {}-01T00:00:00Z\nlookback = {}\n[warehouse]\npath = "w.duckdb"\nstorage = "{}"\n'
)
SOURCE = """
[entities.repo]
rolls_up_to = "team"
through = "main.teams"
[entities.team]
[entities.who]
[sources.ev]
{}
time = "ts"
{}
"""
TOTAL = '[metrics.total]\nsource = "ev"\nexpr = "{}"\nentities = {}\ngrains = {}\n'
USERS = '[metrics.users]\nsource = "ev"\nexpr = "count(distinct who)"\nentities = ["all"]\ngrains = ["day"]\nrolling = [3]\n'
MEDIAN = '[metrics.middle]\nsource = "ev"\nexpr = "median(x)"\nentities = ["all"]\ngrains = ["day"]\n'
TWICE = '[metrics.twice]\nexpr = "total * 2"\nentities = ["team"]\ngrains = ["day"]\n'
ROWS = """
CREATE TABLE ev AS SELECT TIMESTAMP '2024-01-01 10:00' + i * INTERVAL 1 DAY AS ts, ['a', 'b', 'c'][1 + i % 3] AS repo,
    i % 2 AS who, 1 + i % 2 AS x FROM range(60) t(i);
CREATE TABLE teams AS SELECT * FROM (VALUES ('a', 'p'), ('b', 'p'), ('c', 'q')) v(repo_id, team_id)
"""


@pytest.fixture
def project(tmp_path):
    """Return a function that opens a project with some metrics at the first of a month, and its warehouse."""

    def opening(
        *metrics,
        month="2024-02",
        storage="change_points",
        lookback=0,
        read='table = "main.ev"',
        source='entities = { repo = "repo" }',
    ):
        (tmp_path / "definitions").mkdir(exist_ok=True)
        (tmp_path / "tally.toml").write_text(TALLY.format(month, lookback, storage))
        (tmp_path / "definitions" / "c.toml").write_text(SOURCE.format(read, source) + "".join(metrics))
        if not (tmp_path / "w.duckdb").exists():
            sql(ROWS)
        return load(tmp_path)

    def sql(text):
        with duckdb.connect(str(tmp_path / "w.duckdb")) as warehouse:
            return warehouse.execute(text).fetchall()

    opening.sql = sql
    return opening


def total(expr="sum(x)", entities=("all",), grains=("day", "month")):
    return TOTAL.format(expr, list(entities), list(grains)).replace("'", '"')


def assert_built_as_asked(workspace):
    assert not workspace.project.errors and workspace.models()
    assert not (report := workspace.build()).failed, report
    for model in workspace.models():
        wanted = workspace.query(model.metric, model=model.name).to_pylist()
        got = workspace.read(model.metric, model=model.name).to_pylist()
        named = [{key: row[key] for key in got[0]} for row in wanted] if got else wanted
        assert sorted(map(repr, _plain(got))) == sorted(map(repr, _plain(named))), model.name


def _plain(rows):
    return [{key: float(value) if key == "value" else value for key, value in row.items()} for row in rows]


def test_columns_that_hold_more_by_now_are_built_anew(project):
    metrics = total(), USERS, MEDIAN
    with project(*metrics) as workspace:
        assert_built_as_asked(workspace)
    project.sql("ALTER TABLE ev ALTER x TYPE DOUBLE; ALTER TABLE ev ALTER who TYPE DECIMAL(10, 1)")
    project.sql("INSERT INTO ev VALUES ('2024-02-03', 'a', 0.1, 0.4), ('2024-02-03', 'a', 0.4, 0.4)")
    with project(*metrics, month="2024-03") as workspace:
        assert_built_as_asked(workspace)


def test_keys_that_are_text_by_now_are_built_anew(project):
    metrics = total(entities=("all", "repo", "team")), USERS
    project.sql(ROWS.replace("['a', 'b', 'c'][1 + i % 3]", "i % 3").replace("'a', 'p'", "0, 'p'").replace("'b'", "1").replace("'c'", "2"))  # fmt: skip
    with project(*metrics) as workspace:
        assert_built_as_asked(workspace)
    project.sql("ALTER TABLE ev ALTER repo TYPE VARCHAR; ALTER TABLE ev ALTER who TYPE VARCHAR")
    project.sql(
        "ALTER TABLE teams ALTER repo_id TYPE VARCHAR; INSERT INTO ev VALUES ('2024-02-03', 'shop', 'guest', 4)"
    )
    with project(*metrics, month="2024-03") as workspace:
        assert_built_as_asked(workspace)


def test_models_whose_entities_are_numbered_anew_are_gone_until_they_are_built(project):
    metrics = total(entities=("repo",)), USERS.replace('["all"]', '["repo"]')
    project.sql(ROWS.replace("['a', 'b', 'c'][1 + i % 3]", "i % 3"))
    with project(*metrics) as workspace:
        assert_built_as_asked(workspace)
    project.sql("ALTER TABLE ev ALTER repo TYPE VARCHAR; INSERT INTO ev VALUES ('2024-01-03', '!', 1, 4)")
    with project(*metrics, month="2024-03") as workspace:
        assert not workspace.build(["total"]).failed
        views = "SELECT view_name FROM duckdb_views() WHERE schema_name = 'tally' AND starts_with(view_name, 'users')"
        workspace.close()
        assert project.sql(views) == []
        assert_built_as_asked(workspace)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"entities": ("all", "team")}, {"entities": ("all", "repo")}),
        ({"entities": ("all", "repo")}, {"entities": ("repo",)}),
        ({"grains": ("day", "week", "month")}, {"grains": ("day", "month")}),
    ],
)
def test_views_that_are_not_asked_for_any_more_are_gone(project, before, after):
    with project(total(**before)) as workspace:
        assert_built_as_asked(workspace)
        old = {model.name for model in workspace.models()}
    with project(total(**after)) as workspace:
        assert_built_as_asked(workspace)
        gone = old - {model.name for model in workspace.models()}
    there = {name for (name,) in project.sql("SELECT view_name FROM duckdb_views() WHERE schema_name = 'tally'")}
    assert gone and not gone & there
    assert not gone & {name for (name,) in project.sql("SELECT model FROM tally._models")}


def test_what_a_definition_built_is_kept_as_it_was_when_it_comes_back(project):
    for month, expr in (("2024-01", "count(*)"), ("2024-02", "sum(x)"), ("2024-03", "count(*)")):
        with project(total(expr, grains=("day",)), month=month) as workspace:
            assert not workspace.build().failed
        if month == "2024-02":
            ((kept, end),) = project.sql("SELECT relation, covered_end FROM tally._model_history")
            rows = project.sql(f"SELECT * FROM tally.{kept} ORDER BY ALL")
    assert end.month == 1
    assert project.sql(f"SELECT * FROM tally.{kept} ORDER BY ALL") == rows
    assert len(project.sql("FROM tally.total_to_all_daily")) == 60


def test_formulas_follow_a_changed_mapping(project):
    metrics = total(entities=("team",), grains=("day",)), TWICE
    with project(*metrics) as workspace:
        assert_built_as_asked(workspace)
    project.sql("INSERT INTO teams VALUES ('a', 'q')")
    with project(*metrics, month="2024-03") as workspace:
        assert_built_as_asked(workspace)


LATE = "INSERT INTO ev VALUES ('2024-02-03 10:00:00', 'a', 1, 5)"
FOUR = TWICE.replace("twice", "four").replace("total", "twice")


@pytest.mark.parametrize("first", [(), ("total",), ("total", "twice")])
def test_formulas_follow_late_rows_whenever_they_are_built(project, first):
    metrics = total(entities=("team",)), TWICE, FOUR
    with project(*metrics, month="2024-03", lookback=1) as workspace:
        assert_built_as_asked(workspace)
    project.sql(LATE)
    with project(*metrics, month="2024-03", lookback=1) as workspace:
        if first:
            assert not workspace.build(first).failed
        assert_built_as_asked(workspace)
    assert project.sql("FROM tally._pending") == []


@pytest.mark.parametrize("operand", [MEDIAN, USERS])
def test_formulas_follow_a_restatement_they_were_no_part_of(project, operand):
    name = operand.partition("]")[0].rpartition(".")[2]
    metrics = operand, TWICE.replace("total", name).replace('"team"', '"all"')
    with project(*metrics, month="2024-03") as workspace:
        assert_built_as_asked(workspace)
    project.sql("UPDATE ev SET x = 9, who = 7 WHERE ts < '2024-01-09' AND repo <> 'a'")
    with project(*metrics, month="2024-03") as workspace:
        assert not workspace.build([name], restate=("2024-01-01", "2024-02-01")).failed
        assert_built_as_asked(workspace)
    assert project.sql("FROM tally._pending") == []


def test_formulas_that_failed_follow_late_rows_with_the_next_build(project, monkeypatch):
    def fail(*_):
        raise CompileError("not this time")

    metrics = total(entities=("team",)), TWICE
    with project(*metrics, month="2024-03", lookback=1) as workspace:
        assert_built_as_asked(workspace)
        workspace.close()
        project.sql(LATE)
        with monkeypatch.context() as patch:
            patch.setattr(direct, "refresh", fail)
            assert {model.metric for model in workspace.build().failed} == {"twice"}
        assert_built_as_asked(workspace)


def test_what_reads_two_families_of_a_metric_follows_the_first_change(project):
    metrics = total(entities=("repo", "who"), grains=("day", "month")), TWICE.replace('"team"', '"repo", "who"')
    source = 'entities = { repo = "repo", who = "who" }\n'
    metrics = "".join(metrics)
    with project(metrics, source=source, month="2024-03", lookback=1) as workspace:
        assert_built_as_asked(workspace)
    project.sql("UPDATE ev SET repo = 'z' WHERE ts = '2024-02-03 10:00:00'")
    project.sql("INSERT INTO ev VALUES ('2024-02-20 10:00:00', 'a', 1, 5)")
    with project(metrics, source=source, month="2024-03", lookback=1) as workspace:
        assert_built_as_asked(workspace)


@pytest.mark.parametrize(
    ("name", "column"), [("day", "_id"), ("r", "_day"), ("hash", "day"), ("total", "count"), ("mark", "_pass")]
)
@pytest.mark.parametrize("read", ['table = "main.ev"', 'sql = "SELECT * FROM main.ev"'])
def test_names_of_metrics_and_columns_do_not_matter_for_late_rows(project, name, column, read):
    metrics = total(f'sum(\\"{column}\\")').replace("total", name), MEDIAN.replace("median(x)", "max(who)")
    project(*metrics).close()
    project.sql(f'ALTER TABLE ev RENAME x TO "{column}"')
    with project(*metrics, read=read, month="2024-03", lookback=1) as workspace:
        assert_built_as_asked(workspace)
    project.sql(f"UPDATE ev SET \"{column}\" = 70 WHERE ts = '2024-02-03 10:00:00'")
    with project(*metrics, read=read, month="2024-03", lookback=1) as workspace:
        assert_built_as_asked(workspace)


@pytest.mark.parametrize("lookback", [60, 3650])
def test_more_may_be_looked_back_than_there_is(project, lookback):
    metrics = total(grains=("day", "year")), MEDIAN.replace('"day"', '"year"')
    for month in ("2024-02", "2024-03"):
        with project(*metrics, month=month, lookback=lookback) as workspace:
            assert_built_as_asked(workspace)


def test_a_table_that_is_gone_is_made_again(project):
    with project(MEDIAN) as workspace:
        assert_built_as_asked(workspace)
    project.sql("DROP TABLE tally.middle_to_all_daily")
    with project(MEDIAN, month="2024-03") as workspace:
        assert_built_as_asked(workspace)


def test_an_end_before_the_start_is_refused(project):
    with project(total()) as workspace:
        assert_built_as_asked(workspace)
        with pytest.raises(UsageError, match="nothing lies between 2024-01-05 and 2024-01-01"):
            workspace.build(start="2024-01-05", end="2024-01-01")
