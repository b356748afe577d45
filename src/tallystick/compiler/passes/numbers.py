"""Columns of numbers that stay what they are: integers and decimals exact, NULL apart from zero."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

# Sums of integers below this are exact in a float64 too.
EXACT = 2.0**53


@dataclass(frozen=True, slots=True, eq=False)
class Numbers:
    """A column: `data` as int64, float64 or objects, `valid` where some are NULL; with `scale`, decimals times 10^scale."""

    data: Array
    valid: Array | None = None
    scale: int = 0

    def __len__(self) -> int:
        return len(self.data)

    @property
    def is_integer(self) -> bool:
        """Tell whether the column holds machine integers (unscaled decimals among them)."""
        return self.data.dtype.kind == "i"

    def take(self, where: Array) -> Numbers:
        """Return the rows of a mask or of positions."""
        return Numbers(self.data[where], None if self.valid is None else self.valid[where], self.scale)

    def presence(self) -> Array:
        """Return where the column is not NULL."""
        return np.ones(len(self.data), bool) if self.valid is None else self.valid

    def finite(self) -> Numbers:
        """Return the column with NaN and infinities, which are no values of a metric, as NULL."""
        if self.data.dtype.kind != "f":
            return self
        finite = np.isfinite(self.data)
        return self if finite.all() else Numbers(self.data, finite & self.presence())

    def floats(self) -> Numbers:
        """Return the column as floating point numbers, correctly rounded."""
        if self.data.dtype.kind == "f":
            return self
        if self.scale == 0 and self.is_integer:
            return Numbers(self.data.astype(np.float64), self.valid)
        values = [0.0 if value is None else float(value) for value in self.tolist()]
        return Numbers(np.array(values, np.float64), self.valid)

    def tolist(self) -> list[Any]:
        """Return plain values: int, float or Decimal, and None."""
        values: list[Any] = self.data.tolist()
        if self.scale:
            values = [Decimal(value).scaleb(-self.scale) for value in values]
        if self.valid is None:
            return values
        return [value if present else None for value, present in zip(values, self.valid.tolist(), strict=True)]


def of_objects(values: Sequence[Any]) -> Numbers:
    """Return plain integers or decimals that may be too large for a machine word as a column."""
    data = np.empty(len(values), object)
    data[:] = [0 if value is None else value for value in values]
    missing = [value is None for value in values]
    return Numbers(data, ~np.array(missing, bool) if any(missing) else None)
