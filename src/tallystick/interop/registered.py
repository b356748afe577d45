"""What a registry says beyond its metrics, for exports: unions and descriptions, tags and audits (spec oso §3, §8)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from sqlglot import exp

from tallystick.compiler.contract import output_columns
from tallystick.compiler.definition_context import definition_context
from tallystick.compiler.derived_models import derived_model
from tallystick.compiler.factory_models import FactoryModel, factory_models
from tallystick.compiler.plan import is_registered
from tallystick.definitions.oso_options import Audit
from tallystick.definitions.project import Project
from tallystick.interop.tables import Reference, resolve


@dataclass(frozen=True, slots=True, kw_only=True)
class Derived:
    """A union or description, ready to be written: a view, or a table that is made whole."""

    name: str
    query: exp.Query
    columns: tuple[str, ...]
    is_view: bool
    description: str
    tags: tuple[str, ...]
    audits: tuple[Audit, ...]


def registered_tables(project: Project) -> Mapping[str, FactoryModel]:
    """Return by name the models of metrics that a registry lists, with the tags and audits it gives them."""
    if not any(map(is_registered, project.metrics.values())):
        return {}
    found = (each for each in factory_models(project) if each.model is not None)
    return {each.table: each for each in found if each.model and is_registered(project.metrics[each.model.metric])}


def derived(
    project: Project,
    wanted: Sequence[FactoryModel],
    schema: str,
    models: Collection[str],
    written: Callable[[Reference], exp.Table],
) -> Iterator[Derived]:
    """Yield unions and descriptions over those of their parts that are exported; `models` names exported models."""
    context = definition_context(project, project.warehouse.engine, schema=schema)
    known = {*models, *(model.table for model in wanted)}
    for model in wanted:
        members = tuple(name for name in model.members if name.rpartition(".")[2] in known)
        query = derived_model(replace(model, members=members), context)
        columns = tuple(output_columns(query) or ())
        resolve(query, project, schema, known, written)
        yield Derived(
            name=model.table,
            query=query,
            columns=columns,
            is_view=model.materialized == "view",
            description=_description(model),
            tags=model.tags,
            audits=model.audits,
        )


def _description(model: FactoryModel) -> str:
    if model.kind == "union":
        which = "Values over all time" if model.table.startswith("key_") else "Values over time"
        return f"{which} of all metrics per {model.entity}."
    return "What each metric is." if model.metric is None else f"What the metrics of '{model.metric}' are."
