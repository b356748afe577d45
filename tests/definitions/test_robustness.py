"""Whatever a file says, loading it ends in a project with findings, never in any other error."""

from __future__ import annotations

import tempfile
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from definitions.test_load import COMPATIBLE, NATIVE
from definitions.test_toml_positions import paths, values, write
from tallystick.definitions.conditions import conditions
from tallystick.definitions.load import load
from tallystick.errors import ProjectError

SETTINGS = """
[project]
name = "x"
time_zone = "UTC"
week_start = "monday"
as_of = "2026-01-01"
dialect = "duckdb"
lookback = 3
[warehouses.default]
engine = "duckdb"
options = { a = 1 }
[defaults]
grains = ["day"]
rolling = { windows = [1], unit = "day" }
entities = ["all"]
[events.signup]
source = "orders"
where = "completed and x = 1"
[dimensions.size]
source = "orders"
sql = "a"
[entities.seller]
rolls_up_to = { region = { table = "t", child = "a" }, company = "c" }
[metrics.signups]
event = "signup"
where = ["completed"]
[metrics.query]
sql = "select 1"
vars = { a = [1] }
[metrics.mean]
source = "orders"
aggregation = "mean"
column = "x"
"""
WHOLE: dict[str, Any] = tomllib.loads(NATIVE) | {}
for _name, _table in tomllib.loads(SETTINGS).items():
    WHOLE[_name] = {**WHOLE.get(_name, {}), **_table}
WHOLE["data_sources"] = tomllib.loads(COMPATIBLE)["data_sources"]
PLACES = sorted(paths(WHOLE), key=str)
texts = st.sampled_from(
    ["", " ", "sum(", "a b", "'", "--", "/*", "a;b", "select 1", "*", "@x", "{{x}}", "ü", "\x00", "all"]
)


def changed(value: Any, path: tuple[str | int, ...], new: Any) -> Any:
    """Return a copy of nested tables and lists with one value replaced."""
    if not path:
        return new
    if isinstance(value, dict):
        return {key: changed(item, path[1:], new) if key == path[0] else item for key, item in value.items()}
    return [changed(item, path[1:], new) if index == path[0] else item for index, item in enumerate(value)]


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(PLACES), values | texts)
def test_any_value_anywhere(path: tuple[str | int, ...], value: Any) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "shop.toml"
        file.write_text(write(changed(WHOLE, path, value)), encoding="utf-8", newline="")
        project = load(file)
    for metric in project.metrics.values():
        conditions(project, metric)
    assert all(finding.file == "shop.toml" and finding.line for finding in project.diagnostics)


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=80) | st.sampled_from([NATIVE[:n] for n in range(0, len(NATIVE), 37)]))
def test_any_text_at_all(text: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "shop.toml"
        file.write_text(text, encoding="utf-8", errors="replace", newline="")
        try:
            load(file)
        except ProjectError:
            return


@pytest.mark.parametrize("key", ["expr", "where", "formula", "sql", "filter", "source", "dimension"])
@pytest.mark.parametrize("text", ["(" * 4000 + "a" + ")" * 4000, "not " * 5000 + "a", "case when a then " * 3000])
def test_sql_nested_too_deeply(tmp_path: Path, key: str, text: str) -> None:
    source = f"(select {text})" if key == "source" else "select * from t"
    parts = {
        "expr": "count(*)",
        "where": "true",
        "formula": "m + 1",
        "sql": "select 1",
        "filter": "a",
        "dimension": "a",
    }
    parts[key] = f"select {text}" if key == "sql" else text
    (tmp_path / "shop.toml").write_text(
        f"""
        [sources.orders]
        sql = "{source}"
        time = "at"
        filters = {{ f = "{parts["filter"]}" }}
        [dimensions.d]
        source = "orders"
        sql = "{parts["dimension"]}"
        [metrics.m]
        source = "orders"
        expr = "{parts["expr"]}"
        where = "{parts["where"]}"
        [metrics.formula]
        expr = "{parts["formula"]}"
        [metrics.query]
        sql = "{parts["sql"]}"
        """,
        encoding="utf-8",
    )
    project = load(tmp_path / "shop.toml")
    assert project.errors
    assert all(len(finding.message) < 200 for finding in project.errors)
