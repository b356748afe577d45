"""Metrics whose rows are in another warehouse are told by name; all others are built."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest

from tallystick.cli.main import run
from tallystick.service.workspace import load

ELSEWHERE = """
[sources.visits]
table = "main.visits"
time = "visited_at"
warehouse = "web"
[metrics.visits]
source = "visits"
expr = "count(*)"
entities = ["all"]
[metrics.spend_per_visit]
expr = "revenue / visits"
entities = ["all"]
"""


@pytest.fixture
def two(shop: Path) -> Path:
    text = (shop / "tally.toml").read_text().replace("[warehouse]", "[warehouses.default]")
    (shop / "tally.toml").write_text(text + '[warehouses.web]\npath = "web.duckdb"\n')
    (shop / "definitions" / "web.toml").write_text(ELSEWHERE)
    with duckdb.connect(str(shop / "web.duckdb")) as connection:
        connection.execute("CREATE TABLE visits AS SELECT TIMESTAMP '2024-02-01' AS visited_at")
    return shop


def test_what_lies_elsewhere_is_told_and_the_rest_is_built(two: Path) -> None:
    with load(two) as workspace:
        report = workspace.build()
        names = {model.name for model in workspace.models()}
    assert {model.metric for model in report.failed} == {"visits", "spend_per_visit"}
    assert {str(model.error) for model in report.failed} == {
        f"source 'visits' is in warehouse 'web', and models are built in 'default' (collect it instead: tally collect {metric})"
        for metric in ("visits", "spend_per_visit")
    }
    assert {model.name for model in report.models} == names
    assert {model.metric for model in report.models if not model.error} == {
        "revenue",
        "buyers",
        "median_order",
        "spend",
    }


def test_the_command_ends_with_one_and_names_each(two: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["build", "-p", str(two), "--select", "visits", "--select", "buyers"]) == 1
    told = capsys.readouterr().err
    assert "error: visits: source 'visits' is in warehouse 'web'" in told
    assert "buyers_to" not in told and "Traceback" not in told
