"""Names that mean two things at once."""

from __future__ import annotations

from tallystick.definitions.diagnostics import diagnose
from tallystick.definitions.drafts import Drafts
from tallystick.definitions.entity import ALL
from tallystick.definitions.metric import Metric, Views, model_name
from tallystick.definitions.origin import place_of
from tallystick.sql.grain import OVER_ALL_TIME, Grain


def find_clashes(drafts: Drafts) -> None:
    """Report conditions, dimensions and models that share a name with another."""
    _conditions(drafts)
    _dimensions(drafts)
    _models(drafts)


def _conditions(drafts: Drafts) -> None:
    """Report a filter named like a segment of its source, or like a column that is computed; neither is used."""
    for source in list(drafts.sources.values()):
        for name in source.filters:
            at = place_of(source.origin, f"filters.{name}")
            segment = drafts.segments.get(name)
            if segment is not None and segment.source == source.name:
                message = f"'{name}' is a filter of source '{source.name}' and also a {segment.kind}"
                hint = f"rename one of them; the filter is at {at}"
                drafts.findings.append(diagnose("name-clash", message, segment.origin.location, hint=hint))
                drafts.leave_out(segment.kind, name)
                del drafts.segments[name]
            if name in source.columns and source.columns[name].sql is not None:
                message = f"'{name}' is a filter and also a computed column of source '{source.name}'"
                drafts.findings.append(diagnose("name-clash", message, at, hint="rename one of them"))
                drafts.leave_out("source", source.name)
                drafts.sources.pop(source.name, None)


def _dimensions(drafts: Drafts) -> None:
    """Report a dimension named like an entity, since values are asked for by either."""
    for dimension in list(drafts.dimensions.values()):
        if dimension.name in drafts.entities:
            other = drafts.entities[dimension.name].origin.location
            message = f"'{dimension.name}' is a dimension and also an entity"
            hint = f"rename one of them; the entity is at {other}"
            drafts.findings.append(diagnose("name-clash", message, dimension.origin.location, hint=hint))
            drafts.leave_out("dimension", dimension.name)
            del drafts.dimensions[dimension.name]


def _models(drafts: Drafts) -> None:
    """Report and leave out the later of two metrics that compile to one model name."""
    owners: dict[str, Metric] = {}
    for metric in list(drafts.metrics.values()):
        names = _model_names(metric, drafts.settings.views) if metric.enabled else []
        clash = next((name for name in names if name in owners), None)
        if clash is None:
            owners.update(dict.fromkeys(names, metric))
            continue
        first = owners[clash]
        message = f"metrics '{first.name}' and '{metric.name}' both compile to a model named '{clash}'"
        hint = f"rename one of them; '{first.name}' is at {first.origin.location}"
        drafts.findings.append(diagnose("model-clash", message, metric.origin.location, hint=hint))
        drafts.leave_out("metric", metric.name)
        del drafts.metrics[metric.name]


def _model_names(metric: Metric, defaults: Views) -> list[str]:
    views = metric.views
    times = views if views.grains or views.rolling or views.all_time else defaults
    suffixes = [window.suffix for window in times.rolling] + [grain.suffix for grain in times.grains]
    suffixes += [OVER_ALL_TIME] if times.all_time else []
    breakdowns: list[tuple[str, ...]] = [(), *((name,) for name in views.by)]
    return [
        model_name(metric.name, by, entity, suffix)
        for entity in views.entities or defaults.entities or (ALL,)
        for by in breakdowns
        for suffix in suffixes or [Grain.DAY.suffix]
    ]
