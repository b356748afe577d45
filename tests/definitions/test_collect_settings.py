"""How collecting is set: the project's word, the sources' and the metric's, and what of it is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from tallystick.definitions.collect_settings import CollectOverrides, CollectSettings, settings_of
from tallystick.definitions.load import load

PROJECT = """
[collect]
lookback = 4
values_limit = 50

[sources.orders]
table = "orders"
time = "moment"
collect = {{ lookback = 7, first = 90 }}

[metrics.revenue]
source = "orders"
expr = "sum(amount)"
collect = {collect}
"""


def loaded(folder: Path, collect: str):
    (folder / "tally.toml").write_text(PROJECT.format(collect=collect), encoding="utf-8")
    return load(folder)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    project = loaded(tmp_path, "{ lookback = 0, chunk = 24, values_limit = 10 }")
    assert not project.errors
    assert project.settings.collect == CollectSettings(lookback=4, values_limit=50)
    assert project.sources["orders"].collect == CollectOverrides(lookback=7, first=90)
    assert project.metrics["revenue"].collect == CollectOverrides(lookback=0, chunk=24, values_limit=10)


@pytest.mark.parametrize(
    ("written", "code", "message"),
    [
        ("{ lookback = -1 }", "bad-value", "a lookback of -1 is out of range"),
        ("{ values_limit = 1 }", "bad-value", "a values_limit of 1 is out of range"),
        ("{ chunk = 0 }", "bad-value", "a chunk of 0 is out of range"),
        ('{ chunk = "many" }', "wrong-type", "'chunk' must be a whole number, not text"),
        ('{ timeout = "1h" }', "misplaced-key", "'timeout' holds for whole queries"),
        ("{ lookbak = 1 }", "unknown-key", "'lookbak' is not a key of collect"),
        ("7", "wrong-type", "'collect' must be a table, not a whole number"),
    ],
)
def test_what_is_wrong_is_found_where_it_stands(tmp_path: Path, written: str, code: str, message: str) -> None:
    (finding,) = loaded(tmp_path, written).errors
    assert (finding.code, finding.message) == (code, message)
    assert str(finding).startswith("tally.toml:14:")


GENERAL = CollectSettings(lookback=2, first=30, chunk=1000)


@pytest.mark.parametrize(
    ("sources", "own", "expected"),
    [
        ([], CollectOverrides(), GENERAL),
        ([CollectOverrides(lookback=1)], CollectOverrides(), CollectSettings(lookback=1)),
        (
            [CollectOverrides(lookback=5, chunk=10, values_limit=9), CollectOverrides(lookback=3, chunk=20, first=60)],
            CollectOverrides(),
            CollectSettings(lookback=5, chunk=10, first=60, values_limit=9),
        ),
        ([CollectOverrides(lookback=5, chunk=10)], CollectOverrides(lookback=0), CollectSettings(lookback=0, chunk=10)),
    ],
)
def test_the_metric_wins_and_the_most_careful_source_else(sources, own, expected) -> None:
    assert settings_of(GENERAL, sources, own) == expected
