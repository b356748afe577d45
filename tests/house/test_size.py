"""Modules and functions stay short: a longer one has two subjects (docs/architecture.md)."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src"
MODULE_LINES = 500
FUNCTION_LINES = 60
EXCEPTIONS: dict[str, str] = {}
"""`path` or `path:function` → why it may be longer."""


def modules() -> list[Path]:
    return sorted(SOURCE.rglob("*.py"))


def functions(tree: ast.AST) -> Iterator[tuple[str, int]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            yield node.name, node.end_lineno - node.lineno + 1


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(SOURCE)))
def test_is_short(path: Path) -> None:
    name = str(path.relative_to(SOURCE))
    text = path.read_text(encoding="utf-8")
    if name not in EXCEPTIONS:
        assert text.count("\n") <= MODULE_LINES
    long = {f: n for f, n in functions(ast.parse(text)) if n > FUNCTION_LINES and f"{name}:{f}" not in EXCEPTIONS}
    assert not long


def test_exceptions_name_what_exists() -> None:
    names = {str(path.relative_to(SOURCE)) for path in modules()}
    assert {key.partition(":")[0] for key in EXCEPTIONS} <= names
    for key in EXCEPTIONS:
        path, _, function = key.partition(":")
        lengths = dict(functions(ast.parse((SOURCE / path).read_text(encoding="utf-8"))))
        assert not function or lengths[function] > FUNCTION_LINES, f"{key} is short enough without an exception"
