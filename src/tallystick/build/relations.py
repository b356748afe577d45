"""Models as tables or views: replacing one by the other, and keeping what an older definition built."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from tallystick.build import state
from tallystick.build.state import BuiltState
from tallystick.engines.adapter import Engine


def publish(engine: Engine, beside: str, name: str, new_hash: str, now: datetime) -> None:
    """Let a relation built beside take a model's name; what it replaces is kept where its definition was another."""
    if engine.kind(name) is None:
        engine.rename([(beside, name)])
        return
    old = state.find(engine, name)
    if old is None or old.definition_hash == new_hash:
        _swap(engine, beside, name)
        return
    kept = _kept_name(name, old.definition_hash)
    if not engine.capabilities.transactions and _is_moved(engine, kept, old):
        # A build ended after the rename: `name` holds its rows, and those of the old definition are safe already.
        _swap(engine, beside, name)
        if old.built_at in state.retirements(engine, kept):
            return
    else:
        _forget(engine, kept)
        engine.rename([(name, kept), (beside, name)])
    state.retire(engine, old, kept, now)


def _forget(engine: Engine, kept: str) -> None:
    """Drop what the same definition left when it was replaced before, then the note of it.

    It is put into place only after that: a table without a note is a new one.
    """
    engine.drop(kept)
    if engine.capabilities.deletes:
        state.forget_retired(engine, kept)


def _swap(engine: Engine, beside: str, name: str) -> None:
    gone = f"_gone_{name}"
    engine.drop(gone)
    engine.rename([(name, gone), (beside, name)])
    engine.drop(gone)


def _is_moved(engine: Engine, kept: str, old: BuiltState) -> bool:
    """Return whether a build that was ended has moved these rows aside: not noted yet, or noted as this very state."""
    if engine.kind(kept) is None:
        return False
    noted = state.retirements(engine, kept)
    return not noted or old.built_at in noted


def keep_old(engine: Engine, name: str, new_hash: str, now: datetime) -> None:
    """Move a model's present rows aside under the hash they were built with; drop them if it is the same."""
    if engine.kind(name) is None:
        return
    old = state.find(engine, name)
    if old is None or old.definition_hash == new_hash:
        engine.drop(name)
        return
    kept = _kept_name(name, old.definition_hash)
    _forget(engine, kept)
    engine.rename([(name, kept)])
    state.retire(engine, old, kept, now)


def make_lasting(engine: Engine, model: str, definition_hash: str) -> None:
    """Turn views of what a definition built before into tables: what they read is about to be gone on with."""
    for name in state.kept(engine, model, definition_hash):
        if engine.kind(name) == "VIEW":
            engine.create_as(f"_next_{name}", f"SELECT * FROM {engine.qualified(name)}")
            engine.drop(name)
            engine.rename([(f"_next_{name}", name)])


def retire_views(engine: Engine, models: Collection[str]) -> None:
    """Drop the views of models that are no longer asked for, whose tables are about to hold something else."""
    for name in sorted(models):
        if engine.kind(name) == "VIEW":
            engine.drop(name)
            state.forget(engine, name)


def _kept_name(name: str, old_hash: str) -> str:
    return f"_old_{name}_{old_hash[:8]}"
