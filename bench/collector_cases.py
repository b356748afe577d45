"""What one measured process of the collector's benchmarks does: `python -m bench.collector_cases turns JSON`.

Every contender brings the points of the same metrics into memory as columns: bucket, value and the rows behind it.
"""

from __future__ import annotations

import hashlib
import json
import random
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from bench.children import measured
from bench.data import TYPES
from tallystick.collect.read import read_series
from tallystick.compiler.series import Wanted
from tallystick.compiler.span import Span
from tallystick.definitions.metric import Aggregate, Metric
from tallystick.definitions.project import Project, Settings
from tallystick.definitions.source import Source
from tallystick.engines.adapter import Engine
from tallystick.engines.duckdb import DuckDBEngine
from tallystick.sql.grain import Grain

SPAN = Span(datetime(2024, 1, 1, tzinfo=UTC), datetime(2026, 1, 1, tzinfo=UTC))
AGGREGATES = ("count(*)", "sum(amount)", "avg(amount)", "min(amount)", "max(amount)")
KEY = "from_artifact_id"
# What every reading of a window has to say, hand-written or not (spec tripl §7.4).
WITHIN = "time >= '2024-01-01 00:00:00' AND time < '2026-01-01 00:00:00'"
# Bucket, value and n of every point of a metric.
Columns = tuple[Any, Any, Any]


@dataclass(frozen=True)
class Asked:
    """One metric as contenders see it: an aggregate and the values its filter takes."""

    name: str
    expr: str
    types: tuple[str, ...]
    source: str | None
    least: int | None

    @property
    def conditions(self) -> tuple[str, ...]:
        """Return the filter as SQL conditions."""
        listed = ", ".join(f"'{name}'" for name in self.types)
        found = [f"event_type IN ({listed})"]
        if self.source:
            found.append(f"event_source = '{self.source}'")
        if self.least:
            found.append(f"amount >= {self.least}")
        return tuple(found)


def asked(count: int, *, distinct: bool) -> list[Asked]:
    """Return metrics with filters over event type, optionally source and amount (spec performance §4)."""
    choice = random.Random(4)  # noqa: S311 - metrics, not secrets
    return [
        Asked(
            f"m{index}",
            f"count(distinct {KEY})" if distinct else AGGREGATES[index % len(AGGREGATES)],
            tuple(sorted(choice.sample(TYPES, choice.randint(1, 3)))),
            choice.choice((None, "GITHUB", "GITLAB")),
            choice.choice((None, None, 2, 3)),
        )
        for index in range(count)
    ]


def project(metrics: list[Asked], table: str) -> Project:
    """Return the project that asks for the metrics."""
    return Project(
        root=".",
        settings=Settings(dialect="duckdb"),
        sources={"events": Source(name="events", table=table, time="time")},
        metrics={
            each.name: Metric(
                name=each.name, definition=Aggregate(source="events", expr=each.expr, where=each.conditions)
            )
            for each in metrics
        },
    )


def tally(engine: Engine, metrics: list[Asked], table: str) -> dict[str, Columns]:
    """Read all metrics with Tallystick."""
    shop = project(metrics, table)
    wanted = [Wanted(metric=each.name, grain=Grain.HOUR) for each in metrics]
    found: dict[str, Columns] = {}
    for read in read_series(engine, shop, wanted, SPAN):
        if read.error or read.columns is None:
            raise RuntimeError(f"{read.wanted.metric}: {read.error}")
        columns = read.columns
        found[read.wanted.metric] = (columns.bucket, columns.value, columns.n)
    return found


def one_each(engine: Engine, metrics: list[Asked], table: str) -> dict[str, Columns]:
    """Run one query per metric, written by hand."""
    hour = hour_of(engine.dialect)
    found: dict[str, Columns] = {}
    for each in metrics:
        where = " AND ".join([*each.conditions, WITHIN])
        answer = engine.run(
            f"SELECT {hour} AS b, {each.expr} AS v, count(*) AS n FROM {table} WHERE {where} GROUP BY 1"
        )
        found[each.name] = tuple(plain(answer.column(index)) for index in range(3))  # type: ignore[assignment]
    return found


def hour_of(dialect: str) -> str:
    """Return the bucket of a row as the dialect has it."""
    return "toStartOfHour(time)" if dialect == "clickhouse" else "date_trunc('hour', time)"


def one_query(engine: Engine, metrics: list[Asked], table: str) -> dict[str, Columns]:
    """Run one query with a FILTER clause per aggregate, written by hand."""
    calls: list[str] = []
    for each in metrics:
        where = " AND ".join(each.conditions)
        calls += [f"{each.expr} FILTER (WHERE {where})", f"count(*) FILTER (WHERE {where})"]
    listed = ", ".join(f"{call} AS c{index}" for index, call in enumerate(calls))
    answer = engine.run(f"SELECT {hour_of(engine.dialect)} AS b, {listed} FROM {table} WHERE {WITHIN} GROUP BY 1")
    bucket = plain(answer.column(0))
    found: dict[str, Columns] = {}
    for index, each in enumerate(metrics):
        value, n = plain(answer.column(1 + 2 * index)), plain(answer.column(2 + 2 * index))
        where = n > 0
        found[each.name] = (bucket[where], value[where], n[where])
    return found


def by_hand(engine: Engine, metrics: list[Asked], table: str) -> dict[str, Columns]:
    """Group by the columns of the filters, then add up with matrices: the best that is known for many metrics."""
    answer = engine.run(
        f"SELECT {hour_of(engine.dialect)} AS b, event_type, event_source, amount, count(*) AS n "
        f"FROM {table} WHERE {WITHIN} GROUP BY 1, 2, 3, 4"
    )
    bucket, group = np.unique(plain(answer.column(0)), return_inverse=True)
    names = [answer.column(index).combine_chunks().dictionary_encode() for index in (1, 2, 3)]
    values = [encoded.dictionary.to_pylist() for encoded in names]
    code = np.zeros(len(group), np.int64)
    for encoded, known in zip(names, values, strict=True):
        code = code * len(known) + encoded.indices.to_numpy()
    atoms = [(kind, source, amount) for kind in values[0] for source in values[1] for amount in values[2]]
    matrix = np.zeros((len(atoms), len(bucket)))
    matrix[code, group] = plain(answer.column(4))
    amounts = np.array([amount for _, _, amount in atoms], float)
    chosen = np.array([[_passes(each, atom) for atom in atoms] for each in metrics])
    n = chosen.astype(float) @ matrix
    distinct = _distinct_by_hand(engine, metrics, table) if "distinct" in metrics[0].expr else None
    total = (chosen * amounts) @ matrix if distinct is None else n
    found: dict[str, Columns] = {}
    for index, each in enumerate(metrics):
        where = n[index] > 0
        if distinct is not None:
            value = distinct[index][where]
        elif each.expr.startswith("m"):
            lines = np.where(matrix[chosen[index]] > 0, amounts[chosen[index]][:, None], np.nan)
            value = (np.nanmin if each.expr.startswith("min") else np.nanmax)(lines[:, where], axis=0)
        else:
            value = {"c": n, "s": total, "a": total}[each.expr[0]][index][where]
            value = value / n[index][where] if each.expr[0] == "a" else value
        found[each.name] = (bucket[where], value, n[index][where])
    return found


def _passes(each: Asked, atom: tuple[str, str, int]) -> bool:
    kind, source, amount = atom
    return kind in each.types and each.source in (None, source) and amount >= (each.least or 0)


def _distinct_by_hand(engine: Engine, metrics: list[Asked], table: str) -> list[Any]:
    """Or the bits of the filters a user's rows pass, per hour, over a table of the masks (spec performance §4)."""
    mask = " + ".join(
        f"CAST(CASE WHEN {' AND '.join(each.conditions)} THEN {1 << index} ELSE 0 END AS BIGINT)"
        for index, each in enumerate(metrics)
    )
    is_house = engine.dialect == "clickhouse"
    bit, once, merge = (
        ("bitTest(mk, {})", "", "groupBitOr") if is_house else ("(mk >> {}) & 1", "MATERIALIZED", "bit_or")
    )
    sums = ", ".join(f"CAST(sum({bit.format(index)}) AS BIGINT) AS c{index}" for index in range(len(metrics)))
    answer = engine.run(
        f"WITH dm AS {once} (SELECT *, {mask} AS mk FROM (SELECT DISTINCT event_type, event_source, amount FROM {table}) AS d) "
        f"SELECT b, {sums} FROM (SELECT {hour_of(engine.dialect)} AS b, {KEY}, {merge}(mk) AS mk FROM {table} "
        f"JOIN dm USING (event_type, event_source, amount) WHERE {WITHIN} GROUP BY 1, 2) AS u GROUP BY b ORDER BY b"
    )
    return [plain(answer.column(1 + index)) for index in range(len(metrics))]


def plain(column: Any) -> Any:
    """Return a column as a numpy array."""
    import pyarrow as pa

    if pa.types.is_decimal(column.type):
        column = column.cast(pa.float64())
    if pa.types.is_uint32(column.type):
        # ClickHouse gives a DateTime out as seconds.
        column = column.cast(pa.int64()).cast(pa.timestamp("s"))
    values = column.to_numpy()
    return values.astype("datetime64[us]") if values.dtype.kind == "M" else values


def fingerprint(columns: Columns) -> str:
    """Return a hash of a metric's points in order of their buckets, values to nine digits."""
    bucket, value, n = columns
    if hasattr(bucket, "codes"):
        starts = np.array([moment.replace(tzinfo=None) for moment in bucket.names], "datetime64[us]")
        bucket, value = starts[bucket.codes], value.data
    order = np.argsort(bucket)
    digest = hashlib.sha256(bucket[order].astype("datetime64[us]").astype(np.int64).tobytes())
    digest.update(np.round(value[order].astype(float), 9).tobytes())
    digest.update(n[order].astype(np.int64).tobytes())
    return f"{len(n)} {digest.hexdigest()[:16]}"


CASES: dict[str, Callable[[Engine, list[Asked], str], dict[str, Columns]]] = {
    "tally": tally,
    "one each": one_each,
    "one query": one_query,
    "by hand": by_hand,
}


def engine_of(options: dict[str, Any]) -> Any:
    """Open the engine a case is about."""
    if options.get("engine", "duckdb") != "duckdb":
        from bench.collector_engines import ENGINES

        return ENGINES[options["engine"]](Path(options["file"]))
    return DuckDBEngine(Path(options["file"]), read_only=True)


def _warm_up() -> None:
    """Do what a collector that runs for days has done before: a small reading, on another engine."""
    engine = DuckDBEngine()
    engine.execute(
        "CREATE TABLE main.warm AS SELECT TIMESTAMP '2024-01-01' AS time, 'STARRED' AS event_type, "
        "'GITHUB' AS event_source, 1 AS amount, 1 AS from_artifact_id"
    )
    tally(engine, [*asked(8, distinct=False), *asked(1, distinct=True)], "main.warm")
    engine.close()


def main(options: dict[str, Any]) -> list[dict[str, Any]]:
    """Run tasks one after the other and return what each cost, with fingerprints of what it read."""
    engine = engine_of(options)
    _warm_up()
    costs = [_task(engine, task) for task in options["tasks"]]
    engine.close()
    return costs


def _task(engine: Any, task: dict[str, Any]) -> dict[str, Any]:
    case, table = task["case"], getattr(engine, "table", "main.events")
    found: dict[str, Any] = {}
    server = getattr(engine, "cpu", lambda: 0.0)
    if "breakdown" in task:
        from bench import breakdown_cases

        exprs = breakdown_cases.asked(distinct=task["distinct"])
        work = partial(breakdown_cases.CASES[case], engine, exprs, table)
        prints = breakdown_cases.fingerprint
    else:
        metrics = asked(task["metrics"], distinct=task["distinct"])
        work, prints = partial(CASES[case], engine, metrics, table), fingerprint
    before = server()
    cost = measured(lambda: found.update(work()))
    cost["cpu"] += server() - before
    cost["result"] = {name: prints(columns) for name, columns in found.items()}
    return cost


if __name__ == "__main__":
    print(json.dumps(main(json.loads(sys.argv[2]))))
