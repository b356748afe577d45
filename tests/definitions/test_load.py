"""What a folder of files becomes: nouns in a fixed order, read once, with nothing in the way stopping the rest."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from effort import growth
from tallystick.definitions.about import Direction, Level, Status
from tallystick.definitions.entity import RollUp
from tallystick.definitions.load import load
from tallystick.definitions.metric import Aggregate, Formula, SqlQuery, Views
from tallystick.definitions.project import Project, Warehouse
from tallystick.errors import ProjectError
from tallystick.sql.grain import Grain, Window, WindowUnit

VISITS = '[sources.visits]\ntable = "visits"\ntime = "at"\n'
COUNT = 'source = "visits"\nexpr = "count(*)"\n'

NATIVE = """
[sources.orders]
table = "shop.orders"
time = "ordered_at"
partition = "ds"
settle = "2 days"
entities = { user = "user_id", store = "store_id" }
filters = { completed = "status = 'completed'" }
[sources.orders.columns]
amount = { unit = "EUR" }
net = { sql = "amount - tax", unit = "EUR" }
country = { dimension = true }
[entities.store]
rolls_up_to = "region"
through = "shop.stores"
[metrics.revenue]
source = "orders"
expr = "sum(net)"
where = "completed"
grains = ["day", "week", "month"]
rolling = [7, "4 weeks"]
all_time = true
entities = ["store", "region"]
by = ["country"]
friendly_name = "Revenue"
description = "Net value of completed orders."
owner = "growth@example.org"
tags = ["money", "money"]
unit = "EUR"
direction = "up"
level = "gold"
verified = true
[metrics.orders]
source = "orders"
expr = "count(*)"
where = "completed"
[metrics.order_value]
expr = "revenue / orders"
"""

COMPATIBLE = """
[data_sources.orders]
from_expression = "(SELECT * FROM shop.orders)"
submission_date_column = "ds"
client_id_column = "user_id"
[data_sources.visits]
from_expression = "shop.visits"
submission_date_column = "ds"
client_id_column = "user_id"
group_id_column = "team_id"
[metrics.revenue]
data_source = "orders"
select_expression = "SUM(amount)"
type = "scalar"
bigger_is_better = false
deprecated = true
display_name = "Revenue"
owner = ["a@example.org", "b@example.org"]
"""


def project(folder: Path, **files: str) -> Project:
    (folder / "definitions").mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / "definitions" / f"{name}.toml").write_text(text, encoding="utf-8")
    return load(folder)


def test_the_native_example(tmp_path: Path) -> None:
    found = project(tmp_path, shop=NATIVE)
    assert not found.errors
    source = found.sources["orders"]
    assert (source.table, source.time, source.partition, source.settle_seconds) == (
        "shop.orders",
        "ordered_at",
        "ds",
        2 * 86_400,
    )
    assert dict(source.entities) == {"user": "user_id", "store": "store_id"}
    assert source.columns["net"].sql == "amount - tax"
    assert source.columns["country"].is_dimension
    assert not source.columns["amount"].is_dimension
    edge = RollUp(parent="region", through="shop.stores", child_key="store_id", parent_key="region_id")
    assert found.entities["store"].rolls_up_to == (edge,)
    assert found.entities["region"].key == "region_id"
    revenue = found.metrics["revenue"]
    assert revenue.definition == Aggregate(source="orders", expr="sum(net)", where=("completed",))
    assert revenue.views == Views(
        entities=("store", "region"),
        grains=(Grain.DAY, Grain.WEEK, Grain.MONTH),
        rolling=(Window(7), Window(4, WindowUnit.WEEK)),
        all_time=True,
        by=("country",),
    )
    about = revenue.about
    assert (about.friendly_name, about.owners, about.tags) == ("Revenue", ("growth@example.org",), ("money",))
    assert (about.direction, about.level, about.status, about.verified) == (
        Direction.UP,
        Level.GOLD,
        Status.ACTIVE,
        True,
    )
    assert found.metrics["order_value"].definition == Formula(expr="revenue / orders")
    assert [metric.kind for metric in found.metrics.values()] == ["aggregate", "aggregate", "derived"]


def test_keys_of_metric_hub_in_a_native_file(tmp_path: Path) -> None:
    found = project(tmp_path, shop=COMPATIBLE)
    assert not found.errors
    orders, visits = found.sources["orders"], found.sources["visits"]
    assert (orders.sql, orders.time, orders.time_is_date) == ("SELECT * FROM shop.orders", "ds", True)
    assert (visits.table, dict(visits.entities)) == ("shop.visits", {"client": "user_id", "group": "team_id"})
    revenue = found.metrics["revenue"]
    assert revenue.definition == Aggregate(source="orders", expr="SUM(amount)")
    assert (revenue.about.direction, revenue.about.status) == (Direction.DOWN, Status.DEPRECATED)
    assert revenue.about.owners == ("a@example.org", "b@example.org")


def test_keys_of_aggregation_become_an_expression(tmp_path: Path) -> None:
    text = VISITS + '[metrics.a]\nsource = "visits"\naggregation = "count_distinct"\ncolumn = "user_id"\n'
    text += '[metrics.b]\nnumerator = "a"\ndenominator = "a"\n'
    found = project(tmp_path, shop=text)
    assert found.metrics["a"].definition == Aggregate(source="visits", expr="count(distinct user_id)")
    assert found.metrics["b"].definition == Formula(expr="a / a")


def test_an_event_brings_its_source_and_its_condition(tmp_path: Path) -> None:
    text = VISITS + '[events.signup]\nsource = "visits"\nwhere = "event = \'signup\'"\n'
    found = project(tmp_path, shop=text + '[metrics.signups]\nevent = "signup"\nwhere = "x = 1"\n')
    definition = Aggregate(source="visits", expr="count(*)", where=("signup", "x = 1"))
    assert found.metrics["signups"].definition == definition
    assert found.segments["signup"].kind == "event"


def test_settings(tmp_path: Path) -> None:
    (tmp_path / "tally.toml").write_text(
        """
        [project]
        name = "shop"
        time_zone = "Europe/Berlin"
        week_start = "Sunday"
        as_of = 2026-08-23
        start = 2020-01-01T00:00:00Z
        lookback = 7
        [warehouse]
        engine = "duckdb"
        path = "shop.duckdb"
        read_only = true
        threads = 2
        [warehouses.events]
        engine = "clickhouse"
        schema = "metrics"
        options = { host = "localhost" }
        [defaults]
        grains = ["week", "weekly"]
        rolling = { windows = [1, 3], unit = "month" }
        all_time = true
        """,
        encoding="utf-8",
    )
    found = project(tmp_path, shop=VISITS + "[metrics.a]\n" + COUNT)
    settings = found.settings
    assert not found.errors
    assert (settings.name, settings.week_start, settings.lookback) == ("shop", 7, 7)
    assert settings.as_of == datetime(2026, 8, 22, 22, tzinfo=UTC), "a date is meant in the project's zone"
    assert settings.start == datetime(2020, 1, 1, tzinfo=UTC)
    windows = (Window(1, WindowUnit.MONTH), Window(3, WindowUnit.MONTH))
    assert settings.views == Views(grains=(Grain.WEEK,), rolling=windows, all_time=True)
    main, events = found.warehouses["default"], found.warehouses["events"]
    assert (main.path, dict(main.options)) == ("shop.duckdb", {"read_only": "true", "threads": "2"})
    assert (events.engine, events.schema, dict(events.options)) == ("clickhouse", "metrics", {"host": "localhost"})
    assert found.warehouse is main


def test_a_project_without_settings(tmp_path: Path) -> None:
    found = project(tmp_path, shop=VISITS)
    assert found.settings.name == tmp_path.name
    assert dict(found.warehouses) == {"default": Warehouse()}
    assert found.dialect == "duckdb"


def test_a_single_file_is_a_project(tmp_path: Path) -> None:
    path = tmp_path / "shop.toml"
    path.write_text('[project]\ntime_zone = "Asia/Tokyo"\n' + VISITS + "[metrics.a]\n" + COUNT, encoding="utf-8")
    found = load(path)
    assert not found.errors
    assert (found.settings.name, found.settings.time_zone, list(found.metrics)) == ("shop", "Asia/Tokyo", ["a"])


def test_files_are_read_in_a_fixed_order(tmp_path: Path) -> None:
    text = "[metrics.{}]\n" + COUNT
    (tmp_path / "definitions" / "b").mkdir(parents=True)
    (tmp_path / "definitions" / "b" / "x.toml").write_text(text.format("three"), encoding="utf-8")
    (tmp_path / "definitions" / ".hidden.toml").write_text(text.format("hidden"), encoding="utf-8")
    found = project(tmp_path, c=text.format("four"), a=VISITS + text.format("one") + text.format("two"))
    assert list(found.metrics) == ["one", "two", "three", "four"]


def test_sql_metrics(tmp_path: Path) -> None:
    (tmp_path / "metrics" / "code").mkdir(parents=True)
    text = '-- ---\r\n-- owner = "me@example.org"\r\n-- rolling = [30]\r\n-- vars = { types = ["A", "B"], n = 3 }\r\n-- ---\r\n'
    (tmp_path / "metrics" / "code" / "stars.sql").write_text(text + "select 1 as amount", encoding="utf-8", newline="")
    found = load(tmp_path)
    assert not found.errors
    stars = found.metrics["stars"]
    assert isinstance(stars.definition, SqlQuery)
    assert stars.definition.ref == "code/stars.sql"
    assert stars.definition.sql.endswith("select 1 as amount")
    assert dict(stars.definition.vars) == {"types": ("A", "B"), "n": 3}
    assert (stars.about.owners, stars.views.rolling) == (("me@example.org",), (Window(30),))


def test_a_byte_order_mark_and_windows_line_ends(tmp_path: Path) -> None:
    (tmp_path / "definitions").mkdir()
    text = "\ufeff" + (VISITS + "[metrics.a]\n" + COUNT + "x = 1\n").replace("\n", "\r\n")
    (tmp_path / "definitions" / "shop.toml").write_text(text, encoding="utf-8", newline="")
    [finding] = load(tmp_path).errors
    assert (finding.code, finding.line, finding.column) == ("unknown-key", 7, 1)


# -- what cannot be read ----------------------------------------------------------------------------------------------


def test_a_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(ProjectError, match="does not exist") as raised:
        load(tmp_path / "nowhere")
    assert raised.value.exit_code == 2
    assert "tally init" in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_file_that_is_no_project(tmp_path: Path) -> None:
    (tmp_path / "x.parquet").write_bytes(b"PAR1")
    with pytest.raises(ProjectError, match="is not a project"):
        load(tmp_path / "x.parquet")


def test_an_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(ProjectError, match="defines nothing"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("content", "code", "line", "column"),
    [
        (b"\x89PNG\r\n\x1a\n\0\0\0", "not-text", None, None),
        ("[metrics.a]\nexpr = 'größe'".encode("latin-1"), "not-text", 2, 11),
        (b"# " + b"x" * 10_000_000, "file-too-large", None, None),
        (b"a = " + b"9" * 5_000, "toml-syntax", None, None),
        (b"a = 2026-13-45", "toml-syntax", 1, None),
        (b"[a\n", "toml-syntax", 1, None),
    ],
)
def test_files_that_cannot_be_read(
    tmp_path: Path, content: bytes, code: str, line: int | None, column: int | None
) -> None:
    folder, fine = tmp_path / "broken", VISITS + "[metrics.a]\n" + COUNT
    (folder / "definitions").mkdir(parents=True)
    (folder / "definitions" / "broken.toml").write_bytes(content)
    found = project(folder, fine=fine)
    assert growth(lambda: project(tmp_path / "sound", fine=fine), lambda: load(folder)) < 20
    [finding] = found.errors
    assert (finding.code, finding.file) == (code, "definitions/broken.toml")
    assert line is None or finding.line == line
    assert column is None or finding.column == column
    assert list(found.metrics) == ["a"]


def test_a_folder_named_like_a_file(tmp_path: Path) -> None:
    (tmp_path / "definitions" / "odd.toml").mkdir(parents=True)
    found = project(tmp_path, fine=VISITS + "[metrics.a]\n" + COUNT)
    assert [finding.code for finding in found.errors] == ["unreadable-file"]


def test_every_finding_can_be_written_as_json(tmp_path: Path) -> None:
    found = project(tmp_path, shop='[metrics.a]\nsource = "x"\nexpr = "count(*)"\n')
    [finding] = json.loads(json.dumps([finding.as_dict() for finding in found.errors]))
    assert list(finding) == ["code", "severity", "file", "line", "column", "message", "hint"]


# -- speed ------------------------------------------------------------------------------------------------------------


def test_ten_times_the_metrics_take_no_more_than_twenty_times_as_long(tmp_path: Path) -> None:
    views = 'where = ["country = \'{n}\'"]\nrolling = [7, 28]\ndescription = "d"\nowner = "o"\n'

    def loaded(count: int) -> Project:
        text = "".join(f'[metrics.m{n}]\nsource = "visits"\nexpr = "sum(c{n} * price)"\n' + views for n in range(count))
        found = project(tmp_path / str(count), shop=VISITS + text)
        assert len(found.metrics) == count
        assert not found.diagnostics
        return found

    assert growth(lambda: loaded(100), lambda: loaded(1000)) < 20
