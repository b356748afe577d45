"""What is stored for families and their metrics: layout, covered time, and the print of the memberships used."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from sqlglot import exp

from tallystick.build.state import table
from tallystick.compiler.one_pass.family import Family
from tallystick.compiler.one_pass.layout import Cell, Layout
from tallystick.compiler.one_pass.names import FORMAT, Schema
from tallystick.engines.adapter import Engine
from tallystick.sql.expression import Merge

STORED = "_one_pass_stored"
FAMILIES = "_one_pass_families"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """The storage of one metric: its layout, its models, the days it covers and those that may be read again.

    `family` is empty where models were built apart since, or memberships changed: what is stored may not be gone on with.
    `first`, `last` and `settled` are day numbers. `magnitudes` prove that sums fit, as they were when it was built, with
    `grown`, what was appended since; `raw_keys` are distinct keys that are their own numbers. `types` are those of what
    was gathered. `gaps` counts the builds since the last one that left no gaps in tables. `views` is a print of its views.
    """

    prefix: str
    family: str
    metric: str
    layout: Layout
    models: tuple[str, ...]
    first: int
    last: int
    settled: int
    end: datetime
    magnitudes: dict[str, float]
    raw_keys: tuple[str, ...]
    types: dict[str, dict[str, str]]
    grown: float = 0.0
    gaps: int = 0
    views: str = ""

    @property
    def bounds(self) -> dict[str, float]:
        """Return what the magnitudes of sums cannot be more than."""
        return {name: size + self.grown for name, size in self.magnitudes.items()}


_COLUMNS = {
    "prefix": "VARCHAR NOT NULL",
    "family": "VARCHAR NOT NULL",
    "metric": "VARCHAR NOT NULL",
    "facts": "VARCHAR NOT NULL",
    "covered_end": "TIMESTAMP NOT NULL",
    "first_day": "INTEGER NOT NULL",
    "last_day": "INTEGER NOT NULL",
    "settled": "INTEGER NOT NULL",
    "grown": "DOUBLE NOT NULL",
    "gaps": "INTEGER NOT NULL",
}


def prepare(engine: Engine) -> None:
    """Create the state tables where they are missing."""
    engine.create(STORED, _COLUMNS)
    engine.create(FAMILIES, {"prefix": "VARCHAR NOT NULL", "memberships": "VARCHAR"})


def read(engine: Engine) -> dict[str, Stored]:
    """Return every stored metric by the prefix of its tables, which have to be there; not those of another format."""
    rows = engine.rows(f"SELECT * FROM {table(engine, STORED)}")
    found = ((row, json.loads(row["facts"])) for row in rows)
    return {row["prefix"]: _stored(row, facts) for row, facts in found if facts["format"] == FORMAT}


def write(engine: Engine, stored: Stored) -> None:
    """Replace the state of one metric; call it inside the transaction that writes its rows."""
    forget(engine, stored.prefix)
    facts = {
        "format": FORMAT,
        "layout": asdict(stored.layout),
        "models": stored.models,
        "magnitudes": stored.magnitudes,
        "raw_keys": stored.raw_keys,
        "types": stored.types,
        "views": stored.views,
    }
    texts = map(_text, (stored.prefix, stored.family, stored.metric, json.dumps(facts)))
    engine.execute(f"INSERT INTO {table(engine, STORED)} VALUES ({', '.join([*texts, *_moment(stored).values()])})")


def move_on(engine: Engine, stored: Stored) -> None:
    """Write what changes of the state of one metric when days are appended to it, and no more."""
    changes = ", ".join(f"{name} = {value}" for name, value in _moment(stored).items())
    engine.execute(f"UPDATE {table(engine, STORED)} SET {changes} WHERE prefix = {_text(stored.prefix)}")


def _moment(stored: Stored) -> dict[str, str]:
    instant = stored.end.astimezone(UTC).replace(tzinfo=None).isoformat(sep=" ")
    return {
        "covered_end": f"TIMESTAMP '{instant}'",
        "first_day": str(stored.first),
        "last_day": str(stored.last),
        "settled": str(stored.settled),
        "grown": f"{stored.grown!r}::DOUBLE",
        "gaps": str(stored.gaps),
    }


def last_day(schema: Schema, prefix: str) -> str:
    """Return the SQL of the number of the last day that a metric's tables cover."""
    return f"(SELECT last_day FROM {schema.table(STORED)} WHERE prefix = {_text(prefix)})"


def forget(engine: Engine, prefix: str) -> None:
    """Remove the state of a metric."""
    engine.execute(f"DELETE FROM {table(engine, STORED)} WHERE prefix = {_text(prefix)}")


def spoil(engine: Engine, prefix: str) -> None:
    """Let a metric be built anew when it is built together again; views of what is stored go on until then."""
    engine.execute(f"UPDATE {table(engine, STORED)} SET family = '' WHERE prefix = {_text(prefix)}")


def spoil_family(engine: Engine, family: Family) -> None:
    """Let all metrics of a family be built anew, those too that are not built now."""
    engine.execute(f"UPDATE {table(engine, STORED)} SET family = '' WHERE family = {_text(family.prefix)}")


def families(engine: Engine) -> dict[str, str | None]:
    """Return the print of the memberships each family was built with."""
    rows = engine.rows(f"SELECT * FROM {table(engine, FAMILIES)}")
    return {row["prefix"]: row["memberships"] for row in rows}


def write_family(engine: Engine, family: Family, memberships: str | None) -> None:
    """Replace the state of a family."""
    engine.execute(f"DELETE FROM {table(engine, FAMILIES)} WHERE prefix = {_text(family.prefix)}")
    mark = "NULL" if memberships is None else _text(memberships)
    engine.execute(f"INSERT INTO {table(engine, FAMILIES)} VALUES ({_text(family.prefix)}, {mark})")


def _stored(row: dict[str, Any], facts: dict[str, Any]) -> Stored:
    return Stored(
        prefix=row["prefix"],
        family=row["family"],
        metric=row["metric"],
        layout=_layout(facts["layout"]),
        models=tuple(facts["models"]),
        first=row["first_day"],
        last=row["last_day"],
        settled=row["settled"],
        end=row["covered_end"].replace(tzinfo=UTC),
        magnitudes=facts["magnitudes"],
        raw_keys=tuple(facts["raw_keys"]),
        types=facts["types"],
        grown=row["grown"],
        gaps=row["gaps"],
        views=facts["views"],
    )


def _layout(facts: dict[str, Any]) -> Layout:
    additive = tuple(Cell(**{**cell, "merge": Merge(cell["merge"])}) for cell in facts["additive"])
    distinct = tuple(Cell(**{**cell, "merge": Merge(cell["merge"])}) for cell in facts["distinct"])
    return Layout(facts["prefix"], additive, distinct, facts["exists"], tuple(facts["nullable"]), tuple(facts["views"]))


def _text(value: str) -> str:
    return exp.Literal.string(value).sql()
