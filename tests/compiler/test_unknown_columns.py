"""Columns that SQL definitions read and their tables do not have; what DuckDB can read is never told of."""

from __future__ import annotations

import duckdb
import pytest

import oso_world
from tallystick.compiler.definition_context import definition_context
from tallystick.compiler.unknown_columns import unknown_columns
from tallystick.definitions.metric import Metric, SqlQuery
from tallystick.definitions.origin import Origin
from tallystick.definitions.project import Project
from tallystick.errors import Location

TABLES = """
CREATE SCHEMA shop;
CREATE TABLE shop.events (day DATE, kind VARCHAR, store VARCHAR, amount INTEGER, tags VARCHAR[], extra STRUCT(a INTEGER, b STRUCT(c INTEGER)));
CREATE TABLE shop.stores (store VARCHAR, region VARCHAR, "Odd Name" INTEGER);
"""
KNOWN = {
    "shop.events": {"day", "kind", "store", "amount", "tags", "extra"},
    "shop.stores": {"store", "region", "odd name"},
}
READABLE = [
    "select e.day, E.AMOUNT, kind from shop.events as e",
    "select events.day, shop.events.amount from shop.events",
    "select amount as n, n + 1 as m from shop.events where n > 1 group by all having m > 2 order by m",
    "select extra.a, e.extra.b.c, (extra).b.c from shop.events e",
    "select list_transform(tags, x -> x || kind), list_filter(tags, lambda y : y = kind) from shop.events",
    "select [z for z in tags if z <> kind] from shop.events",
    "select t.tag, u from shop.events, unnest(tags) as t(tag), unnest([1, 2]) as v(u)",
    "select unnest(tags) as tag from shop.events",
    "select a, b from (select day, amount from shop.events) as d(a, b)",
    "with d(a, b) as (select day, amount from shop.events) select a, d.b from d",
    "with d as (select * from shop.events), f as (select d.*, 1 as one from d) select amount, one from f",
    "with recursive r as (select 1 as n union all select n + 1 from r where n < 3) select n from r",
    "select e.amount, s.region from shop.events e join shop.stores s using (store) where store > 'a'",
    'select s."Odd Name", "odd name" from shop.stores s',
    "select kind, (select max(region) from shop.stores s where s.store = e.store and amount > 1) as r from shop.events e",
    "select * exclude (tags), amount * 2 as twice from shop.events",
    "select columns('a.*') from shop.events",
    "select e from shop.events e",
    "select amount, rowid from shop.events window w as (partition by store order by day) qualify row_number() over w = 1",
    "select n from (values (1), (2)) as v(n)",
    "select day from shop.events union all select current_date order by day",
    "select kind from shop.events where exists (select 1 from shop.stores where stores.store = events.store)",
    "select sum(amount) filter (where kind = 'a') from shop.events group by store",
    "select l.n from shop.events e, lateral (select e.amount + 1 as n) as l",
    "select x.n from shop.events e, (select e.amount as n) as x",
    "select i from range(3) as r(i), shop.events",
    "select p.* from (pivot shop.events on kind using sum(amount) group by store) as p",
    "select case when amount > 1 then kind end as kind, count(*) from shop.events group by 1",
    "select struct_pack(k := kind).k as k from shop.events",
    "select date_trunc('month', day), extract(year from day), interval 1 day + day from shop.events",
    "from shop.events select kind",
]
ELSEWHERE = [
    ("spark", "select t.c, c, kind from shop.events e lateral view outer explode(tags) t as c where c > 1"),
    ("hive", "select c, p from shop.events lateral view posexplode(tags) t as p, c"),
    ("spark", "select date_trunc('month', day), timestampdiff(month, day, now()) from shop.events"),
    ("snowflake", "select f.value:x::int, index, e.extra:c from shop.events e, lateral flatten(input => e.tags) f"),
    ("snowflake", "select $1, metadata$filename, dateadd(month, 1, day), date_trunc(week, day) from shop.events"),
    ("clickhouse", "select a, kind from shop.events array join tags as a"),
    ("clickhouse", "with 5 as n select n, amount from shop.events"),
    ("clickhouse", "with (select max(amount) from shop.events) as top select amount / top from shop.events"),
    (
        "clickhouse",
        "select (amount as x) + x as y, arrayMap((a, b) -> a + b, tags, tags), tags.1 from shop.events where x > 1",
    ),
    ("trino", "select a, t.b, transform(tags, x -> x || kind) from shop.events cross join unnest(tags) as t(a, b)"),
    ("postgres", "select x.a, e.ctid, (e.extra).a from shop.events e, jsonb_to_recordset(e.extra) as x(a int, b text)"),
    ("postgres", "select v.n, elem from shop.events, unnest(tags) with ordinality as v(elem, n)"),
    ("postgres", "select t.v from shop.events e cross join lateral (values (e.amount)) as t(v)"),
    ("bigquery", "select a.x, pos from shop.events e, e.tags as a, unnest(e.tags) as b with offset as pos"),
    ("bigquery", "with d as (select as value struct(day, kind) from shop.events) select day from d"),
    (
        "bigquery",
        "select _table_suffix, date_trunc(day, isoweek), date_diff(day, current_date(), week(monday)) from shop.events",
    ),
]
WRONG = [
    ("select e.day, e.amuont from shop.events e", "amuont", (1, 17), "amount"),
    ("select day\nfrom shop.events\nwhere kidn = 'a'", "kidn", (3, 7), "kind"),
    ("with d as (select amount as total from shop.events)\nselect d.totl, total from d", "totl", (2, 10), "total"),
    ("with d as (select amout from shop.events) select 1 from d", "amout", (1, 19), "amount"),
    ("select kind from shop.events e where e.store in (select s.stor from shop.stores s)", "stor", (1, 59), "store"),
    ("select e.kind from shop.events e join shop.stores s on s.store = e.sore", "sore", (1, 68), "store"),
    ("select 1 from shop.events union all select amont from shop.stores, shop.events", "amont", (1, 44), "amount"),
    ("select 'amuont' as a, sum(amuont) as b from shop.events e group by 1", "amuont", (1, 27), "amount"),
]


def found(sql, dialect=None):
    origin = Origin(Location("metrics/one.sql", 1, 1))
    metric = Metric(name="one", definition=SqlQuery(sql=sql, dialect=dialect), origin=origin)
    return unknown_columns(metric, definition_context(Project(root=".", metrics={"one": metric})), KNOWN)


@pytest.fixture(scope="module")
def connection():
    with duckdb.connect() as opened:
        opened.execute(TABLES)
        yield opened


@pytest.mark.parametrize("sql", READABLE)
def test_what_can_be_read_is_not_told_of(connection, sql):
    connection.execute(f"DESCRIBE {sql}")
    assert found(sql) == ()


@pytest.mark.parametrize(("dialect", "sql"), ELSEWHERE)
def test_what_other_dialects_can_read_is_not_told_of(dialect, sql):
    assert found(sql, dialect) == ()


@pytest.mark.parametrize(("sql", "name", "place", "near"), WRONG)
def test_a_column_that_no_table_has_is_told_at_its_place(connection, sql, name, place, near):
    with pytest.raises(duckdb.BinderException, match=name):
        connection.execute(f"DESCRIBE {sql}")
    (finding,) = found(sql)
    assert f"no column '{name}'" in finding.message and f"'{near}'" in finding.hint
    assert (finding.code, finding.file, finding.line, finding.column) == ("unknown-column", "metrics/one.sql", *place)


def test_nothing_is_said_about_tables_that_are_not_known():
    assert found("select e.anything, other from elsewhere e") == ()
    assert found("select other, e.kind from shop.events e, elsewhere") == ()
    assert found("select p.amount from @metrics_peer_ref(one, time_aggregation := 'daily') as p") == ()


def test_macros_are_read_past():
    sql = "select @metrics_sample_date(e.dya) as d, @metric_name() as metric from shop.events e where day > @metrics_start('DATE')"
    (finding,) = found(sql)
    assert "'dya'" in finding.message and finding.hint == "did you mean 'day'?"


def test_names_with_that_of_the_entity_in_them_are_not_looked_up():
    column = "@metrics_entity_type_col('to_{entity_type}_id', table_alias := "
    named = f"with d as (select e.amount, {column}e, include_column_alias := true) from other e) select d.to_store_id from d"
    assert found(named) == ()
    acting = "with d as (select e.amount from shop.events e) select " + column + "d) from d"
    assert found(acting) == ()


def test_nothing_is_said_about_definitions_in_osos_style():
    con, project = oso_world.connect(), oso_world.project()
    rows = con.execute("SELECT table_name, column_name FROM duckdb_columns() WHERE schema_name = 'oso'").fetchall()
    known = {f"oso.{table}": {column for of, column in rows if of == table} for table, _ in rows}
    around = oso_world.context(project)
    assert [unknown_columns(metric, around, known) for metric in project.metrics.values()] == [()] * 17
