"""Reading `[entities.x]`: a key, and the kinds of things it rolls up into."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from tallystick.definitions.diagnostics import nearest
from tallystick.definitions.entity import ALL, Entity, RollUp
from tallystick.definitions.fields import Fields
from tallystick.definitions.read_about import read_about
from tallystick.definitions.read_source import check_table


@dataclass(frozen=True, slots=True)
class _Mapping:
    """What is written about one edge; keys that are left out follow from the entities."""

    through: str
    child: str | None = None
    parent: str | None = None
    valid_from: str | None = None
    valid_to: str | None = None


def default_key(entity: str) -> str:
    """Return the column an entity's key has unless it is written."""
    return f"{entity}_id"


def read_entity(fields: Fields) -> Entity:
    """Read one entity; a parent key that is not written stays empty until all entities are known."""
    if fields.name == ALL:
        hint = "it stands for everything and needs no definition"
        fields.report("reserved-name", f"'{ALL}' is a reserved entity", hint=hint)
    key = fields.text("key") or default_key(fields.name)
    edges = tuple(
        RollUp(
            parent=parent,
            through=mapping.through,
            child_key=mapping.child or key,
            parent_key=mapping.parent or "",
            valid_from=mapping.valid_from,
            valid_to=mapping.valid_to,
        )
        for parent, mapping in _edges(fields).items()
    )
    about = read_about(fields)
    fields.refuse_unknown(within=f"entity '{fields.name}'")
    return Entity(name=fields.name, key=key, rolls_up_to=edges, about=about, origin=fields.origin)


def _edges(fields: Fields) -> dict[str, _Mapping]:
    found = fields.find("rolls_up_to")
    through = fields.find("through")
    if found and isinstance(found[1], dict):
        if through:
            fields.report("misplaced-key", "'through' beside a table of parents", "through", hint="keep one of them")
        return _each(fields.sub("rolls_up_to"))
    if not found:
        if through:
            hint = 'write rolls_up_to = "…"'
            fields.report("missing-key", "'through' without 'rolls_up_to'", "through", hint=hint)
        return {}
    parents = [
        name for name in fields.texts("rolls_up_to") or () if fields.check_name("an entity", "rolls_up_to", name)
    ]
    if through and isinstance(through[1], dict) and set(through[1]) & set(parents):
        edges = _each(fields.sub("through"), within=parents)
        missing = [parent for parent in parents if parent not in through[1]]
    else:
        shared = _mapping(fields, through[1], "through") if through else None
        edges = dict.fromkeys(parents, shared) if shared else {}
        missing = [] if through else parents
    for parent in missing:
        hint = 'write through = "a table with both keys"'
        message = f"entity '{fields.name}' rolls up to '{parent}', but nothing says through which table"
        fields.report("missing-key", message, "rolls_up_to", hint=hint)
    return edges


def _each(table: Fields, *, within: Collection[str] | None = None) -> dict[str, _Mapping]:
    """Read one mapping for each parent: `{ parent = "table" }` or a table of keys for each."""
    found = {}
    for parent, value in table.table.items():
        if within is not None and parent not in within:
            table.report("unknown-key", f"'{parent}' is not in 'rolls_up_to'", parent, hint=nearest(parent, within))
        elif table.check_name("an entity", parent) and (mapping := _mapping(table, value, parent)):
            found[parent] = mapping
    return found


def _mapping(fields: Fields, value: object, key: str) -> _Mapping | None:
    if isinstance(value, str):
        table = fields.parsed("bad-value", check_table, value, key)
        return _Mapping(table) if table else None
    if not isinstance(value, dict):
        fields.wrong_type("the name of a table, or a table with table, child and parent", value, key)
        return None
    inner = fields.sub(key)
    if isinstance(value.get("through"), dict):
        inner.known.add("through")
        inner.refuse_unknown(within="rolls_up_to")
        return _mapping(inner, value["through"], "through")
    names = ("table", "source", "through")
    through = inner.text(*names)
    mapping = _Mapping(
        through=(inner.parsed("bad-value", check_table, through) if through else None) or "",
        child=inner.text("child", "child_key"),
        parent=inner.text("parent", "parent_key"),
        valid_from=inner.text("valid_from"),
        valid_to=inner.text("valid_to"),
    )
    inner.refuse_unknown(within="a mapping between entities")
    if not inner.has(*names):
        inner.report("missing-key", "the mapping names no table", hint='write table = "…"')
    return mapping if mapping.through else None
