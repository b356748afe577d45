"""What a definition says about itself to people; none of it changes a number."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Direction(StrEnum):
    """Which way is good."""

    UP = "up"
    DOWN = "down"
    NEUTRAL = "neutral"


class Level(StrEnum):
    """How much care a metric has had (metric-hub's `level`)."""

    GOLD = "gold"
    SILVER = "silver"
    BRONZE = "bronze"


class Status(StrEnum):
    """Where a metric is in its life."""

    DRAFT = "draft"
    ACTIVE = "active"
    DEPRECATED = "deprecated"
    ARCHIVED = "archived"


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """Text and labels of a definition."""

    friendly_name: str | None = None
    description: str | None = None
    owners: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    unit: str | None = None
    direction: Direction | None = None
    level: Level | None = None
    status: Status = Status.ACTIVE
    verified: bool = False
