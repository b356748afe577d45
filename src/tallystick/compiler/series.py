"""Series: the stored values of a metric, bucket by bucket, as pure data (DESIGN §5, anchors §6.5).

A collector asks for `Wanted` series; reading rows gives `Point`s; the metadata store keeps them with state, definition
hash and the time they were collected.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from tallystick.definitions.entity import ALL
from tallystick.sql.grain import Grain, Window

Number = int | float | Decimal


class PointState(StrEnum):
    """Whether a value may still change: it may, it may not, or it did after it was final."""

    SETTLING = "settling"
    FINAL = "final"
    RESTATED = "restated"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """One series to be collected: a metric by calendar grain, for everything or per entity, plain or by one dimension.

    `values_limit` keeps that many values of the dimension less one, by rows over the whole span; the rest is folded
    into one point with `is_other` (tripl §7.4).
    """

    metric: str
    grain: Grain
    entity: str = ALL
    by: str | None = None
    values_limit: int | None = None
    window: Window | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One value: `bucket` is the instant it starts at (UTC), `n` the rows behind it; NULL is not zero.

    `numerator` and `denominator` are set where the value is a quotient. A bucket without any matching row has no
    point at all; a bucket whose rows hold only NULL has one whose value is None.
    """

    bucket: datetime
    value: Number | None
    n: int
    numerator: Number | None = None
    denominator: Number | None = None
    entity_id: str | None = None
    dimension_value: str | None = None
    is_other: bool = False
