"""What a door may ask of a metric-hub clone: what it holds, what a name means, its SQL, when files changed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from types import MappingProxyType
from typing import Any

from tallystick.compiler.metric_hub.portability import Portability, portability
from tallystick.compiler.metric_hub.query import GroupBy
from tallystick.compiler.metric_hub.render import render_metrics
from tallystick.definitions.metric_hub import nouns as n
from tallystick.definitions.metric_hub.collection import Collection
from tallystick.definitions.metric_hub.places import origin_of
from tallystick.definitions.metric_hub.repository import Repository, qualified
from tallystick.definitions.metric_hub.values import thaw
from tallystick.errors import Location

_KINDS = ("metrics", "data_sources", "segments", "segment_data_sources", "dimensions")


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One row of `tally list`: a definition with what people ask about first."""

    name: str
    kind: str
    platform: str
    data_source: str | None
    friendly_name: str | None
    owners: tuple[str, ...]
    level: str | None
    deprecated: bool
    location: Location


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """One field of a definition: its value, and the file and line that gave it (none: a default)."""

    field: str
    value: Any
    location: Location | None


def entries(repository: Repository, tool: str | None = None, *, metrics_only: bool = True) -> Iterator[Entry]:
    """Yield what a tool sees, by platform and in order of the files."""
    for platform, spec in repository.collection(tool).definitions.items():
        for kind in _KINDS[:1] if metrics_only else _KINDS:
            for definition in getattr(spec, kind).values():
                yield _entry(platform, kind, definition)


def _entry(platform: str, kind: str, definition: n.Definition) -> Entry:
    return Entry(
        name=f"{platform}.{definition.name}",
        kind=kind.removesuffix("s"),
        platform=platform,
        data_source=getattr(definition, "data_source", None),
        friendly_name=getattr(definition, "friendly_name", None),
        owners=getattr(definition, "owners", ()),
        level=getattr(definition, "level", None),
        deprecated=getattr(definition, "deprecated", False),
        location=definition.place.location if definition.place else Location(),
    )


def facts(repository: Repository, name: str, tool: str | None = None) -> Mapping[str, tuple[Fact, ...]]:
    """Return every field of what a name means to a tool, by kind; raises `UnknownNameError`."""
    collection = repository.collection(tool)
    platform, slug = qualified(collection, name)
    spec = collection.spec_of(platform)
    found = {kind: getattr(spec, kind)[slug] for kind in _KINDS if slug in getattr(spec, kind)}
    if not found:
        from tallystick.compiler.metric_hub.query import require_metric

        require_metric(collection, slug, platform)
    return MappingProxyType({kind.removesuffix("s"): tuple(_facts(definition)) for kind, definition in found.items()})


def _facts(definition: n.Definition) -> Iterator[Fact]:
    origin = origin_of(definition.place, definition.places)
    for field in fields(definition):
        value = getattr(definition, field.name)
        if field.name in ("place", "places") or value is None or value in ((), ""):
            continue
        if field.name == "name":
            yield Fact(field="name", value=value, location=origin.location)
        else:
            yield Fact(field=field.name, value=_plain(value), location=origin.fields.get(field.name))


def _plain(value: object) -> Any:
    if isinstance(value, Mapping) and any(isinstance(item, n.Join) for item in value.values()):
        return {
            name: {k: v for k, v in (("relationship", j.relationship), ("on_expression", j.on_expression)) if v}
            for name, j in value.items()
        }
    return thaw(value)


def render(
    repository: Repository,
    name: str,
    tool: str | None = None,
    *,
    dialect: str = "bigquery",
    group_by: GroupBy = (),
    where: str | None = None,
    dataset: str | None = None,
) -> str:
    """Return the SQL of a metric: compat text in BigQuery, the corrected tree in strict mode or other dialects."""
    collection = repository.collection(tool)
    platform, slug = qualified(collection, name)
    return render_metrics(
        collection, [slug], platform, dialect=dialect, group_by=group_by, where=where, dataset=dataset
    )


def why_not_portable(
    repository: Repository, name: str, tool: str | None = None, *, dialect: str = "duckdb"
) -> Portability:
    """Return whether a metric runs in a dialect as it stands, and every reason why not."""
    collection = repository.collection(tool)
    platform, slug = qualified(collection, name)
    return portability(collection, slug, platform, dialect)


def collection_of(repository: Repository, tool: str | None) -> Collection:
    """Return what a tool sees, or the shared definitions if the repository has no such tool."""
    return repository.tools.get(tool or "", repository.shared)
