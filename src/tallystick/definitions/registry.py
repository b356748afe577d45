"""The vocabulary of a Python registry: what a module that lists metrics may say (spec oso §3).

    from tallystick.registry import MetricQueryDef, RollingConfig, timeseries_metrics

    timeseries_metrics(
        schema="metrics",
        start="2020-01-01",
        timeseries_sources=["events_daily"],
        metric_queries={
            "stars": MetricQueryDef(
                ref="stars.sql",
                time_aggregations=["daily", "monthly"],
                rolling=RollingConfig(windows=[30, 90], unit="day", cron="@daily"),
            )
        },
    )

Run by itself such a module does nothing; a project that is loaded gathers what it registers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from types import FrameType
from typing import TypedDict

WORDS = (
    "MetricMetadata",
    "MetricMetadataModifiers",
    "MetricQueryConfig",
    "MetricQueryDef",
    "RollingConfig",
    "timeseries_metrics",
)
"""The names a registry may import."""
Value = str | int | float
Modifier = Callable[[dict[str, object]], object]


class RollingConfig(TypedDict, total=False):
    """Rolling windows of one unit; `cron` says when, `model_batch_size` and `slots` how they are computed."""

    windows: list[int]
    unit: str
    cron: str
    model_batch_size: int
    slots: int


@dataclass(init=False)
class MetricMetadata:
    """What people are told about a metric. Unknown options and missing ones are reported when it is read."""

    display_name: str
    description: str

    def __init__(self, /, *, display_name: str = "", description: str = "", **other: object) -> None:
        self.display_name = display_name
        self.description = description
        self.other = other


class MetricMetadataModifiers(TypedDict, total=False):
    """What a modifier returns for one table."""

    kind_options: dict[str, object]
    audits: list[tuple[str, dict[str, object]]]
    tags: list[str]


MetricQueryConfig = dict[str, object]
"""What a modifier is told about one table: its name, reference, metadata, tags and so on (spec oso §3.1)."""


@dataclass(init=False)
class MetricQueryDef:
    """A metric: the file of its query (`ref`), and the views of it that are wanted.

    Options that are unknown, missing or of another kind are reported when it is read: one metric never hides another.
    """

    ref: str
    entity_types: Sequence[str] | None
    vars: Mapping[str, Value | Sequence[Value]] | None
    name: str | None
    dialect: str | None
    rolling: RollingConfig | None
    time_aggregations: Sequence[str] | None
    over_all_time: bool
    is_intermediate: bool
    enabled: bool
    incremental: bool
    metadata: MetricMetadata | None
    additional_tags: Sequence[str] | None
    audits: Sequence[tuple[str, Mapping[str, object]]] | None
    incremental_audits: Sequence[tuple[str, Mapping[str, object]]] | None

    def __init__(  # noqa: PLR0913 - the fields of spec oso §3.2, all by name
        self,
        /,
        *,
        ref: str = "",
        entity_types: Sequence[str] | None = None,
        vars: Mapping[str, Value | Sequence[Value]] | None = None,  # noqa: A002 - OSO's name
        name: str | None = None,
        dialect: str | None = None,
        rolling: RollingConfig | None = None,
        time_aggregations: Sequence[str] | None = None,
        over_all_time: bool = False,
        is_intermediate: bool = False,
        enabled: bool = True,
        incremental: bool = True,
        metadata: MetricMetadata | None = None,
        additional_tags: Sequence[str] | None = None,
        audits: Sequence[tuple[str, Mapping[str, object]]] | None = None,
        incremental_audits: Sequence[tuple[str, Mapping[str, object]]] | None = None,
        **other: object,
    ) -> None:
        self.ref = ref
        self.entity_types = entity_types
        self.vars = vars
        self.name = name
        self.dialect = dialect
        self.rolling = rolling
        self.time_aggregations = time_aggregations
        self.over_all_time = over_all_time
        self.is_intermediate = is_intermediate
        self.enabled = enabled
        self.incremental = incremental
        self.metadata = metadata
        self.additional_tags = additional_tags
        self.audits = audits
        self.incremental_audits = incremental_audits
        self.other = other


@dataclass(frozen=True, slots=True)
class Registration:
    """One call of `timeseries_metrics`: its options and the line of the module it stands on."""

    options: Mapping[str, object]
    line: int | None


_REGISTRATIONS: ContextVar[list[Registration] | None] = ContextVar("registrations", default=None)


def timeseries_metrics(**options: object) -> None:
    """Register metrics; options are those of spec oso §3.1. Does nothing unless a project is being loaded."""
    found = _REGISTRATIONS.get()
    if found is not None:
        found.append(Registration(options, _line_of_caller()))


def _line_of_caller() -> int | None:
    import inspect

    frame: FrameType | None = inspect.currentframe()
    for _ in range(2):
        frame = frame.f_back if frame is not None else None
    return frame.f_lineno if frame is not None else None


@contextmanager
def gathering() -> Iterator[list[Registration]]:
    """Collect what is registered while the block runs."""
    found: list[Registration] = []
    token = _REGISTRATIONS.set(found)
    try:
        yield found
    finally:
        _REGISTRATIONS.reset(token)
