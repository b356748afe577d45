"""What a registry says beyond the metric itself: for schedulers and exports, none of it changes a number (spec oso §3)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from tallystick.definitions.entity import Entity, RollUp

Audit = tuple[str, Mapping[str, object]]


@dataclass(frozen=True, slots=True, kw_only=True)
class TableOptions:
    """What the registry's own functions (`metadata_modifiers`) add to one table."""

    kind_options: Mapping[str, object] = field(default_factory=lambda: MappingProxyType({}))
    audits: tuple[Audit, ...] = ()
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class OsoOptions:
    """The options of a metric and of the call that registered it."""

    schema: str = "oso"
    start: str | None = None
    model_prefix: str | None = None
    window_unit: str | None = None
    batch_size: int | None = None
    slots: int | None = None
    display_name: str | None = None
    description: str | None = None
    additional_tags: tuple[str, ...] = ()
    audits: tuple[Audit, ...] = ()
    incremental_audits: tuple[Audit, ...] = ()
    tables: Mapping[str, TableOptions] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def has_metadata(self) -> bool:
        """Tell whether the registry describes the metric to people."""
        return self.display_name is not None


OSO_ENTITIES: Mapping[str, Entity] = MappingProxyType(
    {
        "artifact": Entity(
            name="artifact",
            key="artifact_id",
            rolls_up_to=(
                RollUp(
                    parent="project",
                    through="oso.artifacts_by_project_v1",
                    child_key="artifact_id",
                    parent_key="project_id",
                ),
            ),
        ),
        "project": Entity(
            name="project",
            key="project_id",
            rolls_up_to=(
                RollUp(
                    parent="collection",
                    through="oso.projects_by_collection_v1",
                    child_key="project_id",
                    parent_key="collection_id",
                ),
            ),
        ),
        "collection": Entity(name="collection", key="collection_id"),
    }
)
"""OSO's three levels (spec oso §6), for projects that bring a registry and declare no entities."""
