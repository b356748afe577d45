"""What is known of the settled days of metrics, so that late rows are found and counted."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from sqlglot import exp

from tallystick.build.state import table
from tallystick.compiler.one_pass.marks import Marks
from tallystick.engines.adapter import Engine

KNOWN = "_one_pass_known"
_COLUMNS = {
    "prefix": "VARCHAR NOT NULL",
    "kept": "INTEGER NOT NULL",
    "first_day": "INTEGER NOT NULL",
    "marks": "BLOB NOT NULL",
}


@dataclass(frozen=True, slots=True)
class Known:
    """From which day on it is known what was counted of a metric, and the marks of days that are looked at again."""

    kept: int
    marks: Marks


def prepare(engine: Engine) -> None:
    """Create the state table where it is missing."""
    engine.create(KNOWN, _COLUMNS)


def read(engine: Engine) -> dict[str, Known]:
    """Return what is known of metrics whose settled days are looked at, by the prefix of their tables."""
    rows = engine.rows(f"SELECT * FROM {table(engine, KNOWN)}")
    return {
        row["prefix"]: Known(row["kept"], Marks(row["first_day"], np.frombuffer(row["marks"], np.uint64)))
        for row in rows
    }


def write(engine: Engine, prefix: str, known: Known | None, *, is_new: bool) -> None:
    """Replace what is known of one metric; call it inside the transaction that writes its rows."""
    name, here = exp.Literal.string(prefix).sql(), table(engine, KNOWN)
    if known is None:
        if not is_new:
            engine.execute(f"DELETE FROM {here} WHERE prefix = {name}")
        return
    marks = f"from_hex('{known.marks.values.tobytes().hex()}')"
    if is_new:
        engine.execute(f"INSERT INTO {here} VALUES ({name}, {known.kept}, {known.marks.first}, {marks})")
        return
    changes = f"kept = {known.kept}, first_day = {known.marks.first}, marks = {marks}"
    engine.execute(f"UPDATE {here} SET {changes} WHERE prefix = {name}")
