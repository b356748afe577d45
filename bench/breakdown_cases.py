"""Contenders of the breakdowns: the same metrics by day, in total and by each of three dimensions.

Each brings bucket, value of the dimension, value and the rows behind it into memory, metric by metric and dimension by
dimension.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa

from bench.collector_cases import KEY, SPAN, WITHIN, plain
from tallystick.collect.read import read_series
from tallystick.compiler.series import Wanted
from tallystick.definitions.metric import Aggregate, Metric
from tallystick.definitions.project import Project, Settings
from tallystick.definitions.source import Source
from tallystick.engines.adapter import Engine
from tallystick.sql.grain import Grain

SMALL = ("event_source", "event_type")
LARGE = "to_artifact_id"
HEADS = (None, *SMALL, LARGE)
SUMS = {"m0": "sum(amount)", "m1": "avg(amount)", "m2": "max(amount)"}
DISTINCT = f"count(distinct {KEY})"
# Bucket, dimension, value and n of every point.
Columns = tuple[Any, Any, Any, Any]
Found = dict[str, Columns]


def asked(*, distinct: bool) -> dict[str, str]:
    """Return the aggregates by name of metric."""
    return {**SUMS, "m3": DISTINCT} if distinct else dict(SUMS)


def tally(engine: Engine, exprs: dict[str, str], table: str) -> Found:
    """Read all of them with Tallystick."""
    shop = Project(
        root=".",
        settings=Settings(dialect="duckdb"),
        sources={"events": Source(name="events", table=table, time="time")},
        metrics={
            name: Metric(name=name, definition=Aggregate(source="events", expr=expr)) for name, expr in exprs.items()
        },
    )
    wanted = [Wanted(metric=name, grain=Grain.DAY, by=by) for name in exprs for by in HEADS]
    found: Found = {}
    for read in read_series(engine, shop, wanted, SPAN):
        if read.error or read.columns is None:
            raise RuntimeError(f"{read.wanted}: {read.error}")
        columns = read.columns
        found[f"{read.wanted.metric} by {read.wanted.by}"] = (
            columns.bucket, columns.dimension, columns.value, columns.n,
        )  # fmt: skip
    return found


def day_of(dialect: str) -> str:
    """Return the bucket of a row as the dialect has it."""
    return "toStartOfDay(time)" if dialect == "clickhouse" else "date_trunc('day', time)"


def _from(engine: Engine, table: str, head: tuple[str, ...], exprs: list[str]) -> str:
    columns = [f"{day_of(engine.dialect)} AS b", *head, *(f"{expr} AS v{place}" for place, expr in enumerate(exprs))]
    return f"SELECT {', '.join(columns)}, count(*) AS n FROM {table} WHERE {WITHIN}"


def _by(count: int) -> str:
    return ", ".join(str(place + 1) for place in range(count))


def separate(engine: Engine, exprs: dict[str, str], table: str) -> Found:
    """Run one query per metric and dimension."""
    found: Found = {}
    for by in HEADS:
        head = () if by is None else (by,)
        for name, expr in exprs.items():
            answer = engine.run(f"{_from(engine, table, head, [expr])} GROUP BY {_by(1 + len(head))}")
            found |= _columns(answer, by, [name], len(head))
    return found


def _columns(answer: pa.Table, by: str | None, names: list[str], width: int) -> Found:
    """Return the columns of metrics from an answer: bucket, dimensions, a value each, rows."""
    bucket, n = plain(answer.column(0)), plain(answer.column(answer.num_columns - 1))
    dimension = None if by is None else answer.column(by)
    return {
        f"{name} by {by}": (bucket, dimension, plain(answer.column(1 + width + place)), n)
        for place, name in enumerate(names)
    }


def grouping_sets(engine: Engine, exprs: dict[str, str], table: str) -> Found:
    """Run one query with a grouping set per dimension, and tell its rows apart."""
    names = (*SMALL, LARGE)
    sets = ", ".join("(b)" if by is None else f"(b, {by})" for by in HEADS)
    inner = f"SELECT {day_of(engine.dialect)} AS b, {', '.join(names)}, amount, {KEY} FROM {table} WHERE {WITHIN}"
    values = ", ".join(f"{expr} AS v{place}" for place, expr in enumerate(exprs.values()))
    flags = ", ".join(f"grouping({name}) AS g_{name}" for name in names)
    answer = engine.run(
        f"SELECT b, {', '.join(names)}, {values}, {flags}, count(*) AS n FROM ({inner}) AS r GROUP BY GROUPING SETS ({sets})"
    )
    found: Found = {}
    present = np.array([plain(answer.column(f"g_{name}")) for name in names]) == 0
    for by in HEADS:
        mine = ~present.any(axis=0) if by is None else present[names.index(by)]
        part = answer.filter(pa.array(mine)).drop_columns([f"g_{name}" for name in names])
        found |= _columns(part, by, list(exprs), len(names))
    return found


def by_hand(engine: Engine, exprs: dict[str, str], table: str) -> Found:
    """Read small dimensions and the total from one grouping, the large one by itself, distinct keys by masks."""
    own = engine.run(f"{_from(engine, table, (LARGE,), list(exprs.values()))} GROUP BY {_by(2)}")
    found = _columns(own, LARGE, list(exprs), 1)
    parts = ["sum(amount)", "max(amount)"]
    answer = engine.run(f"{_from(engine, table, SMALL, parts)} GROUP BY {_by(3)}")
    total, most, n = (plain(answer.column(f"{name}")) for name in ("v0", "v1", "n"))
    bucket, day = np.unique(plain(answer.column(0)), return_inverse=True)
    for by in (None, *SMALL):
        encoded = None if by is None else _encoded(answer.column(by))
        size = 1 if encoded is None else len(encoded.dictionary)
        code = day * size + (0 if encoded is None else encoded.indices.to_numpy())
        keys, row = np.unique(code, return_inverse=True)
        sums, rows = np.bincount(row, total), np.bincount(row, n)
        highest = np.full(len(keys), -1)
        np.maximum.at(highest, row, most)
        dimension = None if encoded is None else encoded.dictionary.take(pa.array(keys % size))
        for name, values in (("m0", sums), ("m1", sums / rows), ("m2", highest)):
            found[f"{name} by {by}"] = (bucket[keys // size], dimension, values, rows)
        if "m3" in exprs:
            wanted = [None] if encoded is None else encoded.dictionary.to_pylist()
            counts = _distinct(engine, table, by, wanted)
            found[f"m3 by {by}"] = (bucket[keys // size], dimension, counts[keys % size, keys // size], rows)
    return found


def _encoded(column: Any) -> Any:
    column = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    return column if pa.types.is_dictionary(column.type) else column.dictionary_encode()


_KEPT: dict[int, dict[tuple[str | None, str | None], Any]] = {}


def _distinct(engine: Engine, table: str, by: str | None, wanted: list[str | None]) -> Any:
    """Return distinct counts by value and day; the total's query counts those of all small dimensions."""
    if by is None:
        kinds = [(None, None)]
        for name in SMALL:
            listed = engine.run(f"SELECT DISTINCT {name} AS v FROM {table}").column(0)
            kinds += [(name, value) for value in _encoded(listed).dictionary.to_pylist()]
        _KEPT[id(engine)] = dict(zip(kinds, _masked(engine, table, kinds), strict=True))
    return np.array([_KEPT[id(engine)][by, value] for value in wanted])


def _masked(engine: Engine, table: str, kinds: list[tuple[str | None, str | None]]) -> list[Any]:
    house = engine.dialect == "clickhouse"
    bit, merge = ("bitTest(mk, {})", "groupBitOr") if house else ("(mk >> {}) & 1", "bit_or")
    mask = " + ".join(
        str(1 << place) if by is None else f"CAST(CASE WHEN {by} = '{value}' THEN {1 << place} ELSE 0 END AS BIGINT)"
        for place, (by, value) in enumerate(kinds)
    )
    sums = ", ".join(f"CAST(sum({bit.format(place)}) AS BIGINT) AS c{place}" for place in range(len(kinds)))
    answer = engine.run(
        f"SELECT b, {sums} FROM (SELECT {day_of(engine.dialect)} AS b, {KEY}, {merge}({mask}) AS mk FROM {table} "
        f"WHERE {WITHIN} GROUP BY 1, 2) AS u GROUP BY b ORDER BY b"
    )
    return [plain(answer.column(1 + place)) for place in range(len(kinds))]


def fingerprint(columns: Columns) -> str:
    """Return a hash of points in order of bucket and dimension, values to nine digits."""
    bucket, dimension, value, n = columns
    if hasattr(bucket, "codes"):
        starts = np.array([moment.replace(tzinfo=None) for moment in bucket.names], "datetime64[us]")
        bucket, value = starts[bucket.codes], value.data
    names = np.zeros(len(n), np.int64)
    listed: list[str] = []
    if hasattr(dimension, "codes"):
        listed, codes = [str(name) for name in dimension.names], dimension.codes
    elif dimension is not None:
        encoded = _encoded(dimension)
        listed, codes = [str(name) for name in encoded.dictionary.to_pylist()], encoded.indices.to_numpy()
    if listed:
        rank = np.empty(len(listed), np.int64)
        rank[np.argsort(np.array(listed))] = np.arange(len(listed))
        names = rank[codes]
    order = np.lexsort((names, bucket))
    digest = hashlib.sha256(bucket[order].astype("datetime64[us]").astype(np.int64).tobytes())
    digest.update(repr(sorted(listed)).encode())
    for column in (names[order], np.round(value[order].astype(float), 9), n[order].astype(np.int64)):
        digest.update(np.ascontiguousarray(column).tobytes())
    return f"{len(n)} {digest.hexdigest()[:16]}"


CASES: dict[str, Callable[[Engine, dict[str, str], str], Found]] = {
    "tally": tally,
    "separate": separate,
    "grouping sets": grouping_sets,
    "by hand": by_hand,
}
