"""Read a folder into a collection: which file is what follows from where it lies (spec metric_hub §2)."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from tallystick.definitions.diagnostics import Diagnostic, Severity, diagnose, nearest
from tallystick.definitions.metric_hub import legacy_toml
from tallystick.definitions.metric_hub import nouns as n
from tallystick.definitions.metric_hub.collection import Collection
from tallystick.definitions.metric_hub.featmon import FeatureSpec, features_from
from tallystick.definitions.metric_hub.mode import Mode, Quirk
from tallystick.definitions.metric_hub.places import Document, Place
from tallystick.definitions.metric_hub.reading import functions_from, nimbus_spec, spec_from
from tallystick.definitions.metric_hub.schema import TOP_LEVEL
from tallystick.definitions.metric_hub.values import Reading
from tallystick.errors import Location

FOLDERS = ("definitions", "defaults", "outcomes", "featmon", "nimbus")
NOT_OURS = frozenset({"pyproject.toml", "tally.toml", "Cargo.toml", "netlify.toml", "book.toml", "mkdocs.toml"})
_TOML_AT = re.compile(r" \(at (?:line (\d+), column (\d+)|end of document)\)$")
_READ_BY_KIND: Mapping[n.Kind, frozenset[str]] = {
    n.Kind.ANALYSIS: frozenset({"metrics", "data_sources", "segments", "parameters", "experiment"}),
    n.Kind.MONITORING: frozenset({"project", "metrics", "data_sources", "dimensions", "alerts", "parameters"}),
    n.Kind.DEFINITION: frozenset({"metrics", "data_sources", "segments", "dimensions", "alerts", "parameters"}),
    n.Kind.OUTCOME: frozenset({"metrics", "data_sources", "parameters", "default_metrics", *n.PERIOD_KEYS}),
}
_ABOUT = frozenset({"friendly_name", "description"})


@dataclass(slots=True)
class _Loading:
    """What has been read of one folder so far."""

    root: Path
    base: Path
    mode: Mode
    configs: dict[str, n.Spec] = field(default_factory=dict)
    outcomes: dict[tuple[str, str], n.Spec] = field(default_factory=dict)
    defaults: dict[str, n.Spec] = field(default_factory=dict)
    definitions: dict[str, n.Spec] = field(default_factory=dict)
    functions: dict[str, n.Function] = field(default_factory=dict)
    features: dict[str, FeatureSpec] = field(default_factory=dict)
    nimbus: dict[str, n.Spec] = field(default_factory=dict)
    findings: list[Diagnostic] = field(default_factory=list)

    def files(self, *folders: str) -> list[Path]:
        """Return the TOML files directly in a folder of the root, in order of name."""
        return toml_files(self.root.joinpath(*folders))

    def read(self, path: Path) -> tuple[Reading, dict[str, Any]] | None:
        """Read one file, or report why that is impossible."""
        name = path.relative_to(self.base).as_posix()
        try:
            text = path.read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as problem:
            self.findings.append(diagnose("mh-unreadable", f"cannot be read: {problem}", Location(name)))
            return None
        document = Document(name, text)
        raw = parse(document, self.mode, self.findings)
        return None if raw is None else (Reading(document, self.mode, self.findings), raw)


def parse(document: Document, mode: Mode, findings: list[Diagnostic]) -> dict[str, Any] | None:
    """Parse a TOML document; a syntax error becomes a finding with its line and column."""
    text, rewritten = legacy_toml.rewrite(document.text) if mode.is_compat else (document.text, ())
    try:
        raw = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as problem:
        findings.append(_syntax_error(document, str(problem)))
        return None
    for line in rewritten:
        message = "white space at the start of this multi-line string is dropped"
        at = Location(document.name, line, 1)
        findings.append(diagnose(Quirk.FIRST_LINE.value, message, at, severity=Severity.INFO))
    return raw


def _syntax_error(document: Document, message: str) -> Diagnostic:
    at = _TOML_AT.search(message)
    last = document.text.count("\n") + 1
    line, column = (int(at[1]), int(at[2])) if at and at[1] else (last, 1)
    message = f"not valid TOML: {_TOML_AT.sub('', message)}"
    return diagnose("mh-toml", message, Location(document.name, line, column))


def load(root: Path, mode: Mode = Mode.COMPAT, base: Path | None = None) -> Collection:
    """Load one folder: its configs, outcomes, defaults, definitions, macros and features.

    File names in findings are relative to `base`, the repository the folder belongs to.
    """
    loading = _Loading(root, base or root, mode)
    _load_definitions(loading)
    for path in loading.files("defaults"):
        _load_config(loading, path, loading.defaults, path.stem)
    for path in loading.files():
        _load_config(loading, path, loading.configs, None)
    _load_outcomes(loading)
    for path in loading.files("featmon"):
        if read := loading.read(path):
            loading.features[path.stem] = features_from(*read, path.stem)
    for path in loading.files("nimbus", "definitions"):
        if read := loading.read(path):
            loading.nimbus[path.stem] = nimbus_spec(*read, path.stem)
            _check_structured_sources(loading, read[0], path.stem)
    _report_strays(loading)
    return Collection(
        mode=mode,
        roots=(str(root),),
        configs=MappingProxyType(loading.configs),
        outcomes=MappingProxyType(loading.outcomes),
        defaults=MappingProxyType(loading.defaults),
        definitions=MappingProxyType(loading.definitions),
        functions=MappingProxyType(loading.functions),
        features=MappingProxyType(loading.features),
        nimbus=MappingProxyType(loading.nimbus),
        diagnostics=tuple(loading.findings),
    )


def toml_files(folder: Path) -> list[Path]:
    """Return the TOML files directly in a folder that could be metric-hub's."""
    if not folder.is_dir():
        return []
    return sorted(p for p in folder.iterdir() if p.suffix == ".toml" and p.name not in NOT_OURS)


def _load_definitions(loading: _Loading) -> None:
    for path in loading.files("definitions"):
        if (read := loading.read(path)) is None:
            continue
        reading, raw = read
        if path.stem == "functions":
            loading.functions.update(functions_from(reading, raw))
            if not loading.mode.is_compat:
                continue
            message = "functions.toml also becomes a platform called 'functions'"
            place = Place(reading.document).location
            loading.findings.append(diagnose(Quirk.PHANTOM_PLATFORM.value, message, place, severity=Severity.INFO))
        spec = spec_from(reading, raw, n.Kind.DEFINITION, path.stem, path.stem)
        loading.definitions[path.stem] = spec
        _report_unread_tables(reading, raw, spec.kind, {"functions"} if path.stem == "functions" else set())


def _load_config(loading: _Loading, path: Path, into: dict[str, n.Spec], platform: str | None) -> None:
    if (read := loading.read(path)) is None:
        return
    reading, raw = read
    kind = n.Kind.MONITORING if "project" in raw else n.Kind.ANALYSIS
    into[path.stem] = spec_from(reading, raw, kind, path.stem, platform)
    _report_unread_tables(reading, raw, kind)


def _load_outcomes(loading: _Loading) -> None:
    folder = loading.root / "outcomes"
    for platform in sorted(p for p in folder.iterdir() if p.is_dir()) if folder.is_dir() else []:
        for path in toml_files(platform):
            if (read := loading.read(path)) is None:
                continue
            reading, raw = read
            _check_outcome(reading, raw)
            spec = spec_from(reading, raw, n.Kind.OUTCOME, path.stem, platform.name)
            loading.outcomes[platform.name, path.stem] = spec
            _report_unread_tables(reading, raw, n.Kind.OUTCOME)


def _check_structured_sources(loading: _Loading, reading: Reading, platform: str) -> None:
    """Report structured metrics on a data source that their platform does not have (spec §3.11)."""
    definitions = loading.definitions.get(platform)
    known = definitions.data_sources if definitions else {}
    for metric in loading.nimbus[platform].metrics.values():
        if metric.data_source is not None and metric.data_source not in known:
            message = f"metric '{metric.name}' is on data source '{metric.data_source}', which {platform} does not have"
            place = metric.places["data_source"]
            reading.error("mh-unknown-data-source", message, place, nearest(metric.data_source, known))


def _check_outcome(reading: Reading, raw: Mapping[str, Any]) -> None:
    root = Place(reading.document)
    for key in ("friendly_name", "description"):
        if key not in raw:
            reading.error("mh-missing-key", f"an outcome needs '{key}'", root)
    metrics = raw.get("metrics")
    known = metrics if isinstance(metrics, dict) else {}
    defaults = raw.get("default_metrics")
    for number, name in enumerate(defaults if isinstance(defaults, list) else []):
        if name not in known:
            place = root.below("default_metrics", number)
            message = f"default metric '{name}' is not defined in this outcome"
            reading.error("mh-unknown-metric", message, place, nearest(str(name), known))


def _report_unread_tables(
    reading: Reading, raw: Mapping[str, Any], kind: n.Kind, also: Sequence[str] | set[str] = ()
) -> None:
    """Report known tables in a file whose kind never reads them: a file in the wrong folder shows this way."""
    root = Place(reading.document)
    for key in raw:
        if key not in TOP_LEVEL or key in _READ_BY_KIND[kind] or key in _ABOUT or key in also or not raw[key]:
            continue
        at = root.below(key).location
        message = f"[{key}] is never read in this kind of file ({kind.value})"
        hint = _WHERE.get(key, f"remove it, or move it to a file that reads [{key}]")
        if key in ("project", "experiment", "functions"):
            finding = diagnose("mh-wrong-folder", message, at, hint=hint)
        else:
            finding = diagnose("mh-unread-table", message, at, severity=Severity.WARNING, hint=hint)
        reading.findings.append(finding)


_WHERE = {
    "experiment": "experiment configs lie directly in jetstream/, named after their slug",
    "project": "monitoring configs lie directly in opmon/, named after their slug",
    "functions": "macros live in definitions/functions.toml",
    "population": "did you mean [project.population]?",
}


def _report_strays(loading: _Loading) -> None:
    """Report TOML files below metric-hub's folders that no rule reads."""
    for path in _strays(loading.root):
        name = path.relative_to(loading.base).as_posix()
        message = "this file is in the wrong folder: nothing reads it here"
        folder = path.relative_to(loading.root).parts[0]
        loading.findings.append(diagnose("mh-wrong-folder", message, Location(name, 1, 1), hint=_EXPECTED[folder]))


_EXPECTED = {
    "definitions": "definitions/<platform>.toml, without folders below",
    "defaults": "defaults/<platform>.toml, without folders below",
    "outcomes": "outcomes/<platform>/<slug>.toml",
    "featmon": "featmon/<platform>.toml",
    "nimbus": "nimbus/definitions/<platform>.toml",
}


def _strays(root: Path) -> Iterator[Path]:
    depth = {"definitions": 1, "defaults": 1, "featmon": 1, "outcomes": 2, "nimbus": 2}
    for folder, expected in depth.items():
        below = root / folder
        for path in sorted(below.rglob("*.toml")) if below.is_dir() else []:
            parts = path.relative_to(below).parts
            if len(parts) != expected or (folder == "nimbus" and parts[0] != "definitions"):
                yield path
