"""Fingerprints: two contenders are equal when every model has the same rows, each with the same values."""

from __future__ import annotations

from pathlib import Path

import duckdb

from bench import naive

Print = dict[str, tuple[int, int, int]]


def fingerprint(
    file: Path, metric: str, *, views: tuple[str, ...] = naive.VIEWS, step: int = 1, first: str | None = None
) -> Print:
    """Return rows, sum and an order-free hash per model.

    Of rolling models every `step`-th day counts only, and of all the buckets from that on in which `first` lies.
    """
    found: Print = {}
    with duckdb.connect(str(file), read_only=True) as connection:
        for entity in naive.ENTITIES:
            for view in views:
                name = naive.name(metric, entity, view)
                columns = [row[0] for row in connection.execute(f"DESCRIBE tally.{name}").fetchall()]
                is_query = "amount" in columns
                bucket, key, value = (columns[0], columns[2], "amount") if is_query else ("bucket", columns[1], "value")
                where = (
                    f"WHERE ({bucket}::DATE - DATE '{naive.BEGIN}') % {step} = 0" if view.isdigit() else "WHERE true"
                )
                if first is not None and view != "all":
                    where += f" AND {bucket}::DATE >= DATE '{naive.bucket(view, first)}'"
                row = connection.execute(
                    f"SELECT count(*), coalesce(sum({value}::BIGINT), 0)::BIGINT, "
                    f"bit_xor(hash({bucket}::DATE, {key}::BIGINT, {value}::BIGINT)) FROM tally.{name} {where}"
                ).fetchone()
                found[name] = row or (0, 0, 0)
    return found


def differences(left: Print, right: Print) -> list[str]:
    """Return the names of models in both that differ."""
    return sorted(name for name in left.keys() & right.keys() if left[name] != right[name])
