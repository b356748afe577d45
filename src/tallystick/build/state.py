"""What has been built: one row per model, written in the same transaction as the model's rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from sqlglot import exp

from tallystick.engines.adapter import Engine
from tallystick.sql.buckets import literal_instant

TABLE = "_models"
HISTORY = "_model_history"
_COLUMNS = {
    "model": "VARCHAR NOT NULL",
    "metric": "VARCHAR NOT NULL",
    "definition_hash": "VARCHAR NOT NULL",
    "storage": "VARCHAR NOT NULL",
    "covered_start": "TIMESTAMP",
    "covered_end": "TIMESTAMP NOT NULL",
    "row_count": "BIGINT",
    "built_at": "TIMESTAMP NOT NULL",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class BuiltState:
    """The state of one built model: which definition, which time is covered (UTC, half-open), how it is stored.

    `row_count` is None where counting would have cost too much.
    """

    model: str
    metric: str
    definition_hash: str
    storage: str
    covered_start: datetime | None
    covered_end: datetime
    row_count: int | None
    built_at: datetime


def prepare(engine: Engine) -> None:
    """Create the state tables where they are missing."""
    engine.create(TABLE, _COLUMNS)
    engine.create(HISTORY, {**_COLUMNS, "relation": "VARCHAR", "retired_at": "TIMESTAMP"})


def read(engine: Engine) -> dict[str, BuiltState]:
    """Return the state of every built model by name."""
    rows = engine.rows(f"SELECT * FROM {table(engine, TABLE)}")
    return {row["model"]: _state(row) for row in rows}


def find(engine: Engine, model: str) -> BuiltState | None:
    """Return the state of one model, None if it has not been built."""
    rows = engine.rows(f"SELECT * FROM {table(engine, TABLE)} WHERE model = {_text(model)}")
    return _state(rows[0]) if rows else None


def _state(row: dict[str, Any]) -> BuiltState:
    return BuiltState(**{**row, **_instants(row)})


def write(engine: Engine, state: BuiltState) -> None:
    """Replace the state of one model; call it inside the transaction that writes its rows."""
    write_all(engine, [state])


def write_all(engine: Engine, states: Sequence[BuiltState], old: Mapping[str, BuiltState] | None = None) -> None:
    """Replace the states of several models at once; call it inside the transaction that writes their rows.

    `old` are those there are, if they are known: where only the time that is covered moved on, no more is written.
    """
    if not states:
        return
    names = ", ".join(_text(state.model) for state in states)
    if engine.capabilities.deletes and _only_moved_on(states, old or {}):
        end, now = (_instant(time, engine.dialect) for time in (states[0].covered_end, states[0].built_at))
        moment = f"covered_end = {end}, built_at = {now}"
        engine.execute(f"UPDATE {table(engine, TABLE)} SET {moment} WHERE model IN ({names})")
        return
    rows = ", ".join(f"({', '.join(_values(state, engine.dialect))})" for state in states)
    if engine.capabilities.deletes:
        engine.execute(f"DELETE FROM {table(engine, TABLE)} WHERE model IN ({names})")
        engine.execute(f"INSERT INTO {table(engine, TABLE)} VALUES {rows}")
        return
    others = f"SELECT * FROM {table(engine, TABLE)} WHERE NOT model IN ({names})"
    _replace(engine, f"{others} UNION ALL SELECT * FROM (VALUES {rows}) AS fresh")


def _only_moved_on(states: Sequence[BuiltState], old: Mapping[str, BuiltState]) -> bool:
    """Tell whether states differ from the old ones in the time that is covered alone, and all by the same."""
    end, now = states[0].covered_end, states[0].built_at
    return all(s.model in old and replace(old[s.model], covered_end=end, built_at=now) == s for s in states)


def _replace(engine: Engine, query: str) -> None:
    """Write the table of states anew beside, and let it take the old one's place."""
    engine.create_as(f"_next{TABLE}", query)
    engine.drop(f"_gone{TABLE}")
    engine.rename([(TABLE, f"_gone{TABLE}"), (f"_next{TABLE}", TABLE)])
    engine.drop(f"_gone{TABLE}")


def _values(state: BuiltState, dialect: str) -> list[str]:
    return [
        _text(state.model),
        _text(state.metric),
        _text(state.definition_hash),
        _text(state.storage),
        _instant(state.covered_start, dialect),
        _instant(state.covered_end, dialect),
        "NULL" if state.row_count is None else str(state.row_count),
        _instant(state.built_at, dialect),
    ]


def forget(engine: Engine, model: str) -> None:
    """Remove the state of a model."""
    if not engine.capabilities.deletes:
        _replace(engine, f"SELECT * FROM {table(engine, TABLE)} WHERE NOT model = {_text(model)}")
        return
    engine.execute(f"DELETE FROM {table(engine, TABLE)} WHERE model = {_text(model)}")


def retire(engine: Engine, state: BuiltState, relation: str, now: datetime) -> None:
    """Record that a model's rows of an older definition are kept under another name."""
    engine.execute(
        f"INSERT INTO {table(engine, HISTORY)} SELECT *, {_text(relation)}, {_instant(now, engine.dialect)} "
        f"FROM {table(engine, TABLE)} WHERE model = {_text(state.model)}"
    )


def retirements(engine: Engine, relation: str) -> frozenset[datetime]:
    """Return when the rows that are kept under a name were built, as far as that is recorded."""
    where = f"WHERE relation = {_text(relation)}"
    rows = engine.rows(f"SELECT built_at FROM {table(engine, HISTORY)} {where}")
    return frozenset(row["built_at"].replace(tzinfo=UTC) for row in rows)


def kept(engine: Engine, model: str, definition_hash: str) -> list[str]:
    """Return the relations in which what a definition of a model built before is kept."""
    where = f"model = {_text(model)} AND definition_hash = {_text(definition_hash)}"
    return [row["relation"] for row in engine.rows(f"SELECT relation FROM {table(engine, HISTORY)} WHERE {where}")]


def forget_retired(engine: Engine, relation: str) -> None:
    """Remove the records of rows kept under a name, which were dropped."""
    engine.execute(f"DELETE FROM {table(engine, HISTORY)} WHERE relation = {_text(relation)}")


def table(engine: Engine, name: str) -> str:
    """Return the quoted name of a table in Tallystick's schema."""
    return engine.qualified(name)


def _instants(row: dict[str, datetime | None]) -> dict[str, datetime | None]:
    found = {name: row[name] for name in ("covered_start", "covered_end", "built_at")}
    return {name: value and value.replace(tzinfo=UTC) for name, value in found.items()}


@lru_cache(maxsize=1024)
def _text(value: str) -> str:
    return exp.Literal.string(value).sql()


@lru_cache(maxsize=64)
def _instant(value: datetime | None, dialect: str) -> str:
    if value is None:
        return "NULL"
    return literal_instant(value.astimezone(UTC), is_date=False, dialect=dialect).sql(dialect)
