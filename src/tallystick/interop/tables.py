"""What the tables in a query are: exported models, rows of files, or tables somebody else fills."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from enum import StrEnum

from sqlglot import exp

from tallystick.definitions.project import Project
from tallystick.engines.options import ENV

STAGING = "stg_"
_DEFAULT_SCHEMAS = {
    "duckdb": "main",
    "postgres": "public",
    "snowflake": "public",
    "clickhouse": "default",
    "spark": "default",
    "databricks": "default",
}
"""Where an engine looks a bare name up; the others have no such place unless a session is given one."""


class Origin(StrEnum):
    """Where the rows of a table come from."""

    MODEL = "model"
    FILE = "file"
    EXTERNAL = "external"


@dataclass(frozen=True, slots=True, order=True)
class Reference:
    """A table that a query reads, by the name it is known by in the export: a staged file goes by its model."""

    origin: Origin
    name: str
    schema: str | None = None
    catalog: str | None = None

    @property
    def dotted(self) -> str:
        """Return the full name."""
        return ".".join(part for part in (self.catalog, self.schema, self.name) if part)


def resolve(
    tree: exp.Query,
    project: Project,
    schema: str,
    models: Collection[str],
    written: Callable[[Reference], exp.Table],
) -> tuple[Reference, ...]:
    """Write every table of a query as an export needs it, in place, and return what was found, without repeats."""
    found: dict[Reference, None] = {}
    for table in list(_tables(tree)):
        reference = _reference(table, project, schema, models)
        if reference is None:
            continue
        found[reference] = None
        new = written(reference)
        alias = table.args.get("alias")
        if alias is not None:
            new.set("alias", alias)
        elif table.name != new.name:
            # Columns may be qualified by the name the table had.
            new.set("alias", exp.TableAlias(this=table.this.copy()))
        new.set("joins", table.args.get("joins"))
        table.replace(new)
    return tuple(found)


def _tables(tree: exp.Query) -> Iterator[exp.Table]:
    for table in tree.find_all(exp.Table):
        if isinstance(table.this, exp.Identifier) and not (not table.db and _is_cte(table)):
            yield table


def _is_cte(table: exp.Table) -> bool:
    """Tell whether a bare name is that of a CTE that can be seen from where it stands."""
    below: exp.Expr = table
    name = table.name.lower()
    while (above := below.parent) is not None:
        ctes = above.args.get("with_")
        if ctes is not None and below is not ctes and any(cte.alias.lower() == name for cte in ctes.expressions):
            return True
        if isinstance(above, exp.With):
            upto = next(index for index, cte in enumerate(above.expressions) if cte is below)
            visible = above.expressions if above.args.get("recursive") else above.expressions[:upto]
            if any(cte.alias.lower() == name for cte in visible):
                return True
        below = above
    return False


def _reference(table: exp.Table, project: Project, schema: str, models: Collection[str]) -> Reference | None:
    if not table.db:
        source = project.sources.get(table.name)
        if source is not None and source.file is not None:
            return Reference(Origin.FILE, STAGING + table.name, schema)
    if table.db == schema and table.name in models:
        return Reference(Origin.MODEL, table.name, schema)
    return Reference(Origin.EXTERNAL, table.name, table.db or _default_schema(project), table.catalog or None)


def _default_schema(project: Project) -> str | None:
    """Return the schema of a table whose name has none: SQLMesh takes no bare names beside those with a schema."""
    warehouse = project.warehouse
    if warehouse.engine == "clickhouse" and (database := warehouse.options.get("database")) is not None:
        # A name from the environment is not written into files; the tool's own connection begins there too.
        return None if database.startswith(ENV) else database
    return _DEFAULT_SCHEMAS.get(warehouse.engine)
