"""Exports run in the tools they are written for, and every row of every model is what a direct query says."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pytest

import oso_world
from interop.environments import environment, run
from tallystick.compiler.model import Model
from tallystick.definitions.metric import SqlQuery
from tallystick.interop import dbt_export, sqlmesh_export
from tallystick.interop.facts import Facts
from tallystick.service import derived
from tallystick.service.query import bucket_end, select_models
from tallystick.service.workspace import Workspace, load
from tallystick.sql.calendar import local_date

pytestmark = [pytest.mark.slow, pytest.mark.exports]

FIXED = ("--auto-apply", "--no-prompts", "--execution-time")
RUN = ("--no-version-check", "run", "--profiles-dir", ".")
ROOT = Path(__file__).parents[2]
SHOP = ROOT / "tests" / "fixtures" / "exports" / "shop"
DEMO = ROOT / "src" / "tallystick" / "demo"
START = "2023-01-01"
NUMBERS = ("value", "numerator", "denominator")
Rows = list[tuple[object, ...]]


@pytest.fixture(scope="module")
def sqlmesh() -> Path:
    return environment("sqlmesh")


@pytest.fixture(scope="module")
def dbt() -> Path:
    return environment("dbt")


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    return Path(shutil.copytree(SHOP, tmp_path / "shop"))


def fill(programs: Path, shop: Path, script: str) -> None:
    """Run an SQL script with the tool's own DuckDB: a newer one may write files that it cannot read."""
    code = f"import duckdb; duckdb.connect('warehouse.duckdb').execute(open({script!r}).read())"
    run(programs, "python", "-c", code, folder=shop)


def opened(shop: Path, as_of: str, *, zone: str | None = None) -> Workspace:
    settings = f'[project]\nname = "shop"\nlookback = 2\nas_of = {as_of}\n'
    settings += f'time_zone = "{zone}"\nweek_start = "sunday"\n' if zone else ""
    (shop / "tally.toml").write_text(settings + '[warehouse]\npath = "warehouse.duckdb"\n')
    return load(shop)


def expected(workspace: Workspace, model: Model, *, complete: bool) -> Rows:
    """Return a model's rows by its direct query; with `complete` those of buckets that are over."""
    project, end = workspace.project, None
    if complete and model.time.is_all_time:
        end = local_date(workspace.as_of, Facts(project).calendar)
    rolls_peers = model.time.window is not None and model.metric == "busy_stores"
    table = workspace.query(model.metric, model=model.name, end=end, start=START if rolls_peers else None)
    names = [name for name in table.column_names if name not in ("n", "state")]
    rows = table.select(names).to_pylist()
    if complete and not model.time.is_all_time:
        rows = [row for row in rows if bucket_end(row["bucket"], project, model) <= workspace.as_of]
    return normal((tuple(row.values()) for row in rows), names)


def exported(file: Path, workspace: Workspace, model: Model) -> Rows:
    with duckdb.connect(str(file), read_only=True) as connection:
        relation = connection.sql(f"SELECT * FROM metrics.{model.name}")
        names = list(relation.columns)
        if isinstance(workspace.project.metrics[model.metric].definition, SqlQuery):
            key = workspace.project.entities[model.entity].key
            known = {"metrics_sample_date": "bucket", "amount": "value", f"to_{model.entity}_id": key}
            names = [known.get(name, name) for name in names]
        return normal(relation.fetchall(), names)


def normal(rows: Iterable[tuple[object, ...]], names: list[str]) -> Rows:
    """Return rows sorted, columns too, numbers to nine decimals whatever type an engine gives a sum."""

    def cell(name: str, value: object) -> object:
        return round(float(value), 9) if name in NUMBERS and value is not None else value

    dicts = [{name: cell(name, value) for name, value in zip(names, row, strict=True)} for row in rows]
    return sorted((tuple(row[name] for name in sorted(row)) for row in dicts), key=repr)


def compare(workspace: Workspace, models: Iterable[Model], file: Path, *, complete: bool) -> int:
    """Assert that every model's rows are those of its direct query, and return how many rows there are."""
    count = 0
    built = [model for model in models if model.metric == "orders_sql"]
    if built:
        # Only what was built can be read by name, which is how one definition reads another: made anew, late rows too.
        with duckdb.connect(str(file)) as connection:
            connection.execute("DROP SCHEMA IF EXISTS tally CASCADE")
        assert not workspace.build([model.name for model in built]).failed
    for model in models:
        wanted = expected(workspace, model, complete=complete)
        workspace.close()
        found = exported(file, workspace, model)
        assert found == wanted, model.name
        count += len(found)
    return count


def by_days(workspace: Workspace) -> list[Model]:
    """Return the models that look back for days: two buckets of a few hours do not reach the late orders."""
    return [model for model in workspace.models() if model.time.grain is None or not model.time.grain.is_sub_day]


def plan(programs: Path, folder: Path, as_of: str, *options: str) -> str:
    return run(programs, "sqlmesh", "plan", *FIXED, as_of, *options, folder=folder)


def build(programs: Path, folder: Path, command: str, *options: str) -> str:
    return run(programs, "dbt", "--no-version-check", command, "--profiles-dir", ".", *options, folder=folder)


def test_sqlmesh_gives_the_same_rows_and_repairs_late_ones(sqlmesh: Path, shop: Path, tmp_path: Path) -> None:
    fill(sqlmesh, shop, "seed.sql")
    first = opened(shop, "2024-04-01T12:00:00Z")
    report = sqlmesh_export.export(first.project, first.models(), tmp_path / "out")
    assert (len(report.models), report.failed) == (len(first.models()), ())
    plan(sqlmesh, tmp_path / "out", "2024-04-01 12:00:00")
    assert compare(first, first.models(), shop / "warehouse.duckdb", complete=True) > 5000

    fill(sqlmesh, shop, "late.sql")
    plan(sqlmesh, tmp_path / "out", "2024-07-01 12:00:00", "--run")
    later = opened(shop, "2024-07-01T12:00:00Z")
    assert compare(later, by_days(later), shop / "warehouse.duckdb", complete=True) > 8000


def test_dbt_gives_the_same_rows_and_repairs_late_ones(dbt: Path, shop: Path, tmp_path: Path) -> None:
    fill(dbt, shop, "seed.sql")
    first = opened(shop, "2024-04-02T00:00:00Z")
    report = dbt_export.export(first.project, first.models(), tmp_path / "out")
    assert (len(report.models), report.failed) == (len(first.models()), ())
    assert "ERROR=0" in build(dbt, tmp_path / "out", "build", "--fail-fast", "--warn-error")
    assert compare(first, first.models(), shop / "warehouse.duckdb", complete=False) > 5000

    fill(dbt, shop, "late.sql")
    build(dbt, tmp_path / "out", "run", "--vars", "{tally_end: 2024-07-01}")
    later = opened(shop, "2024-07-01T00:00:00Z")
    assert compare(later, by_days(later), shop / "warehouse.duckdb", complete=False) > 8000


LISTED = ("timeseries_metrics_to_collection", "key_metrics_to_collection", "metrics_metadata")


def registered(programs: Path, folder: Path) -> Workspace:
    """Return the project of a registry in OSO's style a year after its last row, so that every bucket is over."""
    shutil.copytree(oso_world.ROOT, folder)
    rows = oso_world.connect(oso_world.events(), [(datetime(2024, 1, 5, 3), "GITHUB", "a1")])
    tables = rows.execute("SELECT table_name FROM duckdb_tables() WHERE schema_name = 'oso'").fetchall()
    for (table,) in tables:
        rows.execute(f"COPY oso.{table} TO '{folder / table}.csv'")
    kinds = {table: rows.table(f"oso.{table}") for (table,) in tables}
    script = ["CREATE SCHEMA oso"]
    for table, kind in kinds.items():
        columns = ", ".join(f"{name} {of}" for name, of in zip(kind.columns, kind.types, strict=True))
        script += [f"CREATE TABLE oso.{table} ({columns})", f"COPY oso.{table} FROM '{table}.csv' (NULLSTR '-')"]
    (folder / "seed.sql").write_text(";\n".join(script))
    fill(programs, folder, "seed.sql")
    shutil.copy(folder / "warehouse.duckdb", folder / "built.duckdb")
    settings = '[project]\nname = "oso"\ndialect = "trino"\nstart = "2023-12-27"\nas_of = 2025-01-01T00:00:00Z\n'
    (folder / "tally.toml").write_text(settings + '[warehouse]\npath = "built.duckdb"\n')
    return load(folder)


@pytest.mark.parametrize("tool", ["sqlmesh", "dbt"])
def test_unions_of_a_registry_and_what_they_read(tool: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    programs: Path = request.getfixturevalue(tool)
    workspace = registered(programs, tmp_path / "oso")
    unions, names = derived.with_parts(workspace.project, LISTED)
    models = select_models(workspace.project, names)
    export = sqlmesh_export.export if tool == "sqlmesh" else dbt_export.export
    report = export(workspace.project, models, tmp_path / "out", unions=unions)
    assert (report.failed, set(LISTED) < set(report.models)) == ((), True)
    assert not workspace.build([*names, *(union.table for union in unions)]).failed
    workspace.close()
    file = str(tmp_path / "oso" / "warehouse.duckdb")
    if tool == "sqlmesh":
        run(programs, "sqlmesh", "plan", *FIXED, "2025-01-01", folder=tmp_path / "out", TALLY_WAREHOUSE=file)
    else:
        run(programs, "dbt", *RUN, folder=tmp_path / "out", TALLY_WAREHOUSE=file)
    with duckdb.connect() as connection:
        connection.execute(
            f"ATTACH '{tmp_path / 'oso' / 'built.duckdb'}' AS built; ATTACH '{file}' AS warehouse (READ_ONLY)"
        )
        for name in report.models:
            columns = dict(connection.execute(f"SELECT column_name, 0 FROM (DESCRIBE built.tally.{name})").fetchall())
            # Texts of definitions say in which schema the peers are.
            kept = ", ".join("amount::DOUBLE" if n == "amount" else n for n in columns if n != "rendered_sql")
            query = "SELECT {} FROM {} ORDER BY ALL"
            wanted = connection.execute(query.format(kept, f"built.tally.{name}")).fetchall()
            assert connection.execute(query.format(kept, f"warehouse.metrics.{name}")).fetchall() == wanted, name
            assert wanted


VIEWS = ("every_6_hours", "hourly", "daily", "weekly", "quarterly", "over_7_day_window", "over_all_time")
NEW_YORK = (
    *(f"revenue_to_all_{view}" for view in VIEWS),
    "orders_sql_to_store_weekly",
    "orders_sql_to_region_over_all_time",
    "visitors_to_region_daily",
)
"""At two in the morning, UTC, the last day of June is not over in New York."""


def new_york(programs: Path, shop: Path) -> tuple[Workspace, tuple[Model, ...]]:
    fill(programs, shop, "seed.sql")
    workspace = opened(shop, "2024-07-01T02:00:00Z", zone="America/New_York")
    return workspace, select_models(workspace.project, NEW_YORK)


def test_sqlmesh_counts_local_days_and_weeks_from_sunday(sqlmesh: Path, shop: Path, tmp_path: Path) -> None:
    workspace, models = new_york(sqlmesh, shop)
    sqlmesh_export.export(workspace.project, models, tmp_path / "out")
    plan(sqlmesh, tmp_path / "out", "2024-07-01 02:00:00")
    assert compare(workspace, models, shop / "warehouse.duckdb", complete=True) > 1500


def test_dbt_counts_local_days_and_weeks_from_sunday(dbt: Path, shop: Path, tmp_path: Path) -> None:
    workspace, models = new_york(dbt, shop)
    dbt_export.export(workspace.project, models, tmp_path / "out")
    build(dbt, tmp_path / "out", "run")
    assert compare(workspace, models, shop / "warehouse.duckdb", complete=False) > 1500


@pytest.mark.parametrize("tool", ["sqlmesh", "dbt"])
def test_the_demo_runs_from_its_files(tool: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    programs: Path = request.getfixturevalue(tool)
    shutil.copytree(DEMO, tmp_path / "demo", ignore=shutil.ignore_patterns("__pycache__"))
    workspace = load(tmp_path / "demo")
    names = (
        "releases_to_project_monthly",
        "active_developers_to_collection_quarterly",
        "developer_retention_to_project_yearly",
    )
    models = select_models(workspace.project, (*names, "commits_per_developer_to_all_over_all_time"))
    export: Callable[..., object] = sqlmesh_export.export if tool == "sqlmesh" else dbt_export.export
    export(workspace.project, models, tmp_path / "out")
    if tool == "sqlmesh":
        plan(programs, tmp_path / "out", "2026-08-23")
    else:
        build(programs, tmp_path / "out", "build")
    assert workspace.as_of == datetime(2026, 8, 23, tzinfo=UTC)
    assert compare(workspace, models, tmp_path / "out" / "oss_activity.duckdb", complete=tool == "sqlmesh") > 2000
