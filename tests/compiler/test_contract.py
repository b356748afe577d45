"""What definitions put out is checked without running them, all at once (spec oso §1, §9.9, §13.7)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from oso_world import context, project, sql_metric
from tallystick.compiler.contract import (
    check_definition,
    check_definitions,
    contracted,
    model_dependencies,
    output_columns,
)
from tallystick.compiler.model import Model, TimeView
from tallystick.compiler.sql_definition import bound_template, compile_definition
from tallystick.definitions.graph import in_order
from tallystick.definitions.metric import Views
from tallystick.definitions.origin import Origin
from tallystick.definitions.oso_options import OsoOptions
from tallystick.definitions.project import Project
from tallystick.errors import CompileError, Location
from tallystick.sql.grain import Grain, Window, WindowUnit

MONTHLY = Views(entities=("artifact",), grains=(Grain.MONTH,))
COLUMNS = {
    "metrics_sample_date": "@metrics_sample_date(e.bucket_day) as metrics_sample_date",
    "event_source": "e.event_source",
    "to_artifact_id": "e.to_artifact_id",
    "from_artifact_id": "'' as from_artifact_id",
    "metric": "@metric_name() as metric",
    "amount": "sum(e.amount) as amount",
}
REST = "from oso.events_daily e where e.bucket_day between @metrics_start('DATE') and @metrics_end('DATE') group by 1, 2, 3"


def query(*columns):
    return f"select {', '.join(COLUMNS.get(column, column) for column in columns)} {REST}"


def findings(sql, *, views=MONTHLY, compat=None, dialect="duckdb", **options):
    metric = sql_metric(sql, views=views, **options)
    return [(d.code, d.severity.value) for d in check_definition(metric, context(project(compat, m=metric), dialect))]


def test_the_columns_of_every_metric_table_are_fine():
    assert findings(query(*COLUMNS)) == []


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ([c for c in COLUMNS if c != "amount"], ("missing-column", "error")),
        ([c for c in COLUMNS if c != "metrics_sample_date"], ("missing-column", "error")),
        ([c for c in COLUMNS if c != "to_artifact_id"], ("missing-column", "error")),
        ([c for c in COLUMNS if c != "event_source"], ("missing-column", "warning")),
        ([*COLUMNS, "'usd' as unit"], ("extra-column", "warning")),
        (["metrics_sample_date", "to_artifact_id", "event_source", "from_artifact_id", "metric", "amount"], ("reordered-columns", "warning")),
    ],
)  # fmt: skip
def test_other_columns_are_named(columns, expected):
    assert findings(query(*columns)) == [expected]


def test_columns_behind_a_star_are_not_guessed():
    assert output_columns(bound_template("select * from e")) is None
    assert output_columns(bound_template("select e.* from e")) is None
    assert findings("select * from oso.other") == []


def test_each_finding_is_told_once_however_many_models_it_concerns():
    views = Views(entities=("artifact",), grains=tuple(Grain)[4:], rolling=(Window(7),), all_time=True)
    assert findings(query(*COLUMNS, "1 as x"), views=views) == [("extra-column", "warning")]
    assert findings("select @nothing", views=views) == [("bad-definition", "error")]


def test_one_bad_definition_does_not_hide_another():
    bad = sql_metric("select from where", "bad", views=MONTHLY)
    worse = sql_metric("select @metrics_start('X') as amount, @nothing", "worse", views=MONTHLY)
    good = sql_metric(query(*COLUMNS), "good", views=MONTHLY)
    off = replace(bad, name="off", enabled=False)
    found = check_definitions(context(project(bad=bad, worse=worse, good=good, off=off)))
    assert sorted({d.code for d in found}) == ["bad-definition"]
    assert len(found) == 2


def test_variables_without_use_are_named():
    assert findings(query(*COLUMNS), vars={"spare": 1}) == [("unused-variable", "warning")]


def reading(name, peer, grain, views=MONTHLY):
    sql = f"select metrics_sample_date, event_source, @metrics_entity_type_col('to_{{entity_type}}_id'), from_artifact_id, metric, amount from @metrics_peer_ref({peer}, time_aggregation := {grain})"
    return sql_metric(sql, name, views=views)


def test_a_circle_of_peers_is_shown_as_a_path():
    a, b = reading("a", "b", "@time_aggregation"), reading("b", "a", "@time_aggregation")
    found = check_definitions(context(project(a=a, b=b)))
    assert [d.code for d in found] == ["peer-cycle"]
    assert "a_to_artifact_monthly → b_to_artifact_monthly → a_to_artifact_monthly" in found[0].message


def test_each_circle_is_told_once_at_a_metric_of_it():
    names = {"a": "b", "b": "a", "c": "c"}
    wide = Views(entities=("artifact", "project"), grains=(Grain.MONTH, Grain.YEAR))
    metrics = {name: reading(name, peer, "@time_aggregation", wide) for name, peer in names.items()}
    metrics = {n: replace(m, origin=Origin(Location("r.py", 3))) for n, m in metrics.items()}
    found = [d for d in check_definitions(context(project(**metrics))) if d.code == "peer-cycle"]
    assert [(d.file, d.line) for d in found] == [("r.py", 3)] * 2
    assert {d.message.rpartition(": ")[2].count("→") for d in found} == {1, 2}


def test_metrics_spelled_like_a_missing_peer_are_named():
    peers = {name: sql_metric(query(*COLUMNS), name, views=MONTHLY) for name in ("stars", "starts", "commits")}
    near, none = reading("near", "star", "@time_aggregation"), reading("none", "zzz", "@time_aggregation")
    found = {d.hint for d in check_definitions(context(project(**peers, near=near, none=none)))}
    assert "did you mean 'stars' or 'starts'?" in found
    assert "known: commits, near, none, stars, starts" in found


@pytest.mark.parametrize("is_registered", [False, True])
def test_tables_have_the_columns_of_the_contract_and_no_others(is_registered):
    columns = ["amount", "metrics_sample_date", "to_artifact_id", "metric", "'usd' as unit"]
    metric = sql_metric(query(*columns), views=MONTHLY, oso=OsoOptions() if is_registered else None)
    around, model = context(project(m=metric)), Model("m", "artifact", TimeView(grain=Grain.MONTH))
    found = contracted(compile_definition(metric, model, around), model, around)
    spare = {"event_source", "from_artifact_id"} if is_registered else set()
    expected = [name for name in COLUMNS if name in spare or name not in ("event_source", "from_artifact_id")]
    assert found.named_selects == expected


def test_a_table_without_a_column_that_it_needs_is_refused():
    metric = sql_metric(query(*[c for c in COLUMNS if c != "amount"]), views=MONTHLY)
    around, model = context(project(m=metric)), Model("m", "artifact", TimeView(grain=Grain.MONTH))
    with pytest.raises(CompileError, match="puts out no 'amount'"):
        contracted(compile_definition(metric, model, around), model, around)


def test_models_come_after_their_peers():
    a, b = reading("a", "b", "@time_aggregation"), sql_metric(query(*COLUMNS), "b", views=MONTHLY)
    dependencies = model_dependencies([a, b], context(project(a=a, b=b)))
    assert in_order(dependencies) == ["b_to_artifact_monthly", "a_to_artifact_monthly"]


@pytest.mark.parametrize(("grain", "misaligned"), [("weekly", True), ("daily", False), ("quarterly", True)])
def test_buckets_that_do_not_fit_into_each_other_are_named(grain, misaligned):
    views = Views(entities=("artifact",), grains=(Grain.DAY, Grain.WEEK, Grain.QUARTER))
    peer, metric = sql_metric(query(*COLUMNS), "peer", views=views), reading("m", "peer", f"'{grain}'")
    found = check_definitions(context(project(peer=peer, m=metric)))
    assert [d.code for d in found] == (["misaligned-peer"] if misaligned else [])


STAGES = query("metrics_sample_date", "event_source", "to_artifact_id", "from_artifact_id", "@metric_name(case when sum(e.amount) > 10 then 'full_time' else 'part_time' end) as metric", "amount")  # fmt: skip
READER = """with stages as (
  select metrics_sample_date, event_source, @metrics_entity_type_col('to_{entity_type}_id'), from_artifact_id, metric, amount
  from @metrics_peer_ref(stages, time_aggregation := 'monthly') where CONDITION
) select s.metrics_sample_date, s.event_source, @metrics_entity_type_col('to_{entity_type}_id', table_alias := s), s.from_artifact_id, s.metric, s.amount from stages s"""


@pytest.mark.parametrize(
    ("condition", "lost"),
    [
        ("metric like 'full_%'", None),
        ("metric like 'resurrected_%'", "resurrected_%"),
        ("metric like 'full_%' or metric like 'RESURRECTED_%' or metric not like 'gone_%'", "RESURRECTED_%"),
        ("metric ilike 'FULL%'", None),
        ("metric = 'part_time_monthly'", None),
        ("'part_time' = metric", "part_time"),
        ("metric in ('part_time_monthly', 'full_times_monthly')", "full_times_monthly"),
        ("not (metric = 'gone')", None),
        ("event_source = 'GONE'", None),
    ],
)
@pytest.mark.parametrize("compat", [None, "oso"])
def test_names_that_a_peer_does_not_put_out_are_told(condition, lost, compat):
    stages, metric = sql_metric(STAGES, "stages", views=MONTHLY), sql_metric(READER.replace("CONDITION", condition))
    metric = replace(metric, views=MONTHLY)
    findings = check_definition(metric, context(project(compat, stages=stages, m=metric)))
    found = [d for d in findings if d.code == "unknown-label"]
    assert [d.message for d in found] == (
        [f"'m' reads rows named '{lost}', which stages does not put out"] if lost else []
    )
    assert all("did you mean" in (d.hint or "") or "known: " in (d.hint or "") for d in found)


def test_names_that_depend_on_data_are_not_guessed():
    stages = query("metrics_sample_date", "event_source", "to_artifact_id", "from_artifact_id", "@metric_name(e.event_type) as metric", "amount")  # fmt: skip
    peer, metric = sql_metric(stages, "stages", views=MONTHLY), sql_metric(READER.replace("CONDITION", "metric = 'x'"))
    metric = replace(metric, views=MONTHLY)
    assert "unknown-label" not in [d.code for d in check_definitions(context(project(stages=peer, m=metric)))]


def test_days_a_window_apart_meet_no_row_of_a_peer_that_oso_samples_monthly():
    views = Views(entities=("artifact",), rolling=(Window(90),))
    peer = sql_metric(query(*COLUMNS), "peer", views=views, cron="@monthly")
    sql = """select metrics_sample_date, event_source, to_artifact_id, from_artifact_id, metric, amount
    from @metrics_peer_ref(peer, window := @rolling_window, unit := @rolling_unit) p
    where p.metrics_sample_date = @relative_window_sample_date(@metrics_end('DATE'), @rolling_window, @rolling_unit, -1)"""
    metric = sql_metric(sql, views=views)
    codes = [
        [d.code for d in check_definition(metric, context(project(compat, peer=peer, m=metric)))]
        for compat in (None, "oso")
    ]
    assert "misaligned-peer" not in codes[0] and "misaligned-peer" in codes[1]


def test_the_oso_profile_says_where_it_gives_other_numbers():
    views = Views(
        entities=("artifact", "project"), grains=(Grain.QUARTER,), rolling=(Window(1, WindowUnit.MONTH),), all_time=True
    )
    sql = query(*COLUMNS).replace(
        "sum(e.amount)", "sum(e.amount) / @metrics_sample_interval_length(e.bucket_day, 'day')"
    )
    metric = sql_metric(sql, views=views)
    found = check_definition(metric, context(project("oso", m=metric), "trino"))
    assert {d.code for d in found} == {"oso-difference"} and {d.severity.value for d in found} == {"info"}
    told = " ".join(d.message for d in found)
    said = ["by month on trino", "first day of the next bucket", "one unit short", "interval lengths", "counts twice"]
    assert [part for part in said if part not in told] == []
    assert check_definition(metric, context(project(m=metric), "trino")) == ()


INNER = f"with rows as ({query(*COLUMNS)}) select * from rows"


@pytest.mark.parametrize(
    ("sql", "views", "cron", "told"),
    [
        (INNER, Views(entities=("project",), grains=(Grain.DAY,)), None, "stays at artifact level"),
        (query(*COLUMNS), Views(entities=("project",), grains=(Grain.DAY,)), None, "by two paths counts twice"),
        (query(*COLUMNS), Views(entities=("artifact",), rolling=(Window(7),)), "@weekly", "on the ticks of @weekly only"),
        (
            query(*COLUMNS).replace("sum(e.amount)", "sum(e.amount) / @metrics_sample_interval_length(e.bucket_day, 'day')"),
            Views(entities=("artifact",), grains=(Grain.DAY,)),
            None,
            "divided by the whole bucket",
        ),
    ],
)  # fmt: skip
def test_each_difference_of_the_oso_profile_is_told(sql, views, cron, told):
    metric, right = sql_metric(sql, views=views, cron=cron), sql_metric(query(*COLUMNS), views=MONTHLY)
    assert any(told in d.message for d in check_definition(metric, context(project("oso", m=metric))))
    assert not any(told in d.message for d in check_definition(right, context(project("oso", m=right))))


def test_names_that_start_alike_are_told_in_the_oso_profile():
    fees, internal = (sql_metric(query(*COLUMNS), name, views=MONTHLY) for name in ("fees", "fees_internal"))
    codes = [d.code for d in check_definitions(context(project("oso", fees=fees, internal=internal)))]
    assert "metadata-collision" in codes
    assert check_definitions(context(project(fees=fees, internal=internal))) == ()


def test_the_fixture_is_fine():
    found = check_definitions(context(project()))
    told = [(d.code, d.file) for d in found if d.severity.value != "info"]
    assert told == [("joined-last", "oso_metrics/code/burstiness.sql")] * 2


def test_a_project_of_nothing_has_no_findings():
    assert check_definitions(context(Project(root="."))) == ()
