"""Remarks about definitions that work: nothing said about a metric, something nobody uses."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import chain

from tallystick.definitions.diagnostics import Diagnostic, Severity, diagnose, misspelled
from tallystick.definitions.drafts import Drafts
from tallystick.definitions.metric import Aggregate, SqlQuery
from tallystick.definitions.origin import place_of
from tallystick.definitions.project import Project

_WORD = re.compile(r"[A-Za-z_]\w*")


def find_remarks(project: Project, drafts: Drafts) -> Iterator[Diagnostic]:
    """Yield findings that keep nothing from being compiled."""
    yield from _undocumented(project)
    yield from _mappings(project)
    if not drafts.errors():
        yield from _unused(project, drafts)


def _undocumented(project: Project) -> Iterator[Diagnostic]:
    for metric in project.metrics.values():
        if metric.operand_of is not None:
            continue
        missing = [
            what
            for what, value in (("description", metric.about.description), ("owner", metric.about.owners))
            if not value
        ]
        if missing:
            message = f"metric '{metric.name}' has no {' and no '.join(missing)}"
            hint = " and ".join(f'{what} = "…"' for what in missing)
            yield diagnose("undocumented", message, metric.origin.location, severity=Severity.INFO, hint=f"add {hint}")


def _mappings(project: Project) -> Iterator[Diagnostic]:
    """Yield a warning for a mapping that is nearly, but not quite, named like a source."""
    for entity in project.entities.values():
        for edge in entity.rolls_up_to:
            meant = misspelled(edge.through, project.sources) if edge.through not in project.sources else None
            if meant:
                at = place_of(entity.origin, "through", f"rolls_up_to.{edge.parent}", "rolls_up_to")
                message = f"'{edge.through}' is no source and taken as a table of the warehouse"
                yield diagnose(
                    "mapping-is-table", message, at, severity=Severity.WARNING, hint=f"did you mean '{meant}'?"
                )


def _unused(project: Project, drafts: Drafts) -> Iterator[Diagnostic]:
    through = {edge.through for entity in project.entities.values() for edge in entity.rolls_up_to}
    definitions = [metric.definition for metric in project.metrics.values()]
    used = through | {definition.source for definition in definitions if isinstance(definition, Aggregate)}
    queries = [definition.sql for definition in definitions if isinstance(definition, SqlQuery)]
    queries += [source.sql for source in project.sources.values() if source.sql]
    words = set(chain.from_iterable(_WORD.findall(text) for text in queries))
    for source in project.sources.values():
        table = (source.table or "").rpartition(".")[2]
        if source.name not in used and source.name not in words and (not table or table not in words):
            message = f"source '{source.name}' is used by no metric"
            yield diagnose("unused-source", message, source.origin.location, severity=Severity.WARNING)
    yield from _unused_entities(project, drafts)


def _unused_entities(project: Project, drafts: Drafts) -> Iterator[Diagnostic]:
    carried = {name for source in project.sources.values() for name in source.entities}
    parents = {edge.parent for entity in project.entities.values() for edge in entity.rolls_up_to}
    asked = {name for metric in project.metrics.values() for name in metric.views.entities}
    asked |= set(drafts.settings.views.entities)
    for entity in project.entities.values():
        if entity.name not in carried | parents | asked:
            message = f"entity '{entity.name}' is carried by no source"
            yield diagnose("unused-entity", message, entity.origin.location, severity=Severity.WARNING)
