"""The values of a dimension that are kept and the rest folded into one, ranked once over the whole span (tripl §7.4)."""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import partial

from sqlglot import exp

from tallystick.compiler.aggregate_model import Input, aggregate_model, matching_rows
from tallystick.compiler.span import Span
from tallystick.definitions.project import Project

IS_OTHER = "is_other"
_KEPT = "kept"
_VALUE = "kept_value"


@dataclass(frozen=True, slots=True)
class FoldedInput(Input):
    """The rows of a breakdown in which only the kept values stand for themselves."""

    def columns(self) -> list[exp.Expr]:
        """Return entity, kept value and whether the row is one of the others."""
        kept = exp.column(_VALUE, _KEPT)
        is_other = exp.Case(ifs=[exp.If(this=kept.is_(exp.null()), true=exp.Literal.number(1))])
        is_other.set("default", exp.Literal.number(0))
        head = [] if self.key is None else [self.entity_id().as_(self.key, copy=False)]
        return [*head, kept.as_(self.model.by[0], copy=False), is_other.as_(IS_OTHER, copy=False)]

    @property
    def names(self) -> list[str]:
        """Return the names of the columns above."""
        return [*([] if self.key is None else [self.key]), self.model.by[0], IS_OTHER]


def folded_model(read: Input, ranked: Input, limit: int, project: Project, span: Span) -> exp.Select:
    """Return the query of a model by one dimension: `limit` less one values of it by rows of `ranked`, and the rest.

    NULL is no value, so it is among the others. Ties are broken by the code points of the values as the engine writes
    them; the values themselves stay what they are, so that a limit does not change how one is spelled.
    """
    parts = {each.name: getattr(read, each.name) for each in fields(Input)}
    folded = FoldedInput(**parts)
    query = aggregate_model(folded, project, span)
    kept = ranking(ranked, limit, project, span).subquery(_KEPT, copy=False)
    on = exp.EQ(this=_value(read), expression=exp.column(_VALUE, _KEPT))
    rows = next(select for select in query.find_all(exp.Select) if _reads(select, read.scope.alias))
    rows.join(kept, on=on, join_type="left", copy=False)
    return query


def ranking(read: Input, limit: int, project: Project, span: Span) -> exp.Select:
    """Return the query for the values that are kept."""
    rows = matching_rows(read, project, span.on(read.calendar))
    value = _value(read)
    rows = rows.select(value.as_(_VALUE), exp.Count(this=exp.Star()).as_("rank_rows"), copy=False)
    rows = rows.where(exp.Not(this=exp.Is(this=value.copy(), expression=exp.null())), copy=False)
    rows = rows.group_by(exp.Literal.number(1), copy=False)
    order = partial(exp.column, table="ranked")
    ranked = exp.select(order(_VALUE)).from_(rows.subquery("ranked"))
    by_name: exp.Expr = exp.cast(order(_VALUE), exp.DType.VARCHAR)
    if read.dialect in ("postgres", "redshift"):
        by_name = exp.Collate(this=by_name, expression=exp.to_identifier("C", quoted=True))
    return ranked.order_by(exp.Ordered(this=order("rank_rows"), desc=True), by_name, copy=False).limit(limit - 1)


def _value(read: Input) -> exp.Expr:
    return read.scope.dimension(read.model.by[0])


def _reads(select: exp.Select, alias: str) -> bool:
    source = select.args.get("from_")
    return source is not None and source.this.alias_or_name == alias
