"""Every code that is used is documented, and every code that is documented is used."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from tallystick.definitions.codes import CODES, table
from tallystick.definitions.metric_hub.mode import Quirk

ROOT = Path(__file__).parents[2]
BUILDERS = {"diagnose": 0, "from_error": 0, "report": 0, "parsed": 0, "error": 0}
KINDS = ("source", "entity", "metric", "event")


def codes_in(path: Path) -> Iterator[str]:
    """Yield the codes a module gives to findings, as literals or with the kind of a noun filled in."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Call):
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        values = [node.args[0]] if name in BUILDERS and node.args else []
        values += [word.value for word in node.keywords if word.arg == "code"]
        for value in values:
            if isinstance(value, ast.Constant):
                yield value.value
            elif isinstance(value, ast.IfExp):
                yield from (side.value for side in (value.body, value.orelse) if isinstance(side, ast.Constant))
            elif isinstance(value, ast.JoinedStr):
                prefix = value.values[0]
                assert isinstance(prefix, ast.Constant)
                yield from (f"{prefix.value}{kind}" for kind in KINDS)


def used() -> set[str]:
    defaults = {"bad-sql", *Quirk}  # of Drafts.report_sql, and what compat mode reports by quirk
    return defaults | {code for path in (ROOT / "src").rglob("*.py") for code in codes_in(path)}


def test_every_code_in_use_is_documented() -> None:
    assert used() - set(CODES) == set()


def test_every_documented_code_is_in_use() -> None:
    assert set(CODES) - used() == set()


def test_the_document_has_the_table() -> None:
    text = (ROOT / "docs" / "diagnostics.md").read_text(encoding="utf-8")
    assert text.endswith("\n".join(table()) + "\n"), "regenerate the table of docs/diagnostics.md from codes.py"
