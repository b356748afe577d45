"""What has changed since metrics were built together: the types of their columns, and definitions that come back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from tallystick.build import relations
from tallystick.build.one_pass import state as one_pass_state
from tallystick.build.one_pass.state import Stored
from tallystick.build.state import BuiltState
from tallystick.compiler.model import Model
from tallystick.compiler.one_pass import interning
from tallystick.compiler.one_pass.family import Family, Member
from tallystick.compiler.one_pass.gather import Stream, head_names
from tallystick.compiler.one_pass.measures import Measured
from tallystick.compiler.one_pass.names import Schema
from tallystick.engines.adapter import Engine


def gathered_types(streams: Iterable[Stream], facts: Mapping[str, Measured]) -> dict[str, dict[str, str]]:
    """Return the types of the columns of gathered streams, by the distinct count they are of ("" for all else)."""
    named = (("" if stream.measure is None else stream.measure.name, stream.table) for stream in streams)
    return {name: dict(facts[table].types) for name, table in named}


def forget_dictionaries(engine: Engine, schema: Schema, family: Family, types: Mapping[str, str]) -> bool:
    """Drop the dictionaries of a family whose keys are of other types by now; tell whether there are none any more."""
    if interning.base_table(family) not in engine.tables():
        return True
    held = engine.columns(schema.table(interning.base_table(family)))
    if all(held[name] == types[name] for name in head_names(family)):
        return False
    drop_dictionaries(engine, family)
    return True


def drop_dictionaries(engine: Engine, family: Family) -> None:
    """Let a family be built from nothing.

    Views of its metrics that are not built now would read entities by numbers that are given anew: they are dropped.
    """
    mine = {member.prefix for member in family.members}
    for stored in one_pass_state.read(engine).values():
        if stored.family == family.prefix and stored.prefix not in mine:
            relations.retire_views(engine, stored.models)
    one_pass_state.spoil_family(engine, family)
    for name in interning.dictionary_tables(family):
        engine.drop(name)


def keep_history(engine: Engine, hashes: Mapping[Model, str], states: Mapping[str, BuiltState]) -> None:
    """Keep what definitions built before that come back now: their tables are gone on with, or written anew."""
    for model, hashed in hashes.items():
        old = states.get(model.name)
        if old is not None and old.definition_hash != hashed:
            relations.make_lasting(engine, model.name, hashed)


def retire_views(engine: Engine, member: Member, stored: Stored | None) -> None:
    """Drop the views of models that a metric had, and has no more: its tables are about to hold other numbers."""
    if stored is not None:
        relations.retire_views(engine, set(stored.models) - {model.name for model in member.models})
