"""Entities: things with a key, and the mappings by which one kind rolls up into another."""

from __future__ import annotations

from dataclasses import dataclass, field

from tallystick.definitions.about import About
from tallystick.definitions.origin import Origin

ALL = "all"
"""The entity everything belongs to; its models have no entity column."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RollUp:
    """An edge of the entity graph: `through` (a source or table) maps child keys to parent keys, many to many.

    With `valid_from`/`valid_to` (dates, half-open, open-ended when NULL) membership holds as of each row's day.
    """

    parent: str
    through: str
    child_key: str
    parent_key: str
    valid_from: str | None = None
    valid_to: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Entity:
    """A kind of thing that metrics are counted for; `key` is its column name in models and mappings."""

    name: str
    key: str
    rolls_up_to: tuple[RollUp, ...] = ()
    about: About = field(default_factory=About)
    origin: Origin = field(default_factory=Origin, compare=False)
