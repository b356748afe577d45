"""Models as tables or views: replacing one by the other, and keeping what an older definition built."""

from __future__ import annotations

from datetime import datetime

from sqlglot import exp

from tallystick.build import state
from tallystick.engines.adapter import Engine


def kind(engine: Engine, name: str) -> str | None:
    """Return TABLE or VIEW for a relation of Tallystick's schema, None where there is none."""
    query = (
        "SELECT table_type AS kind FROM information_schema.tables "
        f"WHERE table_schema = {_text(engine.schema)} AND table_name = {_text(name)}"
    )
    rows = engine.run(query).to_pylist()
    if not rows:
        return None
    return "VIEW" if rows[0]["kind"] == "VIEW" else "TABLE"


def drop(engine: Engine, name: str) -> None:
    """Drop a table or view if it is there."""
    found = kind(engine, name)
    if found is not None:
        engine.execute(f"DROP {found} {state.table(engine, name)}")


def keep_old(engine: Engine, name: str, new_hash: str, now: datetime) -> None:
    """Move a model's present rows aside under the hash they were built with; drop them if it is the same."""
    found = kind(engine, name)
    if found is None:
        return
    old = state.read(engine).get(name)
    if old is None or old.definition_hash == new_hash:
        engine.execute(f"DROP {found} {state.table(engine, name)}")
        return
    kept = f"_old_{name}_{old.definition_hash[:8]}"
    drop(engine, kept)
    identifier = exp.to_identifier(kept, quoted=True).sql(engine.dialect)
    engine.execute(f"ALTER {found} {state.table(engine, name)} RENAME TO {identifier}")
    state.retire(engine, old, kept, now)


def _text(value: str) -> str:
    return exp.Literal.string(value).sql()
