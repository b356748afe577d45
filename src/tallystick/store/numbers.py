"""Numbers as they are stored: doubles that every reader can sum, and text beside them where a double is not enough."""

from __future__ import annotations

import math
from decimal import Decimal

from tallystick.compiler.series import Number

SAME = 1e-9
"""Doubles that differ by less, relative to their size, are the same: parallel sums add in any order."""

_WHOLE = 2**53
"""Every whole number up to this one is a double."""

Facts = tuple[float | None, float | None, float | None, str | None]
"""Value, numerator, denominator and their exact text."""


def facts(value: Number | None, numerator: Number | None, denominator: Number | None) -> Facts:
    """Return what is stored for a point's numbers; what is not finite is no number and becomes NULL.

    Whole numbers beyond 2^53 and decimals without an equal double are kept as text, so that they come back unchanged.
    """
    first, second, third = _kept(value), _kept(numerator), _kept(denominator)
    exact = f"{first[1]}|{second[1]}|{third[1]}" if first[1] or second[1] or third[1] else None
    return first[0], second[0], third[0], exact


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


def _kept(number: Number | None) -> tuple[float | None, str]:
    """Return a number's double, and its text where they differ."""
    if number is None:
        return None, ""
    if type(number) is int and -_WHOLE <= number <= _WHOLE:
        return float(number), ""
    try:
        double = float(number)
    except OverflowError:
        return None, str(number)
    if not math.isfinite(double):
        return None, ""
    return double, "" if double == number else str(number)


def _parsed(text: str) -> Number:
    return int(text) if text.lstrip("-").isdigit() else Decimal(text)
