"""Reading a Python registry: the user's module is run once, and what it registers becomes metrics (spec oso §3).

The module runs with the rights of whoever loads the project. Whatever goes wrong in it is a finding with file and
line, never a traceback.
"""

from __future__ import annotations

import ast
import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from types import MappingProxyType, ModuleType

from tallystick.definitions.diagnostics import Diagnostic, Severity, diagnose
from tallystick.definitions.metric import Metric
from tallystick.definitions.oso_registry import Surroundings, read_registration
from tallystick.definitions.query_reader import QueryReader
from tallystick.definitions.registry import Registration, gathering
from tallystick.definitions.registry_modules import registry_modules
from tallystick.errors import Location

QUERY_FOLDERS = ("metrics", "oso_metrics")
"""Where SQL files are looked for unless `queries_dir` says where they are."""


def read_registry(path: Path, root: Path) -> tuple[list[Metric], list[Diagnostic]]:
    """Run a registry module and return its metrics, in the order they are registered, and all findings."""
    file = _shown(path, root)
    try:
        source = path.read_text(encoding="utf-8")
        tree = ast.parse(source, filename=str(path))
    except SyntaxError as error:
        return [], [diagnose("registry-error", f"not Python: {error.msg}", Location(file, error.lineno, error.offset))]
    except (OSError, ValueError) as error:
        return [], [diagnose("registry-error", f"'{file}' cannot be read: {error}", Location(file))]
    findings = list(_repeated_keys(tree, file))
    lines = tuple(_key_lines(tree))
    metrics: dict[str, Metric] = {}
    with registry_modules(path.parent, lambda name: findings.append(_missed(name, file))):
        for registration in _run(source, path, file, findings):
            where = Surroundings(
                file=file, lines=_lines_of(registration, lines), query=_queries(registration, path, root)
            )
            found, problems = read_registration(registration.options, where)
            findings += [_placed(problem, registration) for problem in problems]
            for metric in found:
                _add(metric, metrics, findings)
    return list(metrics.values()), list(dict.fromkeys(findings))


def _run(source: str, path: Path, file: str, findings: list[Diagnostic]) -> list[Registration]:
    """Execute the module; return the registrations made, also those before an error."""
    module = ModuleType(f"tally_registry_{path.stem}")
    module.__file__ = str(path)
    sys.modules[module.__name__] = module  # where dataclasses and type hints look names up; forgotten with the rest
    with gathering() as found, redirect_stdout(sys.stderr):
        try:
            exec(compile(source, str(path), "exec"), module.__dict__)  # noqa: S102 - running it is what loading means
        except (Exception, SystemExit) as error:  # noqa: BLE001 - a user's module may fail in any way
            findings.append(_failure(error, path, file))
    if not found and not any(finding.code == "registry-error" for finding in findings):
        hint = "call timeseries_metrics(…) at the top level of the module"
        findings.append(
            diagnose(
                "empty-registry",
                "this module registers no metrics",
                Location(file),
                severity=Severity.WARNING,
                hint=hint,
            )
        )
    return found


def _failure(error: BaseException, path: Path, file: str) -> Diagnostic:
    """Report an error at the last line of the module that led to it."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    line = frames[-1].lineno if frames else None
    hint = None
    if isinstance(error, ModuleNotFoundError):
        hint = f"install {error.name}, or move what needs it out of the registry"
    elif isinstance(error, KeyError) and frames and "environ" in (frames[-1].line or ""):
        hint = f"set the environment variable {error.args[0]}"
    return diagnose("registry-error", f"{type(error).__name__}: {error}", Location(file, line), hint=hint)


def _missed(name: str, file: str) -> Diagnostic:
    message = f"{name} is not known here and stands for nothing"
    return diagnose("unknown-import", message, Location(file), severity=Severity.WARNING)


def _queries(registration: Registration, path: Path, root: Path) -> QueryReader:
    """Return where a registration's SQL files are: its own folder, or the usual ones in and above the module's."""
    given = registration.options.get("queries_dir")
    if given is not None:
        return QueryReader((path.parent / str(given),), root)
    places = [root, path.parent, *path.parent.parents[:1]]
    folders = [place / name for place in places for name in QUERY_FOLDERS] + [path.parent]
    return QueryReader(tuple(dict.fromkeys(folders)), root)


def _placed(problem: Diagnostic, registration: Registration) -> Diagnostic:
    if problem.line is not None:
        return problem
    at = Location(problem.file, registration.line)
    return diagnose(problem.code, problem.message, at, severity=problem.severity, hint=problem.hint)


def _add(metric: Metric, metrics: dict[str, Metric], findings: list[Diagnostic]) -> None:
    first = metrics.setdefault(metric.name, metric)
    if first is not metric:
        message = f"the metric '{metric.name}' is registered twice"
        hint = f"it is first registered at {first.origin.location}; rename or remove one of them"
        findings.append(diagnose("duplicate-name", message, metric.origin.location, hint=hint))


def _dicts(tree: ast.AST) -> Iterator[ast.Dict]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            for keyword in node.keywords:
                if keyword.arg == "metric_queries" and isinstance(keyword.value, ast.Dict):
                    yield keyword.value


def _keys(tree: ast.AST) -> Iterator[ast.Constant]:
    for table in _dicts(tree):
        for key in table.keys:
            if isinstance(key, ast.Constant) and isinstance(key.value, str):
                yield key


def _key_lines(tree: ast.AST) -> Iterator[tuple[str, int]]:
    for key in _keys(tree):
        yield str(key.value), key.lineno


def _lines_of(registration: Registration, lines: Sequence[tuple[str, int]]) -> Mapping[str, int]:
    """Return the line of each key, that in the call itself where it is written in several."""
    found: dict[str, int] = {}
    for name, line in lines:
        is_before = registration.line is not None and found.get(name, 0) < registration.line
        if name not in found or is_before:
            found[name] = line
    return MappingProxyType(found)


def _repeated_keys(tree: ast.AST, file: str) -> Iterator[Diagnostic]:
    """Find keys written twice in one dict: Python keeps the last without a word."""
    for table in _dicts(tree):
        seen: dict[str, int] = {}
        for key in table.keys:
            if isinstance(key, ast.Constant) and isinstance(key.value, str):
                if key.value in seen:
                    message = f"the metric '{key.value}' is registered twice; the last one counts"
                    hint = f"it is first registered on line {seen[key.value]}"
                    yield diagnose("duplicate-name", message, Location(file, key.lineno), hint=hint)
                seen.setdefault(key.value, key.lineno)


def _shown(path: Path, root: Path) -> str:
    try:
        return path.relative_to(root).as_posix()
    except ValueError:
        return path.as_posix()
