"""Loading a project: every file of a folder, in a fixed order, into one resolved value."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

from tallystick.definitions.document import Document, FileOrigin, parse_toml, read_text
from tallystick.definitions.drafts import Drafts
from tallystick.definitions.fields import Fields
from tallystick.definitions.made import Made, add_made
from tallystick.definitions.metric import SqlQuery
from tallystick.definitions.oso_options import OSO_ENTITIES
from tallystick.definitions.project import Project, Settings
from tallystick.definitions.query_file import METRICS, QueryFiles
from tallystick.definitions.read_sql import read_sql
from tallystick.definitions.read_toml import read_definitions
from tallystick.definitions.resolve import resolve
from tallystick.definitions.tally_toml import read_settings, read_warehouses
from tallystick.errors import ProjectError

TALLY_TOML = "tally.toml"
DEFINITIONS = "definitions"
MODELS = "models"
REGISTERS = "timeseries_metrics"
"""What a module has to mention to be a registry, and not a part that registries import."""
_REGISTRY = re.compile(r"^\s*(?:from|import)\s+(?:metrics_tools|tallystick\.registry)\b", re.MULTILINE)


def load(path: Path | str, made: Callable[[str], Made] | None = None) -> Project:
    """Load a project from its folder, or from a single TOML file.

    Raise ProjectError where there is nothing to load. Whatever is wrong with a single definition is a finding in
    `Project.diagnostics`, and only that definition is left out. `made` gives, for the project's name, the definitions
    made in the service, which stand beside those of files.
    """
    path = Path(path)
    if not path.exists():
        raise ProjectError(
            f"'{path}' does not exist", hint="give the folder of a project, or start one with: tally init"
        )
    if path.is_file() and path.suffix != ".toml":
        raise ProjectError(f"'{path}' is not a project", hint="give a folder or a .toml file")
    drafts = Drafts()
    root = path if path.is_dir() else path.parent
    if path.is_dir():
        _read_folder(root, drafts)
    else:
        _read_file(path, drafts)
    if made is not None:
        add_made(drafts, made(drafts.settings.name), QueryFiles(root))
    if drafts.is_empty:
        raise ProjectError(f"'{path}' defines nothing", hint=_how_to_start(root))
    return resolve(drafts, root.as_posix())


def _read_file(path: Path, drafts: Drafts) -> None:
    queries = QueryFiles(path.parent)
    drafts.settings = Settings(name=path.stem)
    if document := _document(path, path.parent, drafts):
        _read_settings(document, path.stem, drafts)
        read_definitions(document, drafts, queries, has_settings=True)


def _read_folder(root: Path, drafts: Drafts) -> None:
    queries = QueryFiles(root)
    settings = root / TALLY_TOML
    document = _document(settings, root, drafts) if settings.exists() else None
    _read_settings(document or Document(TALLY_TOML, "", {}), root.resolve().name or "project", drafts)
    if document:
        read_definitions(document, drafts, queries, has_settings=True)
    for path in _files(root / DEFINITIONS, ".toml"):
        if document := _document(path, root, drafts):
            read_definitions(document, drafts, queries)
    _read_registries(root, drafts, queries)
    for path in _files(root / METRICS, ".sql"):
        read_sql(path, drafts, queries)


def _read_settings(document: Document, name: str, drafts: Drafts) -> None:
    fields = Fields(document, (), document.data, drafts.findings)
    drafts.settings = read_settings(fields, name)
    drafts.settings_origin = FileOrigin(document, ())
    drafts.warehouses = read_warehouses(fields)


def _read_registries(root: Path, drafts: Drafts, queries: QueryFiles) -> None:
    """Add the metrics of Python registries: modules in the project's folder that import a registry's vocabulary.

    Where the project declares no entities of its own, they are counted for OSO's three levels (spec oso §6).
    """
    for path in [path for folder in (root, root / MODELS) for path in _files(folder, ".py", deep=False)]:
        text = read_text(path, path.name)
        if not isinstance(text, str) or not _REGISTRY.search(text) or REGISTERS not in text:
            continue
        queries.referenced.update(_named_in(text, root))
        from tallystick.definitions.read_python import read_registry

        metrics, findings = read_registry(path, root)
        drafts.findings.extend(findings)
        for metric in metrics:
            drafts.add("metric", metric, drafts.metrics)
            if isinstance(metric.definition, SqlQuery) and metric.definition.ref:
                queries.referenced.add((root / METRICS / metric.definition.ref).resolve())
        if metrics and not drafts.entities and "entity" not in drafts.broken:
            drafts.entities.update(OSO_ENTITIES)


def _named_in(text: str, root: Path) -> Iterator[Path]:
    """Yield the SQL files a registry's text names: they are no metrics of their own, even if it cannot be run."""
    for path in _files(root / METRICS, ".sql"):
        name = path.relative_to(root / METRICS).as_posix()
        if f'"{name}"' in text or f"'{name}'" in text:
            yield path.resolve()


def _document(path: Path, root: Path, drafts: Drafts) -> Document | None:
    file = path.relative_to(root).as_posix()
    found = read_text(path, file)
    if isinstance(found, str):
        document = parse_toml(found, file)
        if isinstance(document, Document):
            return document
        drafts.findings.append(document)
    else:
        drafts.findings.append(found)
    return None


def _files(folder: Path, suffix: str, *, deep: bool = True) -> Iterator[Path]:
    """Yield the files below a folder in a fixed order, without hidden ones."""
    if not folder.is_dir():
        return
    found = folder.rglob(f"*{suffix}") if deep else folder.glob(f"*{suffix}")
    for path in sorted(found, key=lambda file: file.relative_to(folder).parts):
        if not any(part.startswith(".") for part in path.relative_to(folder).parts):
            yield path


def _how_to_start(root: Path) -> str:
    beside = next((path.name for path in _files(root, ".toml", deep=False) if path.name != TALLY_TOML), None)
    if beside is not None:
        return f"definitions are read from {DEFINITIONS}/: move {beside} there"
    return f"write {DEFINITIONS}/metrics.toml, or start with: tally init"
