"""Turn TOML values into field values: strictly, or with the coercions metric-hub's own parser applies (spec §3)."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Any, TypeVar

from tallystick.definitions.diagnostics import Diagnostic, Severity, diagnose, nearest
from tallystick.definitions.metric_hub.mode import Mode, Quirk
from tallystick.definitions.metric_hub.nouns import Basis, Reference, Unit
from tallystick.definitions.metric_hub.places import Document, Place

Table = Mapping[str, Any]
E = TypeVar("E", bound=StrEnum)


class ValueProblemError(ValueError):
    """A value cannot be read; carries a hint and, where it differs, the exact place."""

    def __init__(self, message: str, hint: str | None = None, place: Place | None = None) -> None:
        super().__init__(message)
        self.hint = hint
        self.place = place


@dataclass(frozen=True, slots=True)
class Reading:
    """One document being read: its mode and the findings so far (the only thing that grows)."""

    document: Document
    mode: Mode
    findings: list[Diagnostic] = field(default_factory=list)

    def error(self, code: str, message: str, place: Place, hint: str | None = None) -> None:
        """Record something that keeps a definition from being used."""
        self.findings.append(diagnose(code, message, place.location, hint=hint))

    def quirk(self, quirk: Quirk, message: str, place: Place, hint: str | None = None) -> None:
        """Record a quirk: a warning where it is reproduced, an error where it is not tolerated."""
        severity = Severity.WARNING if self.mode.is_compat else Severity.ERROR
        self.findings.append(diagnose(quirk.value, message, place.location, severity=severity, hint=hint))


Converter = Callable[[Reading, Any, Place], Any]


def freeze(value: object) -> Any:
    """Return nested tables and arrays as read-only mappings and tuples."""
    if isinstance(value, dict):
        return MappingProxyType({key: freeze(item) for key, item in value.items()})
    if isinstance(value, list):
        return tuple(freeze(item) for item in value)
    return value


def thaw(value: object) -> Any:
    """Undo `freeze`, for printing and comparing."""
    if isinstance(value, Mapping):
        return {key: thaw(item) for key, item in value.items()}
    if isinstance(value, tuple):
        return [thaw(item) for item in value]
    return value


def kind_of(value: object) -> str:
    """Name the TOML type of a value."""
    names = {bool: "boolean", int: "integer", float: "float", str: "string", list: "array", dict: "table"}
    return names.get(type(value), type(value).__name__)


def _coerced(reading: Reading, value: object, wanted: str, result: Any, place: Place) -> Any:
    reading.quirk(
        Quirk.COERCED, f"'{place.path[-1]}' should be a {wanted}, not the {kind_of(value)} {value!r}", place, None
    )
    return result


def text(reading: Reading, value: object, place: Place) -> str:
    """Read a string; compat turns anything else into its text."""
    return value if isinstance(value, str) else str(_coerced(reading, value, "string", str(value), place))


def flag(reading: Reading, value: object, place: Place) -> bool:
    """Read a boolean; compat takes any non-empty value for true, the text 'no' included."""
    return value if isinstance(value, bool) else bool(_coerced(reading, value, "boolean", bool(value), place))


def integer(reading: Reading, value: object, place: Place) -> int:
    """Read a whole number; compat parses text."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    try:
        number = int(value)  # type: ignore[call-overload]
    except (TypeError, ValueError):
        message = f"invalid literal for int() with base 10: {value!r}"
        raise ValueProblemError(message, f"'{place.path[-1]}' is a whole number") from None
    return int(_coerced(reading, value, "whole number", number, place))


def number(reading: Reading, value: object, place: Place) -> float:
    """Read a number; compat parses text."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value
    try:
        result = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        raise ValueProblemError(f"could not convert {kind_of(value)} to float: {value!r}") from None
    return float(_coerced(reading, value, "number", result, place))


def array(item: Converter) -> Converter:
    """Return a converter for arrays of what `item` reads."""

    def read(reading: Reading, value: object, place: Place) -> tuple[Any, ...]:
        if not isinstance(value, list):
            if reading.mode.is_compat and isinstance(value, str) and item is text:
                return tuple(_coerced(reading, value, "array", tuple(value), place))
            raise ValueProblemError(f"'{place.path[-1]}' should be an array, not a {kind_of(value)}")
        return tuple(item(reading, element, place.below(n)) for n, element in enumerate(value))

    return read


def reference(reading: Reading, value: object, place: Place) -> Reference:
    """Read a name that refers to a definition."""
    return Reference(text(reading, value, place), place)


def one_of(enum: type[E], label: str) -> Converter:
    """Return a converter for the values of an enum; `label` is what metric-hub calls the enum."""

    def read(_: Reading, value: object, place: Place) -> E:
        try:
            return enum(str(value))
        except ValueError:
            hint = nearest(str(value), list(enum))
            raise ValueProblemError(f"{value!r} is not a valid {label}", hint, place) from None

    return read


def choice(label: str, *allowed: str) -> Converter:
    """Return a converter for a closed set of texts; `label` is what metric-hub calls the set."""

    def read(_: Reading, value: object, place: Place) -> str:
        if value not in allowed:
            raise ValueProblemError(f"{value!r} is not a valid {label}", nearest(str(value), allowed), place)
        return str(value)

    return read


def date(_: Reading, value: object, place: Place) -> str:
    """Read a `YYYY-MM-DD` date; TOML's own dates are accepted too."""
    if isinstance(value, dt.date):
        return value.isoformat()[:10]
    try:
        if isinstance(value, str):
            return dt.datetime.strptime(value, "%Y-%m-%d").date().isoformat()  # noqa: DTZ007 - a day, no instant
    except ValueError:
        pass
    raise ValueProblemError(f"time data {value!r} does not match format '%Y-%m-%d'", "write YYYY-MM-DD", place)


def owner(reading: Reading, value: object, place: Place) -> str | tuple[str, ...]:
    """Read one owner or several."""
    if isinstance(value, list):
        return tuple(text(reading, item, place.below(n)) for n, item in enumerate(value))
    return text(reading, value, place)


def statistics(_: Reading, value: object, place: Place) -> Any:
    """Read the statistics of a metric: name → parameters."""
    if not isinstance(value, dict):
        raise ValueProblemError(f"statistics should be a table of statistics, not a {kind_of(value)}")
    wrong = next((name for name, parameters in value.items() if not isinstance(parameters, dict)), None)
    if wrong is not None:
        raise ValueProblemError(
            f"statistic '{wrong}' should be a table of parameters, not a {kind_of(value[wrong])}",
            f"write [… .statistics.{wrong}] or {wrong} = {{}}",
            place.below(wrong),
        )
    return freeze(value)


def table(_: Reading, value: object, place: Place) -> Any:
    """Read a table as it is."""
    if not isinstance(value, dict):
        raise ValueProblemError(f"'{place.path[-1]}' should be a table, not a {kind_of(value)}")
    return freeze(value)


def text_or_table(reading: Reading, value: object, place: Place) -> Any:
    """Read the value of a parameter: a text, or branch → text."""
    if isinstance(value, dict):
        return MappingProxyType({key: text(reading, item, place.below(key)) for key, item in value.items()})
    return text(reading, value, place)


def anything(_: Reading, value: object, __: Place) -> Any:
    """Read whatever is there."""
    return freeze(value)


bases = array(one_of(Basis, "AnalysisBasis"))
units = array(one_of(Unit, "AnalysisUnit"))
