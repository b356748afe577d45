"""Answering from built models: rows of one, or totals of them, and a clear word where it is not built."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

from tallystick.compiler.model import Model
from tallystick.definitions.project import Project
from tallystick.errors import MissingTableError, UsageError
from tallystick.service.reading import Reader, check_totals
from tallystick.sql.grain import parse_grain

if TYPE_CHECKING:
    import pyarrow as pa

    from tallystick.engines.adapter import Engine


@dataclass(frozen=True, slots=True)
class Ask:
    """What is wanted of a model: some entities or all, and functions of the values instead of the rows."""

    ids: tuple[str | int, ...] = ()
    totals: tuple[str, ...] = ()
    per: str | None = None
    by_entity: bool = False
    limit: int | None = None


def read(engine: Engine, project: Project, model: Model, first: date | None, last: date | None, ask: Ask) -> pa.Table:
    """Return rows or totals of a model with buckets from `first` to `last`, both inside.

    Raise UsageError where what is asked for makes no sense, MissingTableError for a model that is not built.
    """
    if ask.ids and not model.has_entity:
        raise UsageError(f"{model.name} is not split by an entity", hint="name one with entity, or leave ids out")
    if not ask.totals and (ask.per is not None or ask.by_entity):
        raise UsageError("per and by-entity are for totals", hint="name a function too, such as sum")
    per = None if ask.per is None else parse_grain(ask.per)
    if ask.totals:
        check_totals(model, ask.totals, per)
    if engine.kind(model.name) is None:
        raise MissingTableError(f"{model.name} is not built", hint=f"build it: tally build -s {model.name}")
    reader = Reader(engine, project)
    if not ask.totals:
        return reader.read(model, first=first, last=last, ids=ask.ids, limit=ask.limit)
    found = reader.totals(model, ask.totals, per=per, by_entity=ask.by_entity, first=first, last=last, ids=ask.ids)
    return found if ask.limit is None else found.slice(0, ask.limit)
