"""Read metric-hub repositories as notebooks and ETL do: load, merge, ask for definitions, SQL and specs.

>>> from tallystick import metric_hub
>>> hub = metric_hub.load("metric-hub")  # doctest: +SKIP
>>> print(hub.get_metrics_sql(["uri_count"], "fenix", group_by=["country"]))  # doctest: +SKIP
"""

from __future__ import annotations

import datetime as dt
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, TypeVar

from tallystick.definitions.metric_hub import loading
from tallystick.definitions.metric_hub import nouns as n
from tallystick.definitions.metric_hub import resolved as r
from tallystick.definitions.metric_hub.collection import Collection as _Collection
from tallystick.definitions.metric_hub.merging import merge as _merge
from tallystick.definitions.metric_hub.mode import Mode
from tallystick.errors import DefinitionError, ProjectError

if TYPE_CHECKING:
    from tallystick.compiler.metric_hub.portability import Portability
    from tallystick.definitions.diagnostics import Diagnostic

__all__ = ["Collection", "ExperimentRecord", "Mode", "RepositoryError", "SpecView", "file_dates", "load"]

ExperimentRecord = r.ExperimentRecord
AnyPath = str | PathLike[str]
GroupBy = Sequence[str] | Mapping[str, str] | None


class RepositoryError(DefinitionError):
    """A repository has errors; all of them are in `diagnostics`."""

    def __init__(self, diagnostics: tuple[Diagnostic, ...]) -> None:
        first = diagnostics[0]
        others = f" (and {len(diagnostics) - 1} more)" if len(diagnostics) > 1 else ""
        super().__init__(f"{first.message}{others}", at=first.location, hint=first.hint)
        self.diagnostics = diagnostics


def load(
    paths: AnyPath | Sequence[AnyPath],
    *,
    mode: Mode | Literal["compat", "strict"] = Mode.COMPAT,
    on_error: Literal["raise", "collect"] = "raise",
) -> Collection:
    """Load one folder or several, each merged over the ones before it (spec metric_hub §2, §5).

    `load([clone, f"{clone}/jetstream"])` gives what jetstream works with. Raises `ProjectError` for a missing
    folder and `RepositoryError` with every finding for files that are wrong, unless errors are collected.
    """
    given = [paths] if isinstance(paths, str | PathLike) else list(paths)
    roots = [Path(path) for path in given]
    if not roots:
        raise ProjectError("no folder was given to load")
    for root in roots:
        if not root.is_dir():
            raise ProjectError(f"{root} is not a folder", hint="name the folder of a metric-hub clone")
    first = roots[0]
    merged = loading.load(first, Mode(mode))
    for root in roots[1:]:
        base = first if root.is_relative_to(first) else root
        merged = _merge(merged, loading.load(root, Mode(mode), base=base))
    if on_error == "raise" and merged.errors:
        raise RepositoryError(merged.errors)
    return Collection(merged)


@dataclass(frozen=True, slots=True)
class SpecView:
    """A spec as it was written, with the collection to resolve it against."""

    spec: n.Spec
    collection: _Collection

    @property
    def slug(self) -> str:
        """Return the slug of the experiment, project or outcome."""
        return self.spec.slug

    @property
    def metrics(self) -> Mapping[str, n.MetricDefinition]:
        """Return the metrics the spec defines or adds to."""
        return self.spec.metrics

    @property
    def periods(self) -> Mapping[n.Period, tuple[n.Reference, ...]]:
        """Return which metrics are asked for in which period."""
        return self.spec.periods

    @property
    def experiment(self) -> n.ExperimentSettings:
        """Return the `[experiment]` table."""
        return self.spec.experiment

    @property
    def project(self) -> n.ProjectSettings:
        """Return the `[project]` table."""
        return self.spec.project

    def resolve(
        self, experiment: ExperimentRecord | None = None, *, app_name: str | None = None
    ) -> r.AnalysisConfiguration | r.MonitoringConfiguration:
        """Resolve everything the spec computes; raises `RepositoryError` with every failure.

        Without a record and an app name an experiment is resolved for the app where its names are defined.
        """
        facade = Collection(self.collection)
        match self.spec.kind:
            case n.Kind.MONITORING:
                return facade.resolve_opmon_project(self.slug, experiment)
            case n.Kind.OUTCOME:
                return facade.resolve_outcome(self.slug, str(self.spec.platform))
            case _:
                return facade.resolve_experiment(self.slug, app_name=app_name, experiment=experiment)


@dataclass(frozen=True, slots=True)
class Collection:
    """A loaded repository, or several merged ones; immutable, so asking twice gives the same answer."""

    definitions: _Collection

    @property
    def mode(self) -> Mode:
        """Return whether quirks are reproduced (`compat`) or corrected (`strict`)."""
        return self.definitions.mode

    @property
    def diagnostics(self) -> tuple[Diagnostic, ...]:
        """Return what was noticed while reading and merging."""
        return self.definitions.diagnostics

    @property
    def platforms(self) -> tuple[str, ...]:
        """Return the platforms that have definitions."""
        return self.definitions.platforms

    def merge(self, other: Collection) -> Collection:
        """Return a collection in which `other` wins (spec §5.1)."""
        return Collection(_merge(self.definitions, other.definitions))

    # --- definitions ---

    def get_metric_definition(self, slug: str, app_name: str) -> n.MetricDefinition | None:
        """Return a metric, or nothing."""
        return self.definitions.metric(slug, app_name)

    def get_data_source_definition(self, slug: str, app_name: str) -> n.DataSourceDefinition | None:
        """Return a data source, or nothing."""
        return self.definitions.data_source(slug, app_name)

    def get_segment_definition(self, slug: str, app_name: str) -> n.SegmentDefinition | None:
        """Return a segment, or nothing."""
        return self.definitions.segment(slug, app_name)

    def get_segment_data_source_definition(self, slug: str, app_name: str) -> n.SegmentDataSourceDefinition | None:
        """Return the data source of segments, or nothing."""
        return self.definitions.segment_data_source(slug, app_name)

    def get_dimension_definition(self, slug: str, app_name: str) -> n.DimensionDefinition | None:
        """Return a dimension, or nothing."""
        return self.definitions.dimension(slug, app_name)

    def get_metrics_for_app(self, app_name: str) -> tuple[n.MetricDefinition, ...]:
        """Return every metric of a platform."""
        spec = self.definitions.definitions.get(app_name)
        return tuple(spec.metrics.values()) if spec else ()

    def get_segments_for_app(self, app_name: str) -> tuple[n.SegmentDefinition, ...]:
        """Return every segment of a platform."""
        spec = self.definitions.definitions.get(app_name)
        return tuple(spec.segments.values()) if spec else ()

    def get_dimensions_for_app(self, app_name: str) -> tuple[n.DimensionDefinition, ...]:
        """Return every dimension of a platform."""
        spec = self.definitions.definitions.get(app_name)
        return tuple(spec.dimensions.values()) if spec else ()

    def get_platform_definitions(self, platform: str) -> n.Spec | None:
        """Return all definitions of a platform."""
        return self.definitions.definitions.get(platform)

    def get_platform_defaults(self, platform: str) -> n.Spec | None:
        """Return what is computed for a platform when nothing else is said."""
        return self.definitions.defaults.get(platform)

    # --- SQL ---

    def get_metrics_sql(
        self,
        metrics: Sequence[str],
        platform: str,
        group_by: GroupBy = None,
        where: str | None = None,
        group_by_client_id: bool = True,
        group_by_submission_date: bool = True,
        *,
        dialect: str = "bigquery",
        dataset: str | None = None,
    ) -> str:
        """Return one query for metrics of a platform (spec §7.1); raises a `TallystickError` with the nearest name.

        `group_by` lists columns or maps an alias to an expression. A `dataset` or another dialect gives the
        corrected query, as strict mode always does.
        """
        from tallystick.compiler.metric_hub.render import render_metrics

        return render_metrics(
            self.definitions,
            [metrics] if isinstance(metrics, str) else metrics,
            platform,
            group_by=group_by or (),
            where=where,
            group_by_client_id=group_by_client_id,
            group_by_submission_date=group_by_submission_date,
            dialect=dialect,
            dataset=dataset,
        )

    def get_data_source_sql(
        self,
        data_source: str,
        platform: str,
        where: str | None = None,
        select_fields: bool = True,
        ignore_joins: bool = False,
        *,
        dialect: str = "bigquery",
        dataset: str | None = None,
    ) -> str:
        """Return the query of a data source with what it joins (spec §7.2)."""
        from tallystick.compiler.metric_hub.render import render_data_source

        return render_data_source(
            self.definitions,
            data_source,
            platform,
            where=where,
            select_fields=select_fields,
            ignore_joins=ignore_joins,
            dialect=dialect,
            dataset=dataset,
        )

    def get_portability(self, metric: str, platform: str, dialect: str = "duckdb") -> Portability:
        """Return whether a metric runs in a dialect as it stands, and every reason why not."""
        from tallystick.compiler.metric_hub.portability import portability

        return portability(self.definitions, metric, platform, dialect)

    # --- specs ---

    def get_spec_for_experiment(self, slug: str) -> SpecView | None:
        """Return the config of an experiment, or nothing."""
        return self._view(slug, n.Kind.ANALYSIS)

    def get_spec_for_opmon_project(self, slug: str) -> SpecView | None:
        """Return the config of a monitoring project, or nothing."""
        return self._view(slug, n.Kind.MONITORING)

    def get_spec_for_outcome(self, slug: str, platform: str) -> SpecView | None:
        """Return an outcome of a platform, or nothing."""
        spec = self.definitions.outcomes.get((platform, slug))
        return SpecView(spec, self.definitions) if spec else None

    spec_for_experiment = get_spec_for_experiment
    spec_for_project = get_spec_for_opmon_project
    spec_for_outcome = get_spec_for_outcome

    def _view(self, slug: str, kind: n.Kind) -> SpecView | None:
        spec = self.definitions.configs.get(slug)
        return SpecView(spec, self.definitions) if spec and spec.kind is kind else None

    def resolve_experiment(
        self, slug: str, *, app_name: str | None = None, experiment: ExperimentRecord | None = None
    ) -> r.AnalysisConfiguration:
        """Return the metrics, statistics and periods of an experiment; raises `RepositoryError` (spec §6)."""
        from tallystick.definitions.metric_hub.analysis import resolve_experiment
        from tallystick.definitions.metric_hub.checking import resolve_somewhere

        if experiment is None and app_name is None:
            return _sound(resolve_somewhere(self.definitions, slug))
        record = experiment or ExperimentRecord(slug=slug, proposed_enrollment=14)
        return _sound(resolve_experiment(self.definitions, replace(record, app_name=app_name or record.app_name)))

    def resolve_outcome(self, slug: str, platform: str) -> r.AnalysisConfiguration:
        """Return what an outcome computes; raises `RepositoryError`."""
        from tallystick.definitions.metric_hub.analysis import resolve_outcome

        return _sound(resolve_outcome(self.definitions, platform, slug))

    def resolve_opmon_project(self, slug: str, experiment: ExperimentRecord | None = None) -> r.MonitoringConfiguration:
        """Return what a monitoring project computes; raises `RepositoryError` (spec §6.5)."""
        from tallystick.definitions.metric_hub.monitoring import resolve_project

        return _sound(resolve_project(self.definitions, slug, experiment))

    def last_modified(self) -> Mapping[str, dt.datetime]:
        """Return when each file of the first folder last changed (UTC), from one `git log`; empty outside git."""
        return file_dates(Path(self.definitions.roots[0]))


C = TypeVar("C", r.AnalysisConfiguration, r.MonitoringConfiguration)


def _sound(configuration: C) -> C:
    if configuration.errors:
        raise RepositoryError(configuration.errors)
    return configuration


def file_dates(root: Path) -> Mapping[str, dt.datetime]:
    """Return when each file below a folder last changed (UTC), from a single `git log`; empty without git."""
    git = shutil.which("git")
    if git is None:
        return MappingProxyType({})
    command = [
        git,
        "-C",
        str(root),
        "log",
        "--format=%x01%ct",
        "--name-only",
        "--no-renames",
        "-z",
        "--relative",
        "--",
        ".",
    ]
    done = subprocess.run(  # noqa: S603 - git, with arguments of our own
        command, capture_output=True, check=False, text=True, errors="surrogateescape"
    )
    if done.returncode != 0:
        return MappingProxyType({})
    return MappingProxyType(dict(_dates(done.stdout)))


def _dates(log: str) -> Iterator[tuple[str, dt.datetime]]:
    """Yield the newest date of every name; commits come newest first."""
    seen: set[str] = set()
    for commit in log.split("\x01")[1:]:
        stamp, *names = commit.replace("\n", "\0").split("\0")
        when = dt.datetime.fromtimestamp(int(stamp), dt.UTC)
        for name in names:
            if name and name not in seen:
                seen.add(name)
                yield name, when
