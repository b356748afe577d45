"""Models as tables or views: replacing one by the other, and keeping what an older definition built."""

from __future__ import annotations

from datetime import datetime

from tallystick.build import state
from tallystick.engines.adapter import Engine


def publish(engine: Engine, beside: str, name: str, new_hash: str, now: datetime) -> None:
    """Let a relation built beside take a model's name; what it replaces is kept where its definition was another."""
    old = state.read(engine).get(name) if engine.kind(name) is not None else None
    gone = _kept_name(name, old.definition_hash) if old and old.definition_hash != new_hash else f"_gone_{name}"
    if engine.kind(name) is None:
        engine.rename([(beside, name)])
        return
    engine.drop(gone)
    engine.rename([(name, gone), (beside, name)])
    if old is not None and old.definition_hash != new_hash:
        state.retire(engine, old, gone, now)
    else:
        engine.drop(gone)


def keep_old(engine: Engine, name: str, new_hash: str, now: datetime) -> None:
    """Move a model's present rows aside under the hash they were built with; drop them if it is the same."""
    if engine.kind(name) is None:
        return
    old = state.read(engine).get(name)
    if old is None or old.definition_hash == new_hash:
        engine.drop(name)
        return
    kept = _kept_name(name, old.definition_hash)
    engine.drop(kept)
    engine.rename([(name, kept)])
    state.retire(engine, old, kept, now)


def _kept_name(name: str, old_hash: str) -> str:
    return f"_old_{name}_{old_hash[:8]}"
