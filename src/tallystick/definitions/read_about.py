"""Reading what a definition says about itself, and which views of it are asked for."""

from __future__ import annotations

from typing import Any

from tallystick.definitions.about import About, Direction, Level, Status
from tallystick.definitions.fields import Fields
from tallystick.definitions.metric import Views
from tallystick.errors import DefinitionError
from tallystick.sql.grain import Grain, Window, parse_grain, parse_window


def read_about(fields: Fields) -> About:
    """Read the labels of a definition, in any of the spellings in use (spec anchors §6.2)."""
    return About(
        friendly_name=fields.text("friendly_name", "display_name", "label"),
        description=fields.text("description"),
        owners=fields.texts("owners", "owner") or (),
        tags=fields.texts("tags") or (),
        unit=fields.text("unit"),
        direction=_direction(fields),
        level=fields.choice(Level, "level"),
        status=_status(fields),
        verified=fields.flag("verified") or False,
    )


def _direction(fields: Fields) -> Direction | None:
    direction = fields.choice(Direction, "direction")
    bigger = fields.flag("bigger_is_better")
    if direction:
        return direction
    return None if bigger is None else (Direction.UP if bigger else Direction.DOWN)


def _status(fields: Fields) -> Status:
    written = fields.choice(Status, "status")
    deprecated = fields.flag("deprecated")
    return written or (Status.DEPRECATED if deprecated else Status.ACTIVE)


def read_views(fields: Fields) -> Views:
    """Read which models a metric is compiled to; where nothing is written the project's defaults hold."""
    return Views(
        entities=fields.texts("entities", "entity", "entity_types") or (),
        grains=_grains(fields),
        rolling=_rolling(fields),
        all_time=fields.flag("all_time", "over_all_time") or False,
        by=fields.texts("by") or (),
    )


def _grains(fields: Fields) -> tuple[Grain, ...]:
    names = ("grains", "grain", "time_aggregations")
    grains = [
        grain
        for path, value in fields.items((str,), 'a grain such as "day"', *names)
        if (grain := fields.parsed("bad-grain", parse_grain, value, *path))
    ]
    return tuple(dict.fromkeys(grains))


def _rolling(fields: Fields) -> tuple[Window, ...]:
    if isinstance(fields.table.get("rolling"), dict):
        return _rolling_table(fields)
    windows = [
        window
        for path, value in fields.items((int, str), 'days as a number or text such as "12 weeks"', "rolling")
        if (window := fields.parsed("bad-window", parse_window, value, *path))
    ]
    return tuple(dict.fromkeys(windows))


def _rolling_table(fields: Fields) -> tuple[Window, ...]:
    fields.known.add("rolling")
    table = fields.sub("rolling")
    unit = table.text("unit") or "day"

    def window(count: Any) -> Window:
        if count < 1:
            raise DefinitionError(f"a rolling window of {count} {unit}s is empty", hint="use 1 or more")
        return parse_window(f"{count} {unit}")

    windows = [
        found
        for path, value in table.items((int,), "a number of units", "windows")
        if (found := table.parsed("bad-window", window, value, *path))
    ]
    table.refuse_unknown(within="rolling")
    return tuple(dict.fromkeys(windows))
