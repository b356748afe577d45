"""A source whose days start elsewhere than the project's: its buckets are whole, and final when they are over."""

from __future__ import annotations

from datetime import date

import duckdb
import pytest

from tallystick.service.workspace import load

TALLY = '[project]\nname = "z"\nas_of = {}\nlookback = 2\n[warehouse]\npath = "w.duckdb"\n'
DEFINITIONS = """
[sources.ev]
table = "main.ev"
time = "ts"
time_zone = "{}"
[metrics.rows]
source = "ev"
expr = "count(*)"
grains = ["day", "week", "6h"]
rolling = [3]
[metrics.twice]
expr = "rows * 2"
grains = ["day"]
"""
ZONES = ("America/Los_Angeles", "Asia/Tokyo", "Asia/Kolkata")


@pytest.fixture
def project(tmp_path):
    """Return a function that opens a project with hourly rows at some instant."""

    def opening(zone, as_of):
        (tmp_path / "definitions").mkdir(exist_ok=True)
        (tmp_path / "tally.toml").write_text(TALLY.format(as_of))
        (tmp_path / "definitions" / "z.toml").write_text(DEFINITIONS.format(zone))
        if not (tmp_path / "w.duckdb").exists():
            with duckdb.connect(str(tmp_path / "w.duckdb")) as warehouse:
                hours = "range(TIMESTAMP '2024-03-20 00:30', TIMESTAMP '2024-04-15', INTERVAL 1 HOUR)"
                warehouse.execute(f"CREATE TABLE ev AS SELECT unnest({hours}) AS ts")
        return load(tmp_path)

    return opening


@pytest.mark.parametrize("zone", ZONES)
def test_days_are_whole_and_final_when_they_are_over(project, zone):
    with project(zone, "2024-04-10T02:00:00Z") as workspace:
        rows = workspace.query("rows", grain="day", start="2024-04-05").to_pylist()
    assert rows[0]["bucket"] == date(2024, 4, 5)
    over = 9 if zone != "America/Los_Angeles" else 8
    assert [row["bucket"].day for row in rows if row["state"] == "final"] == list(range(5, over + 1))
    assert {row["value"] for row in rows if row["state"] == "final"} == {24}


@pytest.mark.parametrize("zone", ZONES)
def test_building_in_steps_gives_the_rows_of_a_query(project, zone):
    for as_of in ("2024-04-08T02:00:00Z", "2024-04-10T16:00:00Z", "2024-04-11T05:00:00Z", "2024-04-12T02:00:00Z"):
        with project(zone, as_of) as workspace:
            assert not workspace.project.errors
            assert not workspace.build().failed
            for model in workspace.models():
                wanted = workspace.query(model.metric, model=model.name).select(["bucket", "value"])
                got = workspace.read(model.metric, model=model.name).select(["bucket", "value"])
                assert got.to_pylist() == wanted.to_pylist(), (model.name, as_of)
