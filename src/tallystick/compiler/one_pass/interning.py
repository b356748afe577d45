"""Interning: base keys, entities and distinct keys become small integers, and memberships one table of pairs.

Numbers are never given twice and never change, so tables of older definitions stay readable. A base key is the anchor's
id with its breakdown values; the closure pairs it with every entity it is counted for, each once (spec oso §9.3). The
base is the dictionary of the anchor's own entity as well: that has one number per base key with an id (in families of
queries, also per one without).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlglot import exp

from tallystick.compiler.entity_paths import GROUP, MEMBER, anchor, membership
from tallystick.compiler.lower import to_text
from tallystick.compiler.one_pass.family import Family, Member
from tallystick.compiler.one_pass.gather import ID, KEY, Stream, head_names
from tallystick.compiler.one_pass.names import DIALECT, Schema, create_work, quoted, work
from tallystick.compiler.relations import relation
from tallystick.definitions.entity import ALL, RollUp
from tallystick.definitions.project import Project

NEW_BASE = "new_base"


def base_table(family: Family) -> str:
    """Return the dictionary of base keys."""
    return f"{family.prefix}_base"


def closure_table(family: Family) -> str:
    """Return the table that pairs base keys with the entities they are counted for."""
    return f"{family.prefix}_closure"


def entity_table(family: Family, entity: str) -> str:
    """Return the dictionary of one kind of entity."""
    return base_table(family) if _is_anchor(family, entity) else f"{family.prefix}_of_{entity}"


def _is_anchor(family: Family, entity: str) -> bool:
    return family.anchor is not None and entity == family.anchor.base


def _others(family: Family) -> list[str]:
    return [entity for entity in family.entities if not _is_anchor(family, entity)]


def dictionary_tables(family: Family) -> list[str]:
    """Return the tables in which the entities of a family are numbered and paired."""
    return [base_table(family), closure_table(family), *(entity_table(family, entity) for entity in _others(family))]


def keys_table(stream: Stream) -> str:
    """Return the dictionary of the keys of a distinct count; it belongs to its metric."""
    assert stream.measure is not None  # noqa: S101 - only distinct counts have keys
    return f"{stream.member.prefix}_keys_{stream.measure.name}"


def level(family: Family, entity: str) -> int:
    """Return the number of an entity kind in the closure."""
    return family.entities.index(entity)


def dictionaries(family: Family, project: Project, schema: Schema, sample: Stream) -> list[str]:
    """Return the statements that create the empty dictionaries of a family, typed like a gathered stream."""
    head = head_names(family)
    base = ", ".join(["0::INTEGER AS bid", "0::INTEGER AS eid", *map(quoted, head)])
    closure = "SELECT 0::INTEGER AS bid, 0::INTEGER AS eid, 0::TINYINT AS level WHERE false"
    found = [
        schema.create(base_table(family), f"SELECT {base} FROM {work(sample.table)} WHERE false"),
        schema.create(closure_table(family), closure),
    ]
    for entity in _others(family):
        query = _reached(family, project, entity, schema.table(base_table(family)))
        columns = ", ".join(["0::INTEGER AS eid", *map(quoted, _entity_columns(family, entity))])
        found.append(schema.create(entity_table(family, entity), f"SELECT {columns} FROM ({query}) AS r WHERE false"))
    return found


def next_numbers(family: Family, schema: Schema) -> str:
    """Return the query of the first numbers not given yet, of base keys and of entities: (bid, eid)."""
    tables = dict.fromkeys([base_table(family), *(entity_table(family, entity) for entity in family.entities)])
    ids = " UNION ALL ".join(f"SELECT max(eid) AS eid FROM {schema.table(name)}" for name in tables)
    bid = f"SELECT coalesce(max(bid) + 1, 0) FROM {schema.table(base_table(family))}"
    return f"SELECT ({bid}) AS bid, (SELECT coalesce(max(eid) + 1, 0) FROM ({ids}) AS i) AS eid"


def intern_base(family: Family, schema: Schema, found: Sequence[Stream], bid: int, eid: int) -> list[str]:
    """Return the statements that number base keys not met before and leave them in a working table.

    `bid` and `eid` are the first numbers not given yet.
    """
    base = schema.table(base_table(family))
    head = ", ".join(map(quoted, head_names(family)))
    if not head:
        fresh = f"SELECT 0::INTEGER AS bid, NULL::INTEGER AS eid WHERE NOT EXISTS (SELECT 1 FROM {base})"
        return [create_work(NEW_BASE, fresh), f"INSERT INTO {base} SELECT * FROM {work(NEW_BASE)}"]
    met = " UNION ".join(f"SELECT DISTINCT {head} FROM {work(stream.table)}" for stream in found)
    new = f"SELECT m.* FROM ({met}) AS m ANTI JOIN {base} AS b ON {_same('m', 'b', head_names(family))}"
    number = f"(row_number() OVER (ORDER BY {head}) - 1)::INTEGER"
    own = family.anchor is not None and family.anchor.base in family.entities
    known = "true" if family.keeps_missing else f"{quoted(ID)} IS NOT NULL"
    entity = f"CASE WHEN {known} THEN n + {eid} END" if own else "NULL"
    fresh = f"SELECT n + {bid} AS bid, ({entity})::INTEGER AS eid, {head} FROM (SELECT {number} AS n, {head} FROM ({new}) AS k) AS k"
    return [create_work(NEW_BASE, fresh), f"INSERT INTO {base} SELECT * FROM {work(NEW_BASE)}"]


def reach_entities(family: Family, project: Project, schema: Schema) -> list[str]:
    """Return the statements that find the entities reached from new base keys, with their numbers if they have any."""
    found: list[str] = []
    for entity in _others(family):
        names = _entity_columns(family, entity)
        columns = ", ".join(["r.bid", "e.eid", *(f"r.{quoted(name)}" for name in names)])
        reached = _reached(family, project, entity, work(NEW_BASE))
        known = f"{schema.table(entity_table(family, entity))} AS e ON {_same('r', 'e', names)}"
        found.append(create_work(f"reached_{entity}", f"SELECT {columns} FROM ({reached}) AS r LEFT JOIN {known}"))
    return found


def working_tables(family: Family) -> list[str]:
    """Return the working tables in which base keys and entities are numbered."""
    return [NEW_BASE, *(f"reached_{entity}" for entity in _others(family))]


def without_number(family: Family) -> str | None:
    """Return the query of how many reached entities have no number yet, one column per kind; None if nothing is reached."""
    counts = [
        f"(SELECT count(*) FROM (SELECT DISTINCT {', '.join(map(quoted, _entity_columns(family, entity))) or 'eid'} "
        f"FROM {work(f'reached_{entity}')} WHERE eid IS NULL) AS r) AS {quoted(entity)}"
        for entity in _others(family)
    ]
    return f"SELECT {', '.join(counts)}" if counts else None


def intern_entities(family: Family, schema: Schema, fresh: Mapping[str, int], eid: int) -> list[str]:
    """Return the statements that number so many reached entities of each kind, and pair all with their base keys.

    `eid` is the first number not given yet.
    """
    found: list[str] = []
    paired: list[str] = []
    for entity in family.entities:
        of_level = f"{level(family, entity)}::TINYINT AS level"
        if _is_anchor(family, entity):
            paired.append(f"SELECT bid, eid, {of_level} FROM {work(NEW_BASE)} WHERE eid IS NOT NULL")
            continue
        table, reached = schema.table(entity_table(family, entity)), work(f"reached_{entity}")
        names = _entity_columns(family, entity)
        if not fresh[entity]:
            paired.append(f"SELECT bid, eid, {of_level} FROM {reached}")
            continue
        columns = ", ".join(map(quoted, names))
        if names:
            new = f"SELECT DISTINCT {columns} FROM {reached} WHERE eid IS NULL"
            number = f"(row_number() OVER (ORDER BY {columns}) + {eid - 1})::INTEGER"
            found.append(f"INSERT INTO {table} SELECT {number}, {columns} FROM ({new}) AS fresh")
        else:
            found.append(f"INSERT INTO {table} VALUES ({eid})")
        eid += fresh[entity]
        paired.append(
            f"SELECT r.bid, e.eid, {of_level} FROM {reached} AS r JOIN {table} AS e ON {_same('r', 'e', names)}"
        )
    closure = schema.table(closure_table(family))
    return [*found, f"INSERT INTO {closure} SELECT * FROM ({' UNION ALL '.join(paired)}) AS p ORDER BY bid, eid"]


def forget_pairs(family: Family, schema: Schema) -> list[str]:
    """Return the statements after which every base key is paired anew with the entities it now belongs to."""
    base = schema.table(base_table(family))
    return [create_work(NEW_BASE, f"SELECT * FROM {base}"), f"DELETE FROM {schema.table(closure_table(family))}"]


def intern_keys(schema: Schema, stream: Stream, *, create: bool) -> list[str]:
    """Return the statements that number the keys of a distinct count not met before; 0 stands for a missing key."""
    table, gathered = schema.table(keys_table(stream)), work(stream.table)
    key = quoted(KEY)
    if create:
        query = f"SELECT (row_number() OVER ())::INTEGER AS uid, {key} FROM (SELECT DISTINCT {key} FROM {gathered} WHERE {key} IS NOT NULL)"
        return [schema.create(keys_table(stream), query)]
    fresh = f"SELECT DISTINCT {key} FROM {gathered} AS g ANTI JOIN {table} AS k USING ({key}) WHERE {key} IS NOT NULL"
    number = f"(row_number() OVER () + (SELECT coalesce(max(uid), 0) FROM {table}))::INTEGER"
    return [f"INSERT INTO {table} SELECT {number}, {key} FROM ({fresh}) AS fresh"]


def membership_print(family: Family, project: Project) -> str | None:
    """Return a query for a fingerprint of the mappings a family relies on, None where it relies on none."""
    ways = [anchor(project.sources[family.source], e, project.entities) for e in family.entities if e != ALL]
    edges = dict.fromkeys(edge for way in ways for path in way.paths for edge in path)
    arms = [
        exp.select(exp.func("hash", *_ends(edge), exp.Literal.number(index)).as_("mark"))
        .from_(relation(edge.through, project, "edge"), copy=False)
        .sql(DIALECT)
        for index, edge in enumerate(edges)
    ]
    if not arms:
        return None
    # Pairs that are written twice cancel out in XOR, not in the sum, which of integers takes no time.
    marks = "count(*), '-', bit_xor(mark), '-', sum((mark >> 33)::INTEGER)"
    return f"SELECT concat({marks}) AS mark FROM ({' UNION ALL '.join(arms)})"


def _ends(edge: RollUp) -> tuple[exp.Expr, exp.Expr]:
    return exp.column(edge.child_key, "edge"), exp.column(edge.parent_key, "edge")


def membership_changed(family: Family, project: Project, schema: Schema) -> str:
    """Return a query that counts base keys already met whose entities are not what the mappings now say."""
    arms: list[str] = []
    base = schema.table(base_table(family))
    for entity in _others(family):
        reached = _reached(family, project, entity, base)
        names = _entity_columns(family, entity)
        columns = ", ".join(["bid", *map(quoted, names)])
        stored = (
            f"SELECT {columns} FROM {schema.table(closure_table(family))} AS c "
            f"JOIN {schema.table(entity_table(family, entity))} AS e USING (eid) "
            f"WHERE c.level = {level(family, entity)}"
        )
        now = f"SELECT {columns} FROM ({reached}) AS r"
        arms += [f"SELECT bid FROM (({now}) EXCEPT ({stored}))", f"SELECT bid FROM (({stored}) EXCEPT ({now}))"]
    differences = " UNION ALL ".join(arms) or "SELECT 0 WHERE false"
    return f"SELECT count(*) AS changed FROM ({differences}) AS differences"


def join_base(family: Family, schema: Schema) -> str:
    """Return the join from a gathered stream `g` to its base keys `b`."""
    return f"JOIN {schema.table(base_table(family))} AS b ON {_same('g', 'b', head_names(family))}"


def join_entities(family: Family, schema: Schema, stream: Stream) -> str:
    """Return the joins from a gathered stream `g` to base `b` and closure `c`, for the entities its metric asks for."""
    wanted = _only(family, stream.member, " AND ")
    return f"{join_base(family, schema)} JOIN {schema.table(closure_table(family))} AS c ON c.bid = b.bid{wanted}"


def pairs(family: Family, schema: Schema, member: Member) -> str:
    """Return the query of (bid, eid) for the entities a metric asks for, by entity."""
    return f"SELECT bid, eid FROM {schema.table(closure_table(family))} AS c{_only(family, member, ' WHERE ')} ORDER BY eid"


def _only(family: Family, member: Member, word: str) -> str:
    levels = sorted(level(family, entity) for entity in member.entities)
    return "" if len(levels) == len(family.entities) else f"{word}c.level IN ({', '.join(map(str, levels))})"


def _reached(family: Family, project: Project, entity: str, base: str) -> str:
    """Return (bid, entity columns) for base keys of a table."""
    dims = ", ".join(quoted(name) for name in head_names(family) if name != ID)
    tail = f", {dims}" if dims else ""
    if entity == ALL:
        return f"SELECT bid{tail} FROM {base} AS n"
    reach = anchor(project.sources[family.source], entity, project.entities)
    if not reach.paths:
        return f"SELECT bid, {quoted(ID)}{tail} FROM {base} AS n WHERE {quoted(ID)} IS NOT NULL"
    met = exp.select(exp.column(ID, quoted=True)).from_(exp.to_table(base, dialect=DIALECT))
    pairs = to_text(membership(reach, project, met), DIALECT, pretty=False)
    return (
        f"SELECT bid, m.{quoted(GROUP)} AS {quoted(ID)}{tail} FROM {base} AS n JOIN ({pairs}) AS m "
        f"ON n.{quoted(ID)} = m.{quoted(MEMBER)}"
    )


def _entity_columns(family: Family, entity: str) -> list[str]:
    dims = [name for name in head_names(family) if name != ID]
    return dims if entity == ALL else [ID, *dims]


def _same(left: str, right: str, names: Sequence[str]) -> str:
    """Return the condition that two relations agree, NULLs included; without columns it always holds."""
    found = " AND ".join(f"{left}.{quoted(name)} IS NOT DISTINCT FROM {right}.{quoted(name)}" for name in names)
    return found or "true"
