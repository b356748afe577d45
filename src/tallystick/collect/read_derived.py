"""Derived series computed from the columns of their operands, wherever those were read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tallystick.collect.read_columns import Labels, SeriesColumns
from tallystick.compiler.passes.combine import combine
from tallystick.compiler.passes.derived import Derivation
from tallystick.compiler.passes.numbers import Array, Numbers


@dataclass(slots=True)
class _Names:
    """Labels of several series brought to one numbering."""

    position: dict[Any, int] = field(default_factory=dict)

    def codes(self, labels: Labels) -> Array:
        position = self.position
        mine = np.array([position.setdefault(name, len(position)) for name in labels.names], np.int64)
        return mine[labels.codes] if len(mine) else np.zeros(0, np.int64)


def derived_columns(derivation: Derivation, operands: Mapping[str, SeriesColumns]) -> SeriesColumns:
    """Return a series over the union of its operands' points; raise InexactError where it has no exact value here."""
    buckets, entities, dimensions = _Names(), _Names(), _Names()
    parts: dict[str, list[Array]] = {}
    for name, columns in operands.items():
        parts[name] = [
            names.codes(labels) if labels is not None else np.zeros(len(columns), np.int64)
            for names, labels in (
                (buckets, columns.bucket),
                (entities, columns.entity),
                (dimensions, columns.dimension),
            )
        ]
    width, depth = max(len(entities.position), 1), max(len(dimensions.position), 1)
    keys = {name: (bucket * width + entity) * depth + value for name, (bucket, entity, value) in parts.items()}
    union = np.unique(np.concatenate(list(keys.values())))
    n = np.zeros(len(union), np.int64)
    values: dict[str, Numbers] = {}
    for name, columns in operands.items():
        place = np.searchsorted(union, keys[name])
        n[place] = np.maximum(n[place], columns.n)
        values[name] = _spread(columns.value, place, len(union), is_zero=name in derivation.zero_when_empty)
    sides = [None, None]
    if derivation.ratio is not None:
        sides = [combine(side, values, len(union)) for side in derivation.ratio]  # type: ignore[misc]
    first = next(iter(operands.values()))
    return SeriesColumns(
        bucket=Labels(list(buckets.position), union // (width * depth)),
        value=combine(derivation.tree, values, len(union)),
        n=n,
        numerator=sides[0],
        denominator=sides[1],
        entity=None if first.entity is None else Labels(list(entities.position), union // depth % width),
        dimension=None if first.dimension is None else Labels(list(dimensions.position), union % depth),
    )


def _spread(column: Numbers, place: Array, size: int, *, is_zero: bool) -> Numbers:
    data = np.zeros(size, column.data.dtype)
    data[place] = column.data if column.valid is None else np.where(column.valid, column.data, 0)
    if is_zero:
        return Numbers(data, None, column.scale)
    valid = np.zeros(size, bool)
    valid[place] = column.presence()
    return Numbers(data, None if valid.all() else valid, column.scale)
