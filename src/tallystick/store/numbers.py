"""Numbers as they are stored: doubles that every reader can sum, and text beside them where a double is not enough."""

from __future__ import annotations

import math
from decimal import Decimal

from tallystick.compiler.series import Number

SAME = 1e-9
"""Doubles that differ by less, relative to their size, are the same: parallel sums add in any order."""

Facts = tuple[float | None, float | None, float | None, str | None]
"""Value, numerator, denominator and their exact text."""


def facts(value: Number | None, numerator: Number | None, denominator: Number | None) -> Facts:
    """Return what is stored for a point's numbers; what is not finite is no number and becomes NULL.

    Whole numbers beyond 2^53 and decimals without an equal double are kept as text, so that they come back unchanged.
    """
    if type(value) is float and numerator is None and denominator is None:
        return (value if math.isfinite(value) else None), None, None, None
    numbers = [_finite(number) for number in (value, numerator, denominator)]
    doubles = [_double(number) for number in numbers]
    if all(double == number for double, number in zip(doubles, numbers, strict=True)):
        exact = None
    else:
        pairs = zip(doubles, numbers, strict=True)
        exact = "|".join("" if double == number else str(number) for double, number in pairs)
    return doubles[0], doubles[1], doubles[2], exact


def restored(
    value: float | None, numerator: float | None, denominator: float | None, exact: str | None
) -> tuple[Number | None, Number | None, Number | None]:
    """Return the numbers that were stored; whole doubles compare equal to the integers they were."""
    if not exact:
        return value, numerator, denominator
    texts = exact.split("|")
    numbers = zip((value, numerator, denominator), texts, strict=True)
    first, second, third = (_parsed(text) if text else double for double, text in numbers)
    return first, second, third


def same(old: Facts, new: Facts) -> bool:
    """Tell whether two points' numbers are the same: exact ones to the last digit, doubles to a billionth."""
    if old == new:
        return True
    return all(_close(one, other) for one, other in zip(restored(*old), restored(*new), strict=True))


def _close(one: Number | None, other: Number | None) -> bool:
    if one is None or other is None:
        return one is other
    if one == other:
        return True
    if _is_exact(one) and _is_exact(other):
        return False
    return math.isclose(one, other, rel_tol=SAME)


def _is_exact(number: Number) -> bool:
    return not isinstance(number, float) or number.is_integer()


def _finite(number: Number | None) -> Number | None:
    if number is None or isinstance(number, int):
        return number
    return number if math.isfinite(number) else None


def _double(number: Number | None) -> float | None:
    if number is None:
        return None
    try:
        double = float(number)
    except OverflowError:
        return None
    return double if math.isfinite(double) else None


def _parsed(text: str) -> Number:
    return int(text) if text.lstrip("-").isdigit() else Decimal(text)
