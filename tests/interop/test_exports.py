"""What exports write, without the tools; test_exports_run.py runs them."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import duckdb
import pytest

import oso_world
from tallystick.cli.main import run
from tallystick.errors import UsageError
from tallystick.interop import dbt_export, sqlmesh_export
from tallystick.interop.exported import Report
from tallystick.service import derived
from tallystick.service.instants import parse_instant
from tallystick.service.query import select_models
from tallystick.service.workspace import Workspace, load

SHOP = Path(__file__).parents[1] / "fixtures" / "exports" / "shop"
TIME_VARIABLES = {"@start_ds", "@end_ds", "@start_ts", "@end_ts", "@execution_ds"}


@pytest.fixture
def shop(tmp_path: Path) -> Workspace:
    shutil.copytree(SHOP, tmp_path / "shop")
    return load(tmp_path / "shop")


def text(folder: Path, model: str) -> str:
    return next(folder.glob(f"models/*/{model}.sql")).read_text()


def export(shop: Workspace, folder: Path, *select: str, tool: str = "sqlmesh", **options: str) -> Path:
    start = parse_instant("2023-12-20", shop.project)
    write = sqlmesh_export.export if tool == "sqlmesh" else dbt_export.export
    report = write(shop.project, select_models(shop.project, select), folder, start=start, **options)
    assert report.failed == ()
    return folder


def test_sqlmesh_models_have_no_macros_but_the_variables_of_time(shop: Workspace, tmp_path: Path) -> None:
    folder = export(shop, tmp_path / "out")
    files = list(folder.glob("models/*/*.sql"))
    assert len(files) == len(shop.models()) + 2
    for file in files:
        query = re.sub(r"'[^']*'", "", file.read_text().split(");\n\n", 1)[1])
        assert set(re.findall(r"@\w+", query)) <= TIME_VARIABLES, file.name
        assert "{{" not in file.read_text()


def test_a_quarter_is_read_to_both_of_its_ends(shop: Workspace, tmp_path: Path) -> None:
    sql = text(export(shop, tmp_path / "out", "revenue"), "revenue_to_store_quarterly")
    assert "orders.ordered_at >= CAST(CAST(DATE_TRUNC('QUARTER', CAST(@start_ds AS DATE)) AS DATE) AS TIMESTAMP)" in sql
    assert "DATE_TRUNC('QUARTER', CAST(@end_ds AS DATE)) AS DATE) + INTERVAL '3' MONTH" in sql
    assert "cron '0 0 1 1,4,7,10 *'" in sql
    assert "lookback 8," in sql
    assert "start '2023-10-01'" in sql


def test_metadata_of_a_model(shop: Workspace, tmp_path: Path) -> None:
    sql = text(export(shop, tmp_path / "out", "revenue"), "revenue_to_store_weekly")
    assert "owner 'shop@example.org'" in sql
    assert "tags ('money', 'team=shop')" in sql
    assert "It''s net. Per store, weekly.'" in sql
    assert "grain (bucket, store_id)" in sql
    assert "not_null(columns := (bucket, store_id))" in sql


def test_columns_have_the_types_of_the_answer_where_the_warehouse_is_there(shop: Workspace, tmp_path: Path) -> None:
    with duckdb.connect(str(Path(shop.project.root) / "warehouse.duckdb")) as warehouse:
        warehouse.execute("CREATE SCHEMA shop")
        warehouse.execute(
            "CREATE TABLE shop.orders AS SELECT TIMESTAMP '2024-01-05' AS ordered_at, 's' AS store_id, 'b' AS buyer, "
            "1.25::DECIMAL(4, 2) AS amount, 'web' AS channel, '' AS note"
        )
    folder = export(shop, tmp_path / "out", "revenue")
    day = " ".join(text(folder, "revenue_to_store_daily").split())
    assert "columns ( bucket DATE, store_id VARCHAR, value DECIMAL(38,2) )," in day
    assert "bucket TIMESTAMP, value DECIMAL(38,2)" in " ".join(text(folder, "revenue_to_all_hourly").split())


def test_a_derived_metric_reads_the_tables_of_its_operands_where_they_are_exported(
    shop: Workspace, tmp_path: Path
) -> None:
    whole = text(export(shop, tmp_path / "whole", "revenue", "visitors", "spend"), "spend_to_store_weekly")
    assert "FROM metrics.revenue_to_store_weekly" in whole
    alone = text(export(shop, tmp_path / "alone", "spend"), "spend_to_store_weekly")
    assert "FROM shop.orders" in alone


def test_what_a_definition_reads_is_exported_with_it(shop: Workspace, tmp_path: Path) -> None:
    folder = export(shop, tmp_path / "out", "busy_stores_to_store_weekly", tool="dbt")
    assert "{{ ref('orders_sql_to_store_weekly') }}" in text(folder, "busy_stores_to_store_weekly")
    assert "{{ source('shop', 'orders') }}" in text(folder, "orders_sql_to_store_weekly")


def test_columns_that_are_no_plain_words_are_in_quotes_in_tests_of_dbt(shop: Workspace, tmp_path: Path) -> None:
    definitions = Path(shop.project.root) / "definitions" / "shop.toml"
    definitions.write_text(definitions.read_text().replace("[entities.region]", '[entities.region]\nkey = "group"'))
    through = definitions.read_text().replace("valid_from =", 'parent = "region_id", valid_from =')
    definitions.write_text(through)
    folder = export(load(definitions.parents[1]), tmp_path / "out", tool="dbt")
    schema = next(
        file.read_text() for file in sorted(folder.glob("models/*/schema.yml")) if "group" in file.read_text()
    )
    assert '              - bucket\n              - "\\"group\\""' in schema
    assert "      - name: group\n" in schema
    assert "        quote: true\n" in schema.split("      - name: group\n")[1].split("- name")[0]
    assert "quote" not in schema.split("      - name: bucket\n")[1].split("- name")[0]


@pytest.mark.parametrize(
    ("warehouse", "schema"),
    [
        ("", "main"),
        ('engine = "postgres"', "public"),
        ('engine = "clickhouse"\ndatabase = "raw"', "raw"),
    ],
)
def test_a_bare_table_is_named_with_the_schema_it_is_in(
    warehouse: str, schema: str, shop: Workspace, tmp_path: Path
) -> None:
    definitions = Path(shop.project.root) / "definitions" / "shop.toml"
    definitions.write_text(definitions.read_text().replace('"shop.orders"', '"orders"'))
    if warehouse:
        (definitions.parents[1] / "tally.toml").write_text(f'[project]\nname = "shop"\n[warehouse]\n{warehouse}\n')
    bare = load(definitions.parents[1])
    sqlmesh = export(bare, tmp_path / "sqlmesh", "revenue_to_store_weekly")
    assert f"FROM {schema}.orders" in text(sqlmesh, "revenue_to_store_weekly")
    assert f"- name: {schema}.orders\n" in (sqlmesh / "external_models.yaml").read_text()
    dbt = export(bare, tmp_path / "dbt", "revenue_to_store_weekly", tool="dbt")
    assert f"FROM {{{{ source('{schema}', 'orders') }}}} AS orders" in text(dbt, "revenue_to_store_weekly")
    assert f"schema: {schema}\n" in (dbt / "models" / "sources.yml").read_text()


def test_local_days_are_compared_where_the_zone_is_not_utc(shop: Workspace, tmp_path: Path) -> None:
    settings = Path(shop.project.root) / "tally.toml"
    settings.write_text('[project]\ntime_zone = "America/New_York"\n')
    sql = text(export(load(settings.parent), tmp_path / "out", "revenue"), "revenue_to_all_daily")
    assert "CAST(CAST(@start_ds AS DATE) - 1 AS TIMESTAMP)" in sql
    assert "AT TIME ZONE 'America/New_York' AS DATE) >= CAST(@start_ds AS DATE)" in sql
    assert "cron_tz 'America/New_York'" in sql


def test_text_passes_through_jinja(shop: Workspace, tmp_path: Path) -> None:
    dbt = text(export(shop, tmp_path / "dbt", "median_order", tool="dbt"), "median_order_to_store_monthly")
    assert "'{% raw %}{{{% endraw %} x }} {% raw %}{%{% endraw %} y %} {% raw %}{#{% endraw %} z #} @end_ds'" in dbt
    sqlmesh = text(export(shop, tmp_path / "sqlmesh", "median_order"), "median_order_to_store_monthly")
    assert "orders.note <> ( '{' || '{ x }} {' || '% y %} {' || '# z #} @end_ds' )" in " ".join(sqlmesh.split())


def test_without_a_first_day_a_model_is_reported_and_the_others_written(shop: Workspace, tmp_path: Path) -> None:
    report = sqlmesh_export.export(shop.project, shop.models("revenue"), tmp_path / "out")
    assert report.models == ("revenue_to_all_over_all_time", "revenue_to_store_over_all_time")
    assert "has no first day" in str(report.failed[0].error)
    with pytest.raises(UsageError, match="no model to export"):
        sqlmesh_export.export(shop.project, shop.models("median_order"), tmp_path / "none")


def test_no_secret_is_written(shop: Workspace, tmp_path: Path) -> None:
    settings = Path(shop.project.root) / "tally.toml"
    settings.write_text('[warehouse]\nengine = "postgres"\nhost = "db.example.org"\npassword = "hunter2"\n')
    project = load(settings.parent)
    for tool in ("sqlmesh", "dbt"):
        folder = export(project, tmp_path / tool, "revenue_to_store_weekly", tool=tool)
        written = "".join(file.read_text() for file in folder.rglob("*") if file.is_file())
        assert "hunter2" not in written
        assert "env_var('TALLY_PASSWORD')" in written


def test_the_command(shop: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--project", shop.project.root, "--start", "2023-12-20", "--schema", "out"]
    assert run(["export", "sqlmesh", str(tmp_path / "out"), *arguments, "-s", "revenue_to_all_daily"]) == 0
    printed = capsys.readouterr()
    assert printed.out.splitlines() == [
        str(tmp_path / "out" / name)
        for name in ("README.md", "config.yaml", "external_models.yaml", "models/revenue/revenue_to_all_daily.sql")
    ]
    assert printed.err.startswith("1 model in ")
    assert "name out.revenue_to_all_daily" in text(tmp_path / "out", "revenue_to_all_daily")


def test_the_command_tells_what_failed(shop: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["export", "dbt", str(tmp_path / "out"), "--project", shop.project.root, "-s", "revenue"]) == 1
    assert "error: revenue_to_all_daily: 'revenue_to_all_daily' has no first day" in capsys.readouterr().err


@pytest.fixture
def registry(tmp_path: Path) -> Workspace:
    shutil.copytree(oso_world.ROOT, tmp_path / "oso")
    (tmp_path / "oso" / "tally.toml").write_text('[project]\nname = "oso"\ndialect = "trino"\nstart = "2023-12-27"\n')
    return load(tmp_path / "oso")


def exported(of: Workspace, tool: str, folder: Path, *select: str) -> Report:
    unions, names = derived.with_parts(of.project, select)
    models = select_models(of.project, names) if names or not select else ()
    write = sqlmesh_export.export if tool == "sqlmesh" else dbt_export.export
    return write(of.project, models, folder, unions=unions)


def test_unions_and_descriptions_are_exported_with_what_they_read(registry: Workspace, tmp_path: Path) -> None:
    report = exported(registry, "sqlmesh", tmp_path / "out", "key_metrics_to_project", "metrics_metadata")
    keys = {f"{name}_to_project_over_all_time" for name in ("stars", "commits", "fees")}
    about = {f"metrics_metadata{name}" for name in ("", "_stars", "_classes", "_old_stars")}
    assert set(report.models) == keys | about | {"key_metrics_to_project"}
    union = (tmp_path / "out" / "models" / "derived" / "key_metrics_to_project.sql").read_text()
    assert "kind VIEW" in union and "'entity_category=project'" in union
    assert set(re.findall(r"FROM (\S+)", union)) == {f"metrics.{name}" for name in keys}
    described = (tmp_path / "out" / "models" / "derived" / "metrics_metadata_stars.sql").read_text()
    assert "kind FULL" in described and "has_at_least_n_rows(threshold := 0)" in described


def test_only_descriptions_need_no_model(registry: Workspace, tmp_path: Path) -> None:
    report = exported(registry, "dbt", tmp_path / "out", "metrics_metadata_stars")
    assert report.models == ("metrics_metadata_stars",)
    assert (
        "materialized='table'" in (tmp_path / "out" / "models" / "derived" / "metrics_metadata_stars.sql").read_text()
    )


def test_a_union_reads_what_is_exported_only(registry: Workspace, tmp_path: Path) -> None:
    union = [model for model in derived.models(registry.project) if model.table == "key_metrics_to_project"]
    models = select_models(registry.project, ["stars"])
    dbt_export.export(registry.project, models, tmp_path / "out", unions=union)
    sql = (tmp_path / "out" / "models" / "derived" / "key_metrics_to_project.sql").read_text()
    assert re.findall(r"ref\('(\w+)'\)", sql) == ["stars_to_project_over_all_time"]
    entry = (tmp_path / "out" / "models" / "derived" / "schema.yml").read_text()
    assert "time_view" in entry and "model_type=view" in entry


def test_tags_and_audits_of_a_registry_are_exported(registry: Workspace, tmp_path: Path) -> None:
    report = exported(registry, "sqlmesh", tmp_path / "out", "stars_to_project_daily")
    sql = text(tmp_path / "out", "stars_to_project_daily")
    assert "has_at_least_n_rows(threshold := 0)" in sql
    assert "no_gaps_by_day(time_column := metrics_sample_date)" in sql
    assert "'data_category=code'" in sql and "'entity_category=project'" in sql
    assert {file for file in report.files if file.startswith("audits/")} == {
        "audits/has_at_least_n_rows.sql",
        "audits/no_gaps_by_day.sql",
    }
    assert report.left_out == ()
    assert exported(registry, "dbt", tmp_path / "dbt", "stars").left_out == ("has_at_least_n_rows", "no_gaps")


def test_no_column_is_a_star(registry: Workspace, tmp_path: Path) -> None:
    exported(registry, "sqlmesh", tmp_path / "out")
    for file in (tmp_path / "out" / "models").glob("*/*.sql"):
        assert "*" not in file.read_text().partition("grain")[2].partition(")")[0], file.name


def test_columns_behind_a_star_are_asked_for_or_missed(tmp_path: Path) -> None:
    (tmp_path / "metrics").mkdir()
    (tmp_path / "tally.toml").write_text(
        '[project]\nname = "s"\nstart = "2024-01-01"\n[warehouse]\npath = "w.duckdb"\n'
    )
    (tmp_path / "metrics" / "sales.sql").write_text(
        "-- ---\n-- entities = ['artifact']\n-- grains = ['day']\n-- ---\n"
        "WITH days AS (SELECT @metrics_sample_date(sold) AS metrics_sample_date, '' AS event_source, to_artifact_id, "
        "'' AS metric, sum(x) AS amount FROM main.sales GROUP BY 1, 3) SELECT * FROM days"
    )
    found = load(tmp_path)
    with pytest.raises(UsageError, match="no model") as error:
        exported(found, "sqlmesh", tmp_path / "out")
    assert "SELECT *" in str(error.value.hint)
    found.close()
    with duckdb.connect(str(tmp_path / "w.duckdb")) as warehouse:
        warehouse.execute("CREATE TABLE sales AS SELECT DATE '2024-01-05' AS sold, 'a' AS to_artifact_id, 2 AS x")
    exported(load(tmp_path), "sqlmesh", tmp_path / "out")
    assert "grain (metrics_sample_date, event_source, to_artifact_id, metric)" in text(
        tmp_path / "out", "sales_to_artifact_daily"
    )
