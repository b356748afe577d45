"""From the base entity to another: members once, at the base where the text allows, never in silence (spec oso §6, §9.3)."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import duckdb
import pytest

from oso_world import connect, context, project, sql_metric, text
from tallystick.compiler.contract import check_definition
from tallystick.compiler.model import Model, TimeView
from tallystick.definitions.entity import Entity, RollUp
from tallystick.definitions.metric import Views
from tallystick.definitions.project import Project
from tallystick.definitions.source import Source
from tallystick.errors import CompileError
from tallystick.sql.grain import Grain, Window

MONTH = TimeView(grain=Grain.MONTH)
JANUARY = {"start": date(2024, 1, 1), "end": date(2024, 2, 1)}
HEAD = "@metrics_sample_date(e.bucket_day) as metrics_sample_date, e.event_source"
RANGE = "e.bucket_day between @metrics_start('DATE') and @metrics_end('DATE')"
SUMS = f"""
select {HEAD}, e.to_artifact_id, '' as from_artifact_id, @metric_name() as metric, sum(e.amount) as amount
from oso.events_daily e where {RANGE} group by 1, 2, 3, 4, 5
"""
ROWS = [(date(2024, 1, 5), "STARRED", "GITHUB", artifact, "u1", amount) for artifact, amount in
        [("a1", 1), ("a2", 10), ("a3", 100), ("a4", 1000), ("a5", 10000)]]  # fmt: skip


def amounts(sql, entity, *, compat=None, rows=ROWS, sources=None):
    metric = sql_metric(sql)
    if sources is not None:
        metric = replace(metric, definition=replace(metric.definition, sources=sources))
    query = text(metric, Model("m", entity, MONTH), context(project(compat, m=metric)), **JANUARY)
    found = connect(rows).execute(f"SELECT to_{entity}_id, amount FROM ({query})").fetchall()
    return dict(found)


def test_the_base_entity_is_left_alone():
    assert amounts(SUMS, "artifact") == {"a1": 1, "a2": 10, "a3": 100, "a4": 1000, "a5": 10000}


def test_a_member_of_two_groups_counts_in_both_and_a_pair_listed_twice_once():
    assert amounts(SUMS, "project") == {"p1": 11, "p2": 1, "p3": 10000}
    assert amounts(SUMS, "project", compat="oso") == {"p1": 21, "p2": 1, "p3": 10000, None: 100}


def test_a_member_reached_by_two_paths_counts_once():
    assert amounts(SUMS, "collection") == {"c1": 11, "c2": 1}
    assert amounts(SUMS, "collection", compat="oso") == {"c1": 22, "c2": 1, None: 10000}


COUNTED = "@metric_name() as metric, count(distinct {}to_artifact_id) as amount"


@pytest.mark.parametrize(
    "sql",
    [
        f"select {HEAD}, e.to_artifact_id, '' as from_artifact_id, {COUNTED.format('e.')} from oso.events_daily e where {RANGE} group by 1, 2, 3, 4, 5",
        f"with e as (select * from (select bucket_day, event_source, to_artifact_id from oso.events_daily e where {RANGE}) x) "
        f"select {HEAD}, e.to_artifact_id, '' as from_artifact_id, {COUNTED.format('e.')} from e group by 1, 2, 3, 4, 5",
        f"select {HEAD}, e.to_artifact_id, '' as from_artifact_id, {COUNTED.format('')} from "
        f"(select bucket_day, event_source, to_artifact_id from oso.events_daily e where {RANGE}) e group by 1, 2, 3, 4, 5",
    ],
)
def test_things_that_are_counted_themselves_stay_what_they_are(sql):
    assert amounts(sql, "project") == {"p1": 2, "p2": 1, "p3": 1}
    assert amounts(sql, "collection") == {"c1": 2, "c2": 1}


def test_partitions_of_inner_queries_are_left_to_them():
    sql = f"""
    with ranked as (
      select e.bucket_day, event_source, to_artifact_id, amount, row_number() over (partition by to_artifact_id order by amount) as place
      from oso.events_daily e where {RANGE}
    )
    select {HEAD}, to_artifact_id, '' as from_artifact_id, @metric_name() as metric, count(distinct to_artifact_id) + min(place) as amount
    from ranked e group by 1, 2, 3, 4, 5"""
    assert amounts(sql, "project") == {"p1": 3, "p2": 2, "p3": 2}


PEOPLE = f"""
with people as (
  select {HEAD}, e.to_artifact_id, e.from_artifact_id, sum(e.amount) as part
  from oso.events_daily e where {RANGE} group by 1, 2, 3, 4
)
select metrics_sample_date, event_source, to_artifact_id, '' as from_artifact_id, @metric_name() as metric,
  max(part) as amount
from people group by 1, 2, 3
"""


def test_a_cte_is_computed_for_the_entity_and_by_oso_for_its_artifacts():
    assert amounts(PEOPLE, "project") == {"p1": 11, "p2": 1, "p3": 10000}
    assert amounts(PEOPLE, "project", compat="oso")["p1"] == 10


@pytest.mark.parametrize("union", ["union all", "union"])
def test_every_arm_of_a_union_is_joined(union):
    sql = f"{SUMS} {union} {SUMS.replace('@metric_name()', '@metric_name(' + chr(39) + 'n' + chr(39) + ')')}"
    metric = sql_metric(sql)
    query = text(metric, Model("m", "project", MONTH), context(project(m=metric)), **JANUARY)
    found = connect(ROWS).execute(f"SELECT metric, sum(amount) FROM ({query}) GROUP BY 1 ORDER BY 1").fetchall()
    assert found == [("m_monthly", 10012), ("n_monthly", 10012)]


def test_keys_are_renamed_through_derived_columns_joins_and_using():
    sql = f"""
    with a as (select {HEAD}, e.to_artifact_id, sum(e.amount) as x from oso.events_daily e where {RANGE} group by 1, 2, 3),
    b as (select metrics_sample_date, to_artifact_id, count(*) as n from a group by 1, 2)
    select a.metrics_sample_date, a.event_source, coalesce(a.to_artifact_id, b.to_artifact_id) as to_artifact_id,
      '' as from_artifact_id, @metric_name() as metric, max(a.x * b.n) as amount
    from a join b using (metrics_sample_date, to_artifact_id) group by 1, 2, 3
    """
    assert amounts(sql, "project") == {"p1": 11, "p2": 1, "p3": 10000}


def test_windows_over_the_key_follow_it():
    sql = f"""
    select metrics_sample_date, event_source, to_artifact_id, '' as from_artifact_id, metric, max(running) as amount from (
      select {HEAD}, e.to_artifact_id, @metric_name() as metric,
        sum(e.amount) over (partition by e.to_artifact_id order by e.amount) as running
      from oso.events_daily e where {RANGE}
    ) as runs group by 1, 2, 3, 4, 5
    """
    assert amounts(sql, "project") == {"p1": 11, "p2": 1, "p3": 10000}


def test_counting_keys_still_counts_members():
    sql = SUMS.replace("sum(e.amount)", "count(distinct e.to_artifact_id)")
    assert amounts(sql, "project") == {"p1": 2, "p2": 1, "p3": 1}


def test_a_key_that_is_computed_cannot_be_joined_and_oso_says_nothing():
    sql = SUMS.replace("e.to_artifact_id,", "lower(e.to_artifact_id) as to_artifact_id,")
    with pytest.raises(
        CompileError, match="events_daily cannot be joined to 'project': its to_artifact_id is computed"
    ):
        amounts(sql, "project")
    metric = sql_metric(sql)
    query = text(metric, Model("m", "project", MONTH), context(project("oso", m=metric)), **JANUARY)
    assert "artifacts_by_project_v1" not in query


def test_a_source_nobody_declared_is_an_error_and_by_oso_left_at_artifacts():
    with pytest.raises(duckdb.BinderException):
        amounts(SUMS, "project", sources=("other_events",))
    metric = sql_metric(SUMS, views=Views(entities=("project",), grains=(Grain.MONTH,)))
    metric = replace(metric, definition=replace(metric.definition, sources=("other_events",)))
    for compat, severity in ((None, "error"), ("oso", "warning")):
        found = [d for d in check_definition(metric, context(project(compat, m=metric))) if d.code == "entity-join"]
        assert [d.severity for d in found] == [severity]
        assert "stays at artifact level" in found[0].message and "reads events_daily" in found[0].hint


def test_an_entity_that_cannot_be_reached_names_the_nearest():
    with pytest.raises(CompileError, match="'artifact' does not roll up to 'projekt'") as caught:
        text(sql_metric(SUMS), Model("m", "projekt", MONTH), context(project(m=sql_metric(SUMS))), **JANUARY)
    assert caught.value.hint == "did you mean 'project'?"


FIRM = Entity(name="firm", key="firm_id")
SHOP = Entity(name="shop", key="shop_id", rolls_up_to=(
    RollUp(parent="firm", through="owners", child_key="shop", parent_key="owner", valid_from="since", valid_to="till"),
))  # fmt: skip
TILL = Entity(name="till", key="till_id", rolls_up_to=(
    RollUp(parent="shop", through="tills", child_key="till_id", parent_key="shop_id"),
))  # fmt: skip
SALES = """
select @metrics_sample_date(day) as metrics_sample_date, '' as event_source, till_id, '' as from_till_id,
  @metric_name() as metric, sum(amount) as amount
from sales where day between @metrics_start('DATE') and @metrics_end('DATE') group by 1, 2, 3
"""


def firms(time, **dates):
    """Return what firms sold: till t1 is in shop s1, which changes hands on 10 January, and is listed twice before."""
    con = duckdb.connect()
    con.execute(
        "CREATE TABLE sales AS SELECT * FROM (VALUES (DATE '2024-01-09', 't1', 1), (DATE '2024-01-10', 't1', 10)) s(day, till_id, amount);"
        "CREATE TABLE raw_tills AS SELECT 't1' AS till_id, 's1' AS shop_id;"
        "CREATE TABLE owners AS SELECT * FROM (VALUES ('s1', 'f1', NULL, DATE '2024-01-10'),"
        " ('s1', 'f1', DATE '2024-01-01', DATE '2024-01-10'), ('s1', 'f2', DATE '2024-01-10', NULL)) o(shop, owner, since, till)"
    )
    metric = sql_metric(SALES, views=Views(entities=("firm",), grains=(Grain.MONTH,)))
    metric = replace(metric, definition=replace(metric.definition, sources=("sales",)))
    world = Project(
        root=".",
        entities={e.name: e for e in (TILL, SHOP, FIRM)},
        sources={"tills": Source(name="tills", table="raw_tills")},
        metrics={"m": metric},
    )
    query = text(metric, Model("m", "firm", time), context(world), **dates)
    return con.execute(f"SELECT metrics_sample_date, firm_id, amount FROM ({query}) ORDER BY ALL").fetchall()


def test_any_graph_will_do_and_membership_holds_as_of_each_day():
    month = date(2024, 1, 1)
    assert firms(MONTH, **JANUARY) == [(month, "f1", 1), (month, "f2", 10)]


def test_dated_membership_in_windows():
    dates = {"start": date(2024, 1, 9), "end": date(2024, 1, 12)}
    expected = [(9, "f1", 1), (10, "f1", 1), (10, "f2", 10), (11, "f2", 10)]
    found = firms(TimeView(window=Window(2)), **dates)
    assert found == [(date(2024, 1, n), firm, amount) for n, firm, amount in expected]


def test_dated_membership_needs_a_day():
    metric = sql_metric("select till_id, sum(amount) as amount from sales group by 1")
    world = Project(root=".", entities={e.name: e for e in (TILL, SHOP, FIRM)}, metrics={"m": metric})
    metric = replace(metric, definition=replace(metric.definition, sources=("sales",)))
    around = context(replace(world, metrics={"m": metric}))
    with pytest.raises(CompileError, match="does not say which column dates its rows"):
        text(metric, Model("m", "firm", MONTH), around, **JANUARY)


def test_a_key_that_is_put_out_as_oso_names_it_takes_the_name_of_the_other_entity():
    metric = sql_metric(
        f"select {HEAD.replace('e.event_source', 'till_id as to_till_id')}, @metric_name() as metric, count(*) as amount "
        f"from sales e where {RANGE} group by 1, 2, 3"
    )
    metric = replace(metric, definition=replace(metric.definition, sources=("sales",)))
    undated = replace(SHOP, rolls_up_to=())
    world = Project(root=".", entities={e.name: e for e in (TILL, undated)}, metrics={"m": metric})
    query = text(metric, Model("m", "shop", MONTH), context(world), **JANUARY)
    assert "AS to_shop_id" in query and "to_till_id" not in query


@pytest.mark.parametrize(
    ("sql", "told"),
    [
        ("with raw as (select * from oso.events_daily) select {} from raw e where e.bucket_day > @metrics_start('DATE')", True),
        ("with raw as (select to_artifact_id, event_source, bucket_day, from_artifact_id from oso.events_daily) select {} from raw e", False),
        ("select {} from oso.events_daily e", False),
    ],
)  # fmt: skip
def test_what_is_worked_out_before_it_is_joined_is_told_unless_it_adds_up(sql, told):
    head = "@metrics_sample_date(e.bucket_day) as metrics_sample_date, e.event_source, e.to_artifact_id, '' as from_artifact_id, "
    for amount, differs in (("count(distinct e.from_artifact_id)", True), ("count(*)", False)):
        query = sql.format(f"{head} @metric_name() as metric, {amount} as amount") + " group by 1, 2, 3, 4, 5"
        metric = sql_metric(query, views=Views(entities=("artifact", "project"), grains=(Grain.DAY,)))
        found = check_definition(metric, context(project(m=metric)))
        codes = [each.code for each in found if each.code == "joined-last"]
        assert codes == ["joined-last"] * (told and differs)
