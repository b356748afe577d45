"""The conditions of a metric: names of filters, events and segments written out as SQL."""

from __future__ import annotations

import re
from collections.abc import Mapping

from sqlglot import exp

from tallystick.definitions.fragment import is_name, parse_fragment
from tallystick.definitions.metric import Aggregate, Metric
from tallystick.definitions.project import Project
from tallystick.definitions.source import Segment, Source
from tallystick.errors import ExpressionError

_WORD = re.compile(r"\w+")


def conditions(project: Project, metric: Metric) -> tuple[str, ...]:
    """Return the conditions a metric's rows must pass, as SQL over columns of its source.

    A condition that is one identifier names a filter of the source, an event or a segment; within longer SQL a bare
    column with such a name stands for it. Raise ExpressionError where names lead back to themselves.
    """
    definition = metric.definition
    if not isinstance(definition, Aggregate):
        return ()
    named = named_conditions(project.sources[definition.source], project.segments)
    dialect = definition.dialect or project.dialect
    return tuple(expand(text, named, project.dialect, dialect) for text in definition.where)


def named_conditions(source: Source, segments: Mapping[str, Segment]) -> dict[str, str]:
    """Return every name that stands for a condition on a source, with its SQL."""
    on_source = {segment.name: segment.where for segment in segments.values() if segment.source == source.name}
    return {**on_source, **source.filters}


def expand(text: str, named: Mapping[str, str], dialect: str, write: str | None = None) -> str:
    """Return a condition with names written out; named ones are in `dialect`, text and result in `write`."""
    write = write or dialect
    if is_name(text):
        name = text.strip()
        return _rendered(name, named, dialect, write) if name in named else name
    if named.keys().isdisjoint(_WORD.findall(text)):
        return text
    tree = parse_fragment(text, write)
    if not any(column.name in named and not column.table for column in tree.find_all(exp.Column)):
        return text
    return _written_out(tree, named, dialect, ()).sql(dialect=write)


def _rendered(name: str, named: Mapping[str, str], dialect: str, write: str) -> str:
    if write == dialect and named.keys().isdisjoint(_WORD.findall(named[name])):
        return named[name]
    tree = parse_fragment(named[name], dialect)
    return _written_out(tree, named, dialect, (name,)).sql(dialect=write)


def _written_out(tree: exp.Expr, named: Mapping[str, str], dialect: str, inside: tuple[str, ...]) -> exp.Expr:
    def replace(node: exp.Expr) -> exp.Expr:
        if not isinstance(node, exp.Column) or node.table or node.name not in named:
            return node
        name = node.name
        if name in inside:
            # `active = "active and not deleted"` speaks of the column of that name.
            if name == inside[-1]:
                return node
            path = " → ".join((*inside[inside.index(name) :], name))
            raise ExpressionError(f"condition '{name}' leads back to itself: {path}", hint="write one of them out")
        return exp.paren(
            _written_out(parse_fragment(named[name], dialect), named, dialect, (*inside, name)), copy=False
        )

    return tree.copy().transform(replace)
