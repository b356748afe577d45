"""The ordinary commands on a metric-hub clone: the part of the real repository that is kept as a fixture."""

from __future__ import annotations

import csv
import gzip
import io
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pytest

from tallystick.cli.main import run
from tallystick.cli.project import find_root, is_clone
from tallystick.definitions.metric_hub.repository import is_repository
from tallystick.service.init import write_project

FIXTURE = Path(__file__).parents[1] / "fixtures/metric_hub"
REPOSITORY = FIXTURE / "repo"
KEYS = ["code", "severity", "file", "line", "column", "message", "hint"]
SMALL = """
[metrics.clicks]
data_source = "events"
select_expression = "COUNTIF(event = 'click')"
friendly_name = "Clicks"
owner = ["a@example.com", "b@example.com"]

[metrics.share]
depends_on = ["clicks"]

[metrics.keyed]
data_source = "events"
select_expression = "SUM(mozfun.map.get_key(counts, 'a'))"

[data_sources.events]
from_expression = "events"
"""
OVERLAY = """
[metrics.clicks]
friendly_name = "Clicks here"

[metrics.clicks.statistics.bootstrap_mean]
"""
LOOKER = """
[metrics.clicks.statistics.sum]
"""


@dataclass(frozen=True)
class Outcome:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture
def tally(capsys: pytest.CaptureFixture[str]) -> Any:
    def call(*arguments: str | Path) -> Outcome:
        capsys.readouterr()
        code = run([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Outcome(code, captured.out, captured.err)

    return call


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    root = tmp_path / "clone"
    for name, text in (
        ("definitions/app.toml", SMALL),
        ("jetstream/definitions/app.toml", OVERLAY),
        ("looker/definitions/app.toml", LOOKER),
    ):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text.lstrip(), encoding="utf-8")
    return root


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    write_project(tmp_path / "shop")
    return tmp_path / "shop"


# -- which folder -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("below", [".", "definitions", "jetstream", "jetstream/outcomes/fenix", "looker/definitions"])
def test_the_whole_clone_is_found_from_any_folder_in_it(below: str) -> None:
    assert find_root(None, REPOSITORY / below) == REPOSITORY.resolve()


def test_a_project_keeps_its_own_overlays(shop: Path, clone: Path) -> None:
    shutil.copytree(clone / "definitions", shop / "jetstream/definitions")
    assert is_clone(shop / "jetstream")
    assert find_root(None, shop / "jetstream/definitions") == shop.resolve()


def test_a_clone_inside_a_project_is_nearer(shop: Path, clone: Path) -> None:
    inner = shutil.copytree(clone, shop / "vendor/metric-hub")
    assert find_root(None, inner / "jetstream") == inner.resolve()
    assert find_root(None, shop / "vendor") == shop.resolve()


def test_a_clone_beside_a_tool_of_the_same_name_is_itself(clone: Path, tmp_path: Path) -> None:
    (tmp_path / "jetstream").mkdir()
    (tmp_path / "jetstream/settings.toml").write_text("[paths]\n", encoding="utf-8")
    assert find_root(None, clone / "definitions") == clone.resolve()


@pytest.mark.parametrize("name", ["jetstream/a.toml", "outcomes/fenix/a.toml", "featmon/a.toml"])
def test_a_clone_with_nothing_but_mistakes_is_checked_as_one(name: str, tmp_path: Path, tally: Any) -> None:
    (tmp_path / name).parent.mkdir(parents=True)
    (tmp_path / name).write_text("[data_sources.a]\nfoo = 1\n[foo]\nx = 1\n", encoding="utf-8")
    done = tally("check", tmp_path)
    assert done.code == 1
    assert f"{name}:" in done.out


def test_a_project_without_settings_is_no_clone(tmp_path: Path) -> None:
    text = '[sources.orders]\ntable = "orders"\n[segments.new]\nsource = "orders"\nwhere = "is_new"\n'
    (tmp_path / "definitions").mkdir()
    (tmp_path / "definitions/shop.toml").write_text(text, encoding="utf-8")
    assert not is_repository(tmp_path)


# -- check ------------------------------------------------------------------------------------------------------------


def test_check_reports_findings_with_exactly_these_keys(tally: Any) -> None:
    done = tally("check", REPOSITORY, "--format", "json")
    assert done.code == 1
    assert {tuple(finding) for finding in done.json} == {tuple(KEYS)}
    unknown = next(f for f in done.json if f["code"] == "mh-unknown-key" and f["file"] == "definitions/ads.toml")
    assert (unknown["line"], unknown["column"], unknown["severity"]) == (79, 1, "warning")
    assert "did you mean 'description'?" in unknown["hint"]


def test_check_fails_on_errors_and_strictly_on_what_compat_allows(clone: Path, tally: Any) -> None:
    assert tally("check", clone) == Outcome(0, "", "no problems; 3 metrics ready to use\n")
    with (clone / "definitions/app.toml").open("a", encoding="utf-8") as file:
        file.write('descriptions = "Events"\n')
    done = tally("check", clone)
    assert done.code == 0
    assert done.out.startswith("definitions/app.toml:16:1: warning [mh-unknown-key]")
    strict = tally("check", clone, "--strict")
    assert strict.code == 1
    assert strict.out.startswith("definitions/app.toml:16:1: error [")


# -- list and show ----------------------------------------------------------------------------------------------------


def test_list_has_every_metric_that_a_tool_sees(tally: Any) -> None:
    with gzip.open(FIXTURE / "expected/merged_jetstream.jsonl.gz", "rt", encoding="utf-8") as file:
        merged = [json.loads(line) for line in file]
    expected = {f"{one['platform']}.{one['name']}" for one in merged if one["kind"] == "metric"}
    seen = [row["name"] for row in tally("list", REPOSITORY, "--tool", "jetstream", "--format", "json").json]
    assert expected
    assert sorted(seen) == sorted(expected)


def test_list_gives_the_place_and_what_the_overlay_says(clone: Path, tally: Any) -> None:
    for arguments in (("list", clone), ("list", "--project", clone)):
        row = next(csv.DictReader(io.StringIO(tally(*arguments, "--tool", "jetstream", "--format", "csv").out)))
        assert row["name"] == "app.clicks"
        assert row["owner"] == "a@example.com, b@example.com"
        assert row["friendly_name"] == "Clicks here"
    assert tally("list", clone, "--format", "json").json[0]["friendly_name"] == "Clicks"
    assert tally("list", clone).out.splitlines()[1].split()[:3] == ["app.clicks", "metric", "events"]


def test_list_works_from_a_folder_inside(clone: Path, tally: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(clone / "jetstream")
    assert "app.clicks" in tally("list").out


def test_show_gives_every_field_and_where_it_was_written(clone: Path, tally: Any) -> None:
    (thing,) = tally("show", "app.clicks", "--tool", "jetstream", "-p", clone, "--format", "json").json
    places = {field["field"]: (field["file"], field["line"], field["column"]) for field in thing["fields"]}
    assert places["select_expression"] == ("definitions/app.toml", 3, 1)
    assert places["friendly_name"] == ("jetstream/definitions/app.toml", 2, 1)
    assert places["statistics"][0] == "jetstream/definitions/app.toml"
    assert places["bigger_is_better"] == (None, None, None)
    assert (thing["name"], thing["type"], thing["tool"]) == ("app.clicks", "metric", "jetstream")
    assert "COUNTIF(event = 'click')" in thing["sql"]


def test_show_prints_places_beside_values(tally: Any) -> None:
    done = tally("show", "fenix.uri_count", "--tool", "jetstream", "--project", REPOSITORY)
    lines = [line.split(maxsplit=2) for line in done.out.splitlines()]
    assert lines[0] == ["fenix.uri_count", "metric", "definitions/fenix.toml:3:10"]
    assert ["data_source", "definitions/fenix.toml:4:1", "baseline"] in lines
    assert ["deprecated", "(default)", "false"] in lines
    assert ["statistics", "jetstream/definitions/fenix.toml:106:20", '{"bootstrap_mean": {}, "deciles": {}}'] in lines


def test_show_knows_data_sources_and_suggests_names(tally: Any) -> None:
    rows = csv.DictReader(io.StringIO(tally("show", "fenix.baseline", "-p", REPOSITORY, "--format", "csv").out))
    assert {"data_source"} == {row["type"] for row in rows}
    done = tally("show", "fenix.uri_cuont", "-p", REPOSITORY)
    assert done.code == 2
    assert "did you mean 'uri_count'?" in done.err


# -- render and models ------------------------------------------------------------------------------------------------


def test_render_gives_the_text_consumers_get(tally: Any) -> None:
    from tallystick import metric_hub

    expected = metric_hub.load(REPOSITORY).get_metrics_sql(["uri_count"], "fenix")
    done = tally("render", "fenix.uri_count", "--dialect", "bigquery", "-p", REPOSITORY)
    assert done == Outcome(0, expected + "\n", "")
    assert tally("render", "fenix.uri_count", "-p", REPOSITORY).out == done.out


def test_render_in_another_dialect_runs_there(clone: Path, tally: Any) -> None:
    sql = tally("render", "clicks", "-d", "duckdb", "--by", "country", "-p", clone).out
    with duckdb.connect() as connection:
        connection.execute(
            "CREATE TABLE events AS SELECT * FROM (VALUES ('x', DATE '2026-01-01', 'click', 'NZ'), "
            "('x', DATE '2026-01-01', 'click', 'NZ'), ('x', DATE '2026-01-01', 'view', 'NZ')) "
            "AS t(client_id, submission_date, event, country)"
        )
        relation = connection.sql(sql)
        assert set(relation.columns) == {"client_id", "submission_date", "country", "clicks"}
        assert relation.project("clicks").fetchall() == [(2,)]


def test_render_says_why_a_metric_is_not_portable(clone: Path, tally: Any) -> None:
    done = tally("render", "app.keyed", "--dialect", "duckdb", "-p", clone)
    assert (done.code, done.out) == (1, "")
    assert "'app.keyed' does not run in duckdb: mozfun.map.get_key is a BigQuery function" in done.err
    assert tally("render", "app.share", "-p", clone).code == 1


def test_render_all_goes_on_after_one_that_cannot_be_written(clone: Path, tmp_path: Path, tally: Any) -> None:
    done = tally("render", "--all", "-d", "duckdb", "-p", clone, "--format", "json")
    assert done.code == 1
    assert [row["model"] for row in done.json] == ["app.clicks"]
    assert done.err.startswith("error: app.keyed: does not run in duckdb: ")
    assert tally("render", "--all", "-p", clone, "-o", tmp_path / "sql").code == 0
    assert sorted(path.name for path in (tmp_path / "sql").iterdir()) == ["app.clicks.sql", "app.keyed.sql"]


def test_render_of_a_view_goes_through_the_factory(clone: Path, tally: Any) -> None:
    done = tally("render", "app.clicks", "--grain", "week", "--entity", "client", "-p", clone, "--format", "json")
    assert [(row["model"], row["dialect"]) for row in done.json] == [("app_clicks_to_client_weekly", "bigquery")]
    refused = tally("render", "app.share", "--grain", "week", "-p", clone)
    assert refused.code == 1
    assert "depends on clicks" in refused.err


def test_models_are_those_of_the_ordinary_metrics(clone: Path, tally: Any) -> None:
    done = tally("models", "--project", clone, "--format", "json")
    assert [row["name"] for row in done.json] == ["app_clicks_to_all_daily", "app_keyed_to_all_daily"]
    assert "definitions/app.toml:7:10: warning [mh-not-portable] metric 'share' depends on clicks" in done.err
    assert [row["name"] for row in tally("models", "app.clicks", "-p", clone, "-f", "json").json] == [
        "app_clicks_to_all_daily"
    ]


def test_render_refuses_what_makes_no_sense_here(clone: Path, tally: Any) -> None:
    assert tally("render", "app.clicks", "--diff", "HEAD", "-p", clone).code == 2
    assert tally("render", "-p", clone).code == 2
    assert tally("render", "app.clicks", "-d", "bigqery", "-p", clone).code == 2


# -- exports ----------------------------------------------------------------------------------------------------------


def test_export_lookml_has_the_statistics_of_looker(clone: Path, tmp_path: Path, tally: Any) -> None:
    folder = tmp_path / "lookml"
    done = tally("export", "lookml", folder, "--project", clone)
    view = folder / "app/metric_definitions_events.view.lkml"
    assert done.code == 0
    assert str(view) in done.out.splitlines()
    assert "measure: clicks_sum {" in view.read_text(encoding="utf-8")
    assert tally("export", "lookml", folder, "--tool", "jetstream", "--project", clone).err.count("bootstrap_mean") == 1
    assert "measure: clicks_sum {" not in view.read_text(encoding="utf-8")


def test_export_docs_writes_linked_pages_again_and_again(tmp_path: Path, tally: Any) -> None:
    assert tally("export", "docs", tmp_path / "site", "-p", REPOSITORY).code == 0
    done = tally("export", "docs", tmp_path / "site", "-p", REPOSITORY)
    assert done.code == 0
    pages = {Path(line).name for line in done.out.splitlines()}
    assert {"index.html", "fenix.html", "functions.html"} <= pages
    assert "definitions/fenix.toml:3:10" in (tmp_path / "site/fenix.html").read_text(encoding="utf-8")


def test_export_leaves_other_peoples_files_alone(clone: Path, tmp_path: Path, tally: Any) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/notes.txt").write_text("mine", encoding="utf-8")
    for kind in ("lookml", "docs"):
        assert tally("export", kind, tmp_path / "mine", "-p", clone).code == 2
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["notes.txt"]


# -- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "command",
    [("query", "app.clicks"), ("build",), ("export", "dbt", "out"), ("export", "sqlmesh", "out")],
    ids=" ".join,
)
def test_a_clone_has_no_warehouse(command: tuple[str, ...], clone: Path, tally: Any) -> None:
    done = tally(*command, "--project", clone)
    assert (done.code, done.out) == (2, "")
    assert "is a metric-hub repository, which has no warehouse of its own here (print the SQL with" in done.err


@pytest.mark.parametrize("command", [("list",), ("show", "revenue"), ("render", "revenue"), ("models",)], ids=" ".join)
def test_a_project_has_no_tools(command: tuple[str, ...], shop: Path, tally: Any) -> None:
    done = tally(*command, "--tool", "jetstream", "--project", shop)
    assert (done.code, done.out) == (2, "")
    assert "--tool is for metric-hub repositories" in done.err


@pytest.mark.parametrize("kind", ["lookml", "docs"])
def test_a_project_has_no_lookml_or_site(kind: str, shop: Path, tmp_path: Path, tally: Any) -> None:
    done = tally("export", kind, tmp_path / "out", "--project", shop)
    assert done.code == 2
    assert "is not one (name the folder of a clone with --project)" in done.err
    assert not (tmp_path / "out").exists()


def test_an_unknown_tool_is_wrong_use(clone: Path, tally: Any) -> None:
    for command in (("list",), ("show", "app.clicks"), ("render", "app.clicks"), ("export", "lookml", "out")):
        done = tally(*command, "--tool", "jetsream", "--project", clone)
        assert done.code == 2
        assert "did you mean 'jetstream'?" in done.err


def test_list_takes_the_folder_of_a_project_too(shop: Path, tmp_path: Path, tally: Any) -> None:
    assert tally("list", shop).out == tally("list", "--project", shop).out
    assert tally("list", shop, "--project", shop).code == 2
    assert tally("list", tmp_path / "nowhere").code == 2
