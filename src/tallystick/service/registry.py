"""What a registry that is data, without the files it names, compiles to."""

from __future__ import annotations

from pathlib import Path

from tallystick.compiler.factory_models import factory_models
from tallystick.definitions.diagnostics import Diagnostic
from tallystick.definitions.read_registry_json import read_json_registry, registry_project


def registry_models(file: Path) -> tuple[list[dict[str, object]], tuple[Diagnostic, ...]]:
    """Return all models in the factory's order, derived ones included, and what is wrong with the registry."""
    project = registry_project(read_json_registry(file))
    return [model.as_dict() for model in factory_models(project)], project.diagnostics
