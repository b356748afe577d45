"""What an export asks the warehouse: when history begins, and which columns tables and files have."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta

from sqlglot import exp

from tallystick.build.extent import LONG_AGO, first_instant, registered_start
from tallystick.compiler.definition_context import definition_context
from tallystick.compiler.lower import lower, to_text
from tallystick.compiler.metric_calendar import calendar_of
from tallystick.compiler.model import Model
from tallystick.compiler.order import parts
from tallystick.compiler.span import Span
from tallystick.definitions.metric import SqlQuery
from tallystick.definitions.project import Project
from tallystick.engines.adapter import Engine
from tallystick.engines.connect import connect
from tallystick.errors import TallystickError
from tallystick.sql.calendar import Calendar, floor, local_date
from tallystick.sql.grain import Grain

_TELLS_TYPES = frozenset({"duckdb", "postgres"})
"""Engines that name the type of an answer's column with all that is needed to make such a column."""
_SOME_DAY = datetime(2000, 1, 1, tzinfo=UTC)


class Facts:
    """A read-only look at a project's warehouse, made when first needed; what it does not know is None."""

    def __init__(self, project: Project, start: datetime | None = None) -> None:
        self._project = project
        self._start = start or project.settings.start
        self._engine: Engine | None = None
        self._is_tried = False
        self._firsts: dict[str, datetime | None] = {}

    @property
    def calendar(self) -> Calendar:
        """Return the project's calendar."""
        settings = self._project.settings
        return Calendar(settings.time_zone, settings.week_start)

    def start(self, model: Model) -> date | None:
        """Return the first day of a model's first bucket: as asked for, as the project says, or of its first row."""
        first = self._start or self._registered(model) or self._first_row(model)
        if first is None:
            return None
        days = calendar_of(self._project, self._project.metrics[model.metric])
        return local_date(floor(first, model.time.grain or Grain.DAY, days), days)

    def columns(self, table: str, schema: str | None = None, catalog: str | None = None) -> Mapping[str, str] | None:
        """Return names and types of a table's columns."""
        engine = self._connected()
        if engine is None:
            return None
        try:
            return engine.columns(exp.table_(table, db=schema, catalog=catalog).sql(engine.dialect, identify=True))
        except TallystickError:
            return None

    def types(self, model: Model) -> Mapping[str, str] | None:
        """Return the columns of a model and their types, as the warehouse answers the direct query."""
        engine = self._connected()
        if engine is None or engine.dialect not in _TELLS_TYPES:
            return None
        try:
            query = lower(
                model, self._project, Span(_SOME_DAY, _SOME_DAY + timedelta(days=1), self.calendar), engine.dialect
            )
            text = to_text(query, engine.dialect, reads=self._project.dialect, pretty=False, copy=False)
            return engine.columns(f"({text}) AS model")
        except TallystickError:
            return None

    def close(self) -> None:
        """Close the connection, if one was made."""
        if self._engine is not None:
            self._engine.close()
            self._engine = None

    def _registered(self, model: Model) -> datetime | None:
        definition = self._project.metrics[model.metric].definition
        start = registered_start(definition, self._project) if isinstance(definition, SqlQuery) else None
        return None if start == LONG_AGO else start

    def _first_row(self, model: Model) -> datetime | None:
        if model.metric not in self._firsts:
            self._firsts[model.metric] = None  # where metrics read each other in a cycle
            self._firsts[model.metric] = self._read_first(model)
        return self._firsts[model.metric]

    def _read_first(self, model: Model) -> datetime | None:
        """Return the first instant in the sources of a model, or of the models it reads where it names none."""
        engine = self._connected()
        if engine is None:
            return None
        try:
            first = first_instant(engine.run, self._project, model, engine.dialect)
            read = () if first is not None else parts(model, self._project, definition_context(self._project))
        except TallystickError:
            return None
        found = (first, *map(self._first_row, read))
        return min((instant for instant in found if instant is not None), default=None)

    def _connected(self) -> Engine | None:
        if not self._is_tried:
            self._is_tried = True
            try:
                self._engine = connect(self._project, read_only=True)
            except TallystickError:
                # An export is text: without a warehouse it knows less and is written all the same.
                self._engine = None
        return self._engine
