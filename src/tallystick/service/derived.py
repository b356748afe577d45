"""Unions and descriptions of what a registry lists: found by name, and shown (spec oso §8)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tallystick.compiler.factory_models import FactoryModel
    from tallystick.definitions.project import Project

# The compiler is imported where it is used: an answer from the cache needs none.


def models(project: Project) -> tuple[FactoryModel, ...]:
    """Return all of them, in the factory's order; none where the project has no registry."""
    from tallystick.compiler.derived_models import project_derived

    return project_derived(project)


def find(project: Project, name: str | None) -> FactoryModel | None:
    """Return the one of that name, with or without its schema; what a metric is called is the metric."""
    if name is None or name in project.metrics:
        return None
    from tallystick.compiler.derived_models import derived_named

    return derived_named(project, name)


def select(project: Project, names: Sequence[str]) -> tuple[FactoryModel, ...]:
    """Return those that are named, in order; all where nothing is."""
    found = models(project)
    return tuple(model for model in found if not names or model.name in names or model.table in names)


def with_parts(project: Project, names: Sequence[str]) -> tuple[tuple[FactoryModel, ...], tuple[str, ...]]:
    """Return the named ones with those they read, and the names of all else: what is named, and the models they read."""
    found = {model.name: model for model in models(project)}
    chosen = {model.name: model for model in select(project, names)}
    parts = dict.fromkeys(member for model in chosen.values() for member in model.members)
    chosen |= {name: found[name] for name in parts if name in found}
    named = {name for model in chosen.values() for name in (model.name, model.table)}
    read = (name.rpartition(".")[2] for name in parts if name not in found)
    return tuple(chosen.values()), tuple(dict.fromkeys([*(name for name in names if name not in named), *read]))


def render(project: Project, model: FactoryModel, dialect: str) -> str:
    """Return the SQL of a union or description; raise UsageError for an unknown dialect."""
    from tallystick.compiler.definition_context import definition_context
    from tallystick.compiler.derived_models import derived_model
    from tallystick.compiler.lower import to_text
    from tallystick.service.render import check_dialect

    check_dialect(dialect)
    query = derived_model(model, definition_context(project, dialect))
    return to_text(query, dialect, reads=project.dialect, copy=False)
