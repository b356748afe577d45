"""From the base entity to another: where membership is joined into a definition (spec oso §6).

By default membership is joined at the base: every SELECT that reads an event source directly, so that whatever the
definition computes is computed for the entity itself. Where the text does not allow that, and always in OSO's
profile, the outermost SELECT that names the key is joined instead, over values of the base entity.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from sqlglot import exp
from sqlglot.optimizer.scope import walk_in_scope

from tallystick.compiler.binding import named_columns
from tallystick.compiler.definition_context import DefinitionContext
from tallystick.compiler.entity_paths import (
    GROUP,
    MEMBER,
    VALID_FROM,
    VALID_TO,
    Anchor,
    Path,
    membership,
    membership_intervals,
    paths,
)
from tallystick.compiler.relations import relation
from tallystick.definitions.diagnostics import nearest
from tallystick.definitions.entity import ALL, Entity
from tallystick.definitions.metric import SqlQuery
from tallystick.errors import CompileError
from tallystick.sql.macro_calls import arguments_of, macro_of

# Joined into an author's query, whose columns may be called anything else without becoming ambiguous.
_JOINED_LAST = "joined_last"
_MEMBER, _GROUP = "tally_member_id", "tally_group_id"


@dataclass(frozen=True, slots=True)
class _Target:
    """The column to exchange (`old`, as it is called for the base entity) and what to exchange it for."""

    base: Entity
    entity: Entity
    old: str
    new: exp.Identifier
    alias: str


def base_entity(definition: SqlQuery, context: DefinitionContext) -> Entity:
    """Return the entity a definition is written for: the one whose key it names, lowest first.

    Raises CompileError if the project has no entities at all.
    """
    if not context.entities:
        raise CompileError("there are no entities", hint="declare one in [entities]")
    parents = {edge.parent for entity in context.entities.values() for edge in entity.rolls_up_to}
    ranked = sorted(context.entities.values(), key=lambda entity: entity.name in parents)
    named = named_columns(definition.sql, context.dialect_of(definition))
    keys = ((e, {f"to_{e.name}_id", f"from_{e.name}_id", e.key.lower()}) for e in ranked)
    return next((entity for entity, names in keys if named & names), ranked[0])


def join_entity(tree: exp.Query, base: Entity, entity: str, context: DefinitionContext) -> exp.Query:
    """Rewrite a definition of the base entity for another one, in place; return the tree.

    Raises CompileError if the entity cannot be reached or an event source that is read cannot be joined.
    """
    read = [table for table in tree.find_all(exp.Table) if _is_source(table, tree, context)]
    if entity == base.name:
        return tree
    _ways(base.name, entity, context)
    if not read:
        return tree
    target = _target(tree, base, context.entities[entity])
    selects = list(dict.fromkeys(s for table in read if (s := _reader(table)) is not None))
    if not context.is_oso and _can_join_base(tree, selects, target):
        _rename(tree, selects, target)  # first, since the mappings have a column of that name too
        for select in selects:
            _join(select, target, context)
        return tree
    outer = list(_outermost(tree, target, context))
    for select in outer:
        _join(select, target, context)
    if not outer and not context.is_oso:
        raise _unjoined(read, selects, target)
    tree.meta[_JOINED_LAST] = not context.is_oso
    return tree


def differs_joined_last(tree: exp.Query) -> bool:
    """Tell whether a definition is worked out for the base entity before it is joined, and that is not the same.

    It is the same for sums and counts of rows, and nothing else.
    """
    others = (each for each in tree.find_all(exp.AggFunc) if not isinstance(each, exp.Sum))
    return bool(tree.meta_get(_JOINED_LAST)) and any(
        not isinstance(each, exp.Count) or each.find(exp.Distinct) is not None for each in others
    )


def _target(tree: exp.Query, base: Entity, entity: Entity) -> _Target:
    old = key_name(tree, base)
    new = f"to_{entity.name}_id" if old == f"to_{base.name}_id".lower() else entity.key
    return _Target(base, entity, old, exp.to_identifier(new), f"{base.name}_in_{entity.name}")


def key_name(tree: exp.Query, base: Entity) -> str:
    """Return the column that says which base entity a row is of, as a definition calls it, in lower case."""
    prefixed = f"to_{base.name}_id"
    uses_prefix = any(column.name.lower() == prefixed for column in tree.find_all(exp.Column))
    return (prefixed if uses_prefix or base.key == prefixed else base.key).lower()


def _is_source(table: exp.Table, tree: exp.Expr, context: DefinitionContext) -> bool:
    return table.name in context.sources and (bool(table.db) or not _is_cte(table, tree))


def _is_cte(table: exp.Table, tree: exp.Expr) -> bool:
    return any(cte.alias == table.name for cte in tree.find_all(exp.CTE))


def _reader(table: exp.Table) -> exp.Select | None:
    return table.find_ancestor(exp.Select)


def _key(select: exp.Select, target: _Target) -> exp.Column | None:
    """Return the projection that is the plain key column."""
    for projection in select.expressions:
        column = projection.unalias()
        if isinstance(column, exp.Column) and column.name.lower() == target.old:
            return column
    return None


def _can_join_base(tree: exp.Query, selects: list[exp.Select], target: _Target) -> bool:
    """Tell whether every SELECT that reads events names the key and reads nothing that would change with it."""
    derived = {cte.alias for cte in tree.find_all(exp.CTE)}
    for select in selects:
        sources = _sources(select)
        if _key(select, target) is None:
            return False
        if any(isinstance(s, exp.Subquery) or (isinstance(s, exp.Table) and s.name in derived) for s in sources):
            return False
    above = [select for select in tree.find_all(exp.Select) if select not in selects]
    return not any(_mixes(select, derived) or _aggregates_key(select, target) for select in above)


def _aggregates_key(select: exp.Select, target: _Target) -> bool:
    """Tell whether a SELECT counts the things themselves, which would be gone once they are exchanged below it."""
    keys = (column for column in select.find_all(exp.Column) if column.name.lower() == target.old)
    return any(key.parent_select is select and key.find_ancestor(exp.AggFunc, exp.Select) is not select for key in keys)


def _mixes(select: exp.Select, derived: set[str]) -> bool:
    """Tell whether a SELECT joins what the definition derives to a table of its own, by keys that would change."""
    sources = _sources(select)
    own = [s for s in sources if isinstance(s, exp.Table) and s.name in derived]
    tables = [s for s in sources if isinstance(s, exp.Table) and isinstance(s.this, exp.Identifier) and s not in own]
    return len(own) < len(sources) and bool(tables) and len(sources) > 1 and not all(_is_per_entity(t) for t in tables)


def _is_per_entity(table: exp.Table) -> bool:
    """Tell whether a table is chosen by the entity, as peers and @metrics_entity_type_table are."""
    return bool(table.meta_get("per_entity"))


def _sources(select: exp.Select) -> list[exp.Expr]:
    first = select.args.get("from_")
    return [*([first.this] if first else []), *(join.this for join in select.args.get("joins") or ())]


def _outermost(query: exp.Expr, target: _Target, context: DefinitionContext) -> Iterator[exp.Select]:
    """Yield, from the top down, each SELECT that names the key above an event source; not those inside it."""
    for select in _selects(query):
        above = any(_is_source(table, query.root(), context) for table in select.find_all(exp.Table))
        if above and _key(select, target) is not None:
            yield select
        elif above:
            for inner in _children(select):
                yield from _outermost(inner, target, context)


def _selects(query: exp.Expr) -> Iterator[exp.Select]:
    if isinstance(query, exp.Select):
        yield query
    elif isinstance(query, exp.SetOperation):
        yield from _selects(query.left)
        yield from _selects(query.right)
        with_ = query.args.get("with_")
        for cte in with_.expressions if with_ else ():
            yield from _selects(cte.this)
    elif isinstance(query, (exp.Subquery, exp.Paren)):
        yield from _selects(query.this)


def _children(select: exp.Select) -> Iterator[exp.Expr]:
    for node in select.find_all(exp.Select, exp.SetOperation):
        if node is not select and node.find_ancestor(exp.Select) is select:
            yield node


def _join(select: exp.Select, target: _Target, context: DefinitionContext) -> None:
    key = _key(select, target)
    if key is None:
        return
    key = key.copy()
    join = _join_tables if context.is_oso else _join_members
    new = join(select, key, target, context)
    _exchange(select, key, new, target, partitions=not context.is_oso)


def _ways(base: str, entity: str, context: DefinitionContext) -> tuple[tuple[Path, ...], exp.Query]:
    """Return every path from one entity to another and the query of distinct pairs; raise CompileError for none."""
    known = context.memo.get((base, entity))
    if known is None:
        ways = paths(context.entities, base, entity)
        if not ways:
            reached = [e for e in context.entities if e != base and paths(context.entities, base, e)]
            if entity == ALL:
                named = ", ".join(f'"{name}"' for name in (base, *reached))
                raise CompileError(
                    f"'{base}' does not roll up to 'all', which a whole query has no number of",
                    hint=f"say what it counts for, out of these: entities = [{named}]",
                )
            hint = nearest(entity, reached) or f'add rolls_up_to = "{entity}" to an entity'
            raise CompileError(f"'{base}' does not roll up to '{entity}'", hint=hint)
        pairs = membership(Anchor(base, "", ways), context.project)
        for arm in _selects(pairs):
            for column, name in zip(arm.expressions, (_MEMBER, _GROUP), strict=True):
                column.set("alias", exp.to_identifier(name))
        known = context.memo[(base, entity)] = ways, pairs
    return known


def _join_members(select: exp.Select, key: exp.Column, target: _Target, context: DefinitionContext) -> exp.Column:
    ways, pairs = _ways(target.base.name, target.entity.name, context)
    member = exp.EQ(this=key.copy(), expression=exp.column(_MEMBER, target.alias))
    _add_join(select, _subquery(pairs.copy(), target.alias), member)
    anchor = Anchor(target.base.name, "", ways)
    if anchor.has_validity:
        day = exp.cast(_day(select), "DATE")
        valid = (
            exp.select("1")
            .from_(_subquery(membership_intervals(anchor, context.project), "valid"))
            .where(
                exp.column(MEMBER, "valid").eq(exp.column(_MEMBER, target.alias)),
                exp.column(GROUP, "valid").eq(exp.column(_GROUP, target.alias)),
                exp.LTE(this=exp.column(VALID_FROM, "valid"), expression=day),
                exp.GT(this=exp.column(VALID_TO, "valid"), expression=day.copy()),
            )
        )
        select.where(exp.Exists(this=valid), copy=False)
    return exp.column(_GROUP, target.alias)


def _subquery(query: exp.Query, alias: str) -> exp.Subquery:
    return exp.Subquery(this=query, alias=exp.TableAlias(this=exp.to_identifier(alias)))


def _join_tables(select: exp.Select, key: exp.Column, target: _Target, context: DefinitionContext) -> exp.Column:
    """Join each mapping of the first path as a plain table, as OSO does: a member found twice counts twice."""
    sources = _sources(select)
    first = sources[0]
    if len(sources) == 1:
        for column in list(walk_in_scope(select)):
            if isinstance(column, exp.Column) and not column.table and not _names_alias(column, select):
                column.set("table", exp.to_identifier(first.alias_or_name))
        key.set("table", exp.to_identifier(first.alias_or_name))
    previous = exp.column(exp.to_identifier(key.name), table=first.alias_or_name)
    for edge in _ways(target.base.name, target.entity.name, context)[0][0]:
        alias = edge.through.rpartition(".")[2]
        on = previous.eq(exp.column(edge.child_key, table=alias))
        _add_join(select, relation(edge.through, context.project, alias), on)
        previous = exp.column(edge.parent_key, table=alias)
    return previous


def _add_join(select: exp.Select, table: exp.Expr, condition: exp.Expr) -> None:
    select.append("joins", exp.Join(this=table, on=condition, kind="INNER"))


def _names_alias(column: exp.Column, select: exp.Select) -> bool:
    clause = column.find_ancestor(exp.Order, exp.Having, exp.Select)
    return clause is not select and column.name in {p.alias for p in select.expressions if isinstance(p, exp.Alias)}


def _day(select: exp.Select) -> exp.Expr:
    """Return the column that dates the rows of a SELECT, for membership that depends on the day."""
    for node in select.find_all(exp.Anonymous):
        macro = macro_of(node)
        if macro is not None and macro.name == "metrics_sample_date":
            return _copy(arguments_of(node)["base"])
    for between in select.find_all(exp.Between):
        low = macro_of(between.args["low"])
        if low is not None and low.name == "metrics_start":
            return _copy(between.this)
    raise CompileError(
        "membership depends on the day, but this query does not say which column dates its rows",
        hint="use @metrics_sample_date(column) or column BETWEEN @metrics_start('DATE') AND @metrics_end('DATE')",
    )


def _copy(node: exp.Expr) -> exp.Expr:
    return node.copy()


def _exchange(select: exp.Select, key: exp.Column, new: exp.Column, target: _Target, *, partitions: bool) -> None:
    """Put the entity's key where the base entity's stood as output, group key and partition key."""
    for projection in list(select.expressions):
        column = projection.unalias()
        if column == key:
            projection.replace(exp.alias_(new.copy(), _renamed(projection, target).copy()))
    group = select.args.get("group")
    keys = list(group.expressions) if group else []
    if partitions:
        own = (window for window in select.find_all(exp.Window) if window.parent_select is select)
        keys += [key for window in own for key in window.args.get("partition_by") or ()]
    for column in keys:
        if column == key or (isinstance(column, exp.Column) and not column.table and column.name.lower() == target.old):
            column.replace(new.copy())


def _renamed(projection: exp.Expr, target: _Target) -> exp.Identifier:
    """Return the name of a key that was exchanged; `to_…_id` goes along, others stay as they were written."""
    name = projection.alias_or_name.lower()
    if name == target.old:
        return target.new
    if name == f"to_{target.base.name}_id":
        return exp.to_identifier(f"to_{target.entity.name}_id")
    written: exp.Identifier = projection.args["alias"]
    return written


def _rename(tree: exp.Query, joined: list[exp.Select], target: _Target) -> None:
    """Call the key by its new name wherever a SELECT reads it from a joined one."""
    inside = set(map(id, joined))
    for name in list(tree.find_all(exp.Identifier)):
        if name.name.lower() != target.old:
            continue
        if isinstance(name.parent, (exp.Column, exp.Alias, exp.TableAlias, exp.Join)):
            select = name.find_ancestor(exp.Select)
            owner = name.parent.find_ancestor(exp.CTE) if isinstance(name.parent, exp.TableAlias) else None
            if owner is not None or select is None or id(select) not in inside:
                name.replace(target.new.copy())


def _unjoined(read: list[exp.Table], selects: list[exp.Select], target: _Target) -> CompileError:
    tables = ", ".join(dict.fromkeys(table.name for table in read))
    computed = any(p.alias.lower() == target.old for s in selects for p in s.expressions if isinstance(p, exp.Alias))
    reason = (
        f"its {target.old} is computed, not a plain column"
        if computed
        else f"no SELECT that reads it names {target.old}"
    )
    return CompileError(
        f"{tables} cannot be joined to '{target.entity.name}': {reason}",
        hint=f"select the column {target.old} of {tables} as it is",
    )
