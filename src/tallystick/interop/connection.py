"""How an exported project reaches the warehouse: places and secrets come from the environment, never from here."""

from __future__ import annotations

from pathlib import Path

from tallystick.definitions.project import Project
from tallystick.engines.connect import warehouse_file
from tallystick.interop.exported import Contents

ROOT_VARIABLE = "TALLY_PROJECT"
WAREHOUSE_VARIABLE = "TALLY_WAREHOUSE"


def environment(variable: str, default: str | None = None) -> str:
    """Return how both tools read a variable of the environment in their YAML."""
    return f"{{{{ env_var('{variable}'{'' if default is None else f', {_text(default)}'}) }}}}"


def _text(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def duckdb_file(contents: Contents, folder: Path) -> Path:
    """Return the DuckDB file to work in: the warehouse whose tables are read, or a new one beside the export.

    A project that reads files only needs none of what is in its warehouse, and a DuckDB file has one owner at a time.
    """
    if contents.external:
        return warehouse_file(contents.project)
    return (folder / f"{database_name(contents)}.duckdb").resolve()


def database_name(contents: Contents) -> str:
    """Return the name of a new DuckDB file; one like the schema's would make every name ambiguous."""
    name = project_name(contents.project)
    return f"{name}_warehouse" if name == contents.schema else name


def project_name(project: Project) -> str:
    """Return the project's name as an identifier."""
    name = "".join(letter if letter.isalnum() else "_" for letter in project.settings.name.lower()).strip("_")
    return name if name and not name[0].isdigit() else f"project_{name}".rstrip("_")


def root(project: Project) -> str:
    """Return the folder in which relative names of files are looked up."""
    return Path(project.root).resolve().as_posix()


def secret_options(project: Project) -> dict[str, str]:
    """Return the connection settings of another engine than DuckDB by name, each read from the environment."""
    return {name: environment(f"TALLY_{name.upper()}") for name in project.warehouse.options}
