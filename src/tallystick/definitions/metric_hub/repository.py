"""A clone of a metric-hub repository: shared definitions, and one overlay per tool (spec metric_hub §2)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

from tallystick.definitions.diagnostics import Diagnostic, diagnose, nearest
from tallystick.definitions.diagnostics import sort as sorted_findings
from tallystick.definitions.metric_hub import loading
from tallystick.definitions.metric_hub import nouns as n
from tallystick.definitions.metric_hub.collection import Collection
from tallystick.definitions.metric_hub.merging import merge
from tallystick.definitions.metric_hub.mode import Mode
from tallystick.errors import Location, ProjectError, UnknownNameError

JETSTREAM, OPMON, LOOKER = TOOLS = "jetstream", "opmon", "looker"
_OURS = re.compile(
    r"^\s*\[\s*(data_sources|functions|experiment|project|segments\s*\.\s*data_sources)\b|^\s*select_expression\s*=|^\[metrics\]",
    re.MULTILINE,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Repository:
    """What a clone says: the shared collection, and for each tool the collection it works with."""

    root: Path
    mode: Mode
    shared: Collection
    tools: Mapping[str, Collection]
    own: Mapping[str, Collection]

    def collection(self, tool: str | None = None) -> Collection:
        """Return what a tool sees: its own definitions over the shared ones; raises `UnknownNameError`."""
        if tool is None:
            return self.shared
        if tool not in self.tools:
            raise UnknownNameError(f"there is no tool '{tool}' in {self.root}", hint=nearest(tool, self.tools))
        return self.tools[tool]

    @property
    def diagnostics(self) -> tuple[Diagnostic, ...]:
        """Return everything noticed while reading and merging, each finding once."""
        everything = (d for c in (self.shared, *self.tools.values()) for d in c.diagnostics)
        return sorted_findings(everything)


def is_repository(folder: Path) -> bool:
    """Tell whether a folder is laid out like metric-hub: definitions with data sources, or a tool's configs.

    A folder with a `tally.toml` is a native project and never one.
    """
    if not folder.is_dir() or (folder / "tally.toml").exists():
        return False
    outcomes = folder / "outcomes"
    platforms = [p for p in outcomes.iterdir() if p.is_dir()] if outcomes.is_dir() else []
    # Nothing else has folders of these names, so their files are metric-hub's however wrong they are.
    if any(loading.toml_files(place) for place in (*(folder / name for name in TOOLS), *platforms)):
        return True
    looked_at = (*(folder / name for name in loading.FOLDERS), folder)
    return any(_looks_like_ours(path) for place in looked_at for path in loading.toml_files(place))


def _looks_like_ours(path: Path) -> bool:
    try:
        return _OURS.search(path.read_text(encoding="utf-8", errors="replace")) is not None
    except OSError:
        return False


def open_repository(root: Path, mode: Mode = Mode.COMPAT) -> Repository:
    """Read a whole clone; raises `ProjectError` if there is nothing metric-hub would read."""
    if not root.is_dir():
        raise ProjectError(f"{root} is not a folder", hint="name the folder of a metric-hub clone")
    shared = loading.load(root, mode)
    own = {name: loading.load(root / name, mode, base=root) for name in tool_folders(root)}
    if not (own or shared.configs or shared.definitions or shared.outcomes or shared.defaults or shared.diagnostics):
        raise ProjectError(f"{root} holds no metric-hub definitions", hint="expected definitions/<platform>.toml")
    strays = _misnamed_folders(own, shared)
    tools = {name: merge(shared, collection) for name, collection in own.items()}
    if strays:
        shared = _with(shared, strays)
    return Repository(root=root, mode=mode, shared=shared, tools=MappingProxyType(tools), own=MappingProxyType(own))


def _with(collection: Collection, findings: Iterable[Diagnostic]) -> Collection:
    return replace(collection, diagnostics=(*collection.diagnostics, *findings))


def tool_folders(root: Path) -> list[str]:
    """Return the folders below the root that hold overlays of a tool."""
    candidates = (p for p in root.iterdir() if p.is_dir() and not p.name.startswith((".", "lib")))
    return sorted(p.name for p in candidates if p.name not in loading.FOLDERS and _is_tool(p))


def _is_tool(folder: Path) -> bool:
    if folder.name in (JETSTREAM, OPMON, LOOKER):
        return True
    below = (folder / name for name in ("definitions", "defaults"))
    if any(loading.toml_files(place) for place in below) or (folder / "outcomes").is_dir():
        return True
    return any(_looks_like_ours(path) for path in loading.toml_files(folder))


def _misnamed_folders(own: Mapping[str, Collection], shared: Collection) -> list[Diagnostic]:
    """Report a folder whose files name platforms and whose own name is nearly that of one of metric-hub's."""
    findings = []
    for name, collection in own.items():
        close = nearest(name, loading.FOLDERS) or ""
        if name in (JETSTREAM, OPMON, LOOKER) or not close.startswith("did") or collection.definitions:
            continue
        if set(collection.configs) & {*shared.definitions, "functions"} or not shared.definitions:
            message = f"the files of '{name}' are in the wrong folder: they are read as configs of a tool"
            findings.append(diagnose("mh-wrong-folder", message, Location(name), hint=close))
    return findings


def qualified(collection: Collection, name: str) -> tuple[str, str]:
    """Split `platform.metric`, or find the only platform that has the name; raises `UnknownNameError`."""
    platform, _, slug = name.partition(".")
    if slug:
        if platform not in collection.definitions:
            raise UnknownNameError(f"there is no platform '{platform}'", hint=nearest(platform, collection.definitions))
        return platform, slug
    owners = [p for p, spec in collection.definitions.items() if name in _names(spec)]
    if len(owners) == 1:
        return owners[0], name
    if owners:
        listed = ", ".join(f"{owner}.{name}" for owner in owners)
        raise UnknownNameError(f"'{name}' is defined for several platforms", hint=f"one of {listed}")
    known = {f"{p}.{metric}" for p, spec in collection.definitions.items() for metric in spec.metrics}
    close = nearest(name, {entry.partition(".")[2] for entry in known})
    raise UnknownNameError(f"nothing is called '{name}' on any platform", hint=close)


def _names(spec: n.Spec) -> set[str]:
    tables = (spec.metrics, spec.data_sources, spec.segments, spec.segment_data_sources, spec.dimensions)
    return {name for table in tables for name in table}
