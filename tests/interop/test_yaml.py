from __future__ import annotations

import pytest

from tallystick.interop.yaml import to_yaml


def test_blocks() -> None:
    value = {"a": {"b": [1, {"c": "x", "d": None}, []]}, "e": {}, "f": True, "g": [["x"]]}
    assert to_yaml(value).splitlines() == [
        "a:",
        "  b:",
        "    - 1",
        "    - c: x",
        "      d: null",
        "    - []",
        "e: {}",
        "f: true",
        "g:",
        "  -",
        "    - x",
    ]


@pytest.mark.parametrize(
    "text", ["no", "Null", "1", "1.5", "2024-01-01", "a: b", "a #b", "- a", "", " a", "é", "{x}", "a\nb", "*a"]
)
def test_text_that_yaml_would_take_for_something_else_is_quoted(text: str) -> None:
    assert to_yaml({"k": text}).startswith('k: "')


@pytest.mark.parametrize("text", ["plain", "two words", "models/x.sql", "a_b-c"])
def test_plain_text_stays_plain(text: str) -> None:
    assert to_yaml({"k": text}) == f"k: {text}\n"
