"""The best SQL we could write by hand for one metric: change points and views, nothing kept for tomorrow.

It knows everything in advance: types, that sums fit 64 bits, how many bits a packed key needs, and that no id is NULL.
"""

from __future__ import annotations

from collections.abc import Callable

import duckdb

Run = Callable[[str], object]
EPOCH = 19_723
BITS = 20
WINDOWS = (30, 90, 180)
LEVELS = ("artifact", "project", "collection")


def build(connection: duckdb.DuckDBPyConnection, metric: str, last: int) -> None:
    """Build the 21 models of a metric up to day number `last`."""
    run = connection.execute
    run("CREATE SCHEMA IF NOT EXISTS tally")
    kind = {"stars": "STARRED", "devs": "COMMIT_CODE"}[metric]
    day = "(time::DATE - DATE '1970-01-01')::INTEGER"
    if metric == "stars":
        run(
            f"CREATE TEMP TABLE g AS SELECT to_artifact_id AS aid, {day} AS day, sum(amount)::BIGINT AS v FROM events "
            f"WHERE event_type = '{kind}' GROUP BY ALL"
        )
    else:
        run(
            f"CREATE TEMP TABLE g AS SELECT DISTINCT to_artifact_id AS aid, {day} AS day, from_artifact_id AS u "
            f"FROM events WHERE event_type = '{kind}'"
        )
    _closure(run)
    run(
        "CREATE TEMP TABLE days AS SELECT d AS day, d - (d + 3) % 7 AS week, "
        "(date_trunc('month', DATE '1970-01-01' + d)::DATE - DATE '1970-01-01')::INTEGER AS month "
        f"FROM (SELECT unnest(range({EPOCH}, {last} + 1))::INTEGER AS d)"
    )
    if metric == "stars":
        _sums(run, last)
    else:
        _distinct(run, last)
    _views(run, metric, last)


def _closure(run: Run) -> None:
    arms = (
        "SELECT DISTINCT aid, 0 AS level, aid AS id FROM g",
        "SELECT DISTINCT aid, 1, project_id FROM (SELECT DISTINCT aid FROM g) JOIN artifacts_by_project ON artifact_id = aid",
        "SELECT DISTINCT aid, 2, collection_id FROM (SELECT DISTINCT aid FROM g) "
        "JOIN artifacts_by_project ON artifact_id = aid JOIN projects_by_collection USING (project_id)",
    )
    run(f"CREATE TEMP TABLE closure0 AS {' UNION ALL '.join(arms)}")
    run(
        "CREATE TABLE tally.entity AS SELECT (row_number() OVER (ORDER BY level, id) - 1)::INTEGER AS eid, level, id "
        "FROM (SELECT DISTINCT level, id FROM closure0)"
    )
    run("CREATE TEMP TABLE closure AS SELECT aid, eid FROM closure0 JOIN tally.entity USING (level, id)")


def _sums(run: Run, last: int) -> None:
    run(
        "CREATE TABLE tally.days AS SELECT eid, day, sum(v)::BIGINT AS value FROM g JOIN closure USING (aid) "
        "GROUP BY ALL ORDER BY eid, day"
    )
    for grain in ("week", "month"):
        run(
            f"CREATE TABLE tally.{grain} AS SELECT eid, {grain} AS day, sum(value)::BIGINT AS value FROM tally.days "
            "JOIN days USING (day) GROUP BY ALL ORDER BY ALL"
        )
    run("CREATE TABLE tally.ever AS SELECT eid, sum(value)::BIGINT AS value FROM tally.days GROUP BY ALL")
    for window in WINDOWS:
        _points(
            run,
            window,
            last,
            f"SELECT {_cell('day')} AS k, value AS v FROM tally.days",
            f"SELECT {_cell(f'day + {window}')}, -value FROM tally.days",
        )


def _distinct(run: Run, last: int) -> None:
    run(
        f"CREATE TEMP TABLE packed AS SELECT (eid::BIGINT << 31) + (u << 11) + (day - {EPOCH}) AS k FROM g "
        "JOIN closure USING (aid) ORDER BY k"
    )
    around = "SELECT k, lag(k, 1, -1) OVER () AS p, lead(k, 1, -1) OVER () AS n FROM packed"
    flags = ", ".join(
        f"count(*) FILTER (WHERE p <= day - {w}) AS e{w}, count(*) FILTER (WHERE n >= day + {w}) AS x{w}"
        for w in WINDOWS
    )
    run(
        f"CREATE TEMP TABLE c AS WITH a AS MATERIALIZED ({around}) "
        "SELECT eid, day, count(*) FILTER (WHERE p < day) AS value, count(*) FILTER (WHERE p < week) AS week, "
        f"count(*) FILTER (WHERE p < month) AS month, count(*) FILTER (WHERE p < 0) AS ever, {flags} FROM ("
        f"SELECT (k >> 31)::INTEGER AS eid, (k & 2047)::INTEGER + {EPOCH} AS day, "
        f"CASE WHEN p >> 11 = k >> 11 THEN (p & 2047)::INTEGER + {EPOCH} ELSE -9999 END AS p, "
        f"CASE WHEN n >> 11 = k >> 11 THEN (n & 2047)::INTEGER + {EPOCH} ELSE 999999 END AS n FROM a) "
        "JOIN days USING (day) GROUP BY eid, day"
    )
    run("CREATE TABLE tally.days AS SELECT eid, day, value FROM c ORDER BY eid, day")
    for grain in ("week", "month"):
        run(
            f"CREATE TABLE tally.{grain} AS SELECT eid, days.{grain} AS day, sum(c.{grain})::BIGINT AS value FROM c "
            "JOIN days USING (day) GROUP BY ALL ORDER BY ALL"
        )
    run("CREATE TABLE tally.ever AS SELECT eid, sum(ever)::BIGINT AS value FROM c GROUP BY ALL")
    for w in WINDOWS:
        _points(
            run,
            w,
            last,
            f"SELECT {_cell('day')} AS k, e{w} AS v FROM c WHERE e{w} <> 0",
            f"SELECT {_cell(f'day + {w}')}, -x{w} FROM c WHERE x{w} <> 0",
        )


def _cell(day: str) -> str:
    return f"(eid::BIGINT << {BITS}) + ({day} - {EPOCH})"


def _points(run: Run, window: int, last: int, enter: str, leave: str) -> None:
    mask = 2**BITS - 1
    running = (
        "SELECT k, lead(k, 1, -1) OVER () AS n, sum(v) OVER (ROWS UNBOUNDED PRECEDING) AS v "
        f"FROM (SELECT * FROM ({enter} UNION ALL {leave}) ORDER BY k)"
    )
    run(
        f"CREATE TABLE tally.over_{window} AS WITH r AS MATERIALIZED (SELECT * FROM ({running}) WHERE k <> n AND v > 0) "
        f"SELECT (k >> {BITS})::INTEGER AS eid, (k & {mask})::INTEGER + {EPOCH} AS day, "
        f"CASE WHEN n >> {BITS} = k >> {BITS} THEN least((n & {mask})::INTEGER + {EPOCH}, {last} + 1) ELSE {last} + 1 END AS nxt, "
        f"v::BIGINT AS value FROM r WHERE (k & {mask})::INTEGER + {EPOCH} <= {last}"
    )


def _views(run: Run, metric: str, last: int) -> None:
    for level, entity in enumerate(LEVELS):
        join = f"JOIN tally.entity AS e ON e.eid = c.eid WHERE level = {level}"
        simple = {"daily": "days", "weekly": "week", "monthly": "month"}
        for ending, table in simple.items():
            run(
                f"CREATE VIEW tally.{metric}_to_{entity}_{ending} AS SELECT DATE '1970-01-01' + day AS bucket, id AS "
                f"{entity}_id, value FROM tally.{table} AS c {join}"
            )
        run(
            f"CREATE VIEW tally.{metric}_to_{entity}_over_all_time AS SELECT DATE '1970-01-01' + {last} AS bucket, "
            f"id AS {entity}_id, value FROM tally.ever AS c {join}"
        )
        for window in WINDOWS:
            run(
                f"CREATE VIEW tally.{metric}_to_{entity}_over_{window}_day_window AS SELECT DATE '1970-01-01' + "
                f"unnest(range(day, nxt))::INTEGER AS bucket, id AS {entity}_id, value FROM tally.over_{window} AS c {join}"
            )
