"""What models still have to take over: their parts changed further back than they would look by themselves.

It is noted with the rows of the parts, in one transaction, for all models that are worked out from them, and taken back
with the rows of each; so a build of some models only, one that fails and one that is killed leave nothing out.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import UTC, datetime

from sqlglot import exp

from tallystick.build.state import table
from tallystick.compiler.order import readers
from tallystick.definitions.project import Project
from tallystick.engines.adapter import Engine

PENDING = "_pending"
BEGINNING = datetime(1, 1, 1, tzinfo=UTC)
"""Since when a model has to take over all there is: it is built anew."""


def prepare(engine: Engine) -> None:
    """Create the state table where it is missing."""
    engine.create(PENDING, {"model": "VARCHAR NOT NULL", "since": "TIMESTAMP NOT NULL"})


def read(engine: Engine) -> dict[str, datetime]:
    """Return from when on (UTC) models have to be worked out again."""
    rows = engine.rows(f"SELECT model, min(since) AS since FROM {table(engine, PENDING)} GROUP BY model")
    return {row["model"]: row["since"].replace(tzinfo=UTC) for row in rows}


def note(engine: Engine, project: Project, changes: Mapping[str, datetime], built: Collection[str]) -> None:
    """Note for all models that are built and made from metrics which changed, from when on that is."""
    found = readers(changes, project) if changes else {}
    rows = [f"({_text(name)}, TIMESTAMP '{_plain(since)}')" for name, since in found.items() if name in built]
    if rows:
        engine.execute(f"INSERT INTO {table(engine, PENDING)} VALUES {', '.join(rows)}")


def done(engine: Engine, model: str) -> None:
    """Take back what was noted for a model; call it inside the transaction that writes its rows."""
    engine.execute(f"DELETE FROM {table(engine, PENDING)} WHERE model = {_text(model)}")


def _plain(instant: datetime) -> str:
    return instant.astimezone(UTC).replace(tzinfo=None).isoformat(sep=" ")


def _text(value: str) -> str:
    return exp.Literal.string(value).sql()
