"""The catalog: versions, rules about names, owners and dependents; the same on both databases."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tallystick.compiler.series import Wanted
from tallystick.definitions.about import Status
from tallystick.definitions.load import load
from tallystick.errors import ConflictError, DefinitionError, StoreError, UnknownNameError, UsageError
from tallystick.sql.grain import Grain
from tallystick.store import audit, catalog, runs
from tallystick.store.database import Store
from tallystick.store.definition_rows import Definition, get
from tallystick.store.files import Synced, sync_files
from tallystick.store.kinds import Author, Kind, Owner
from tallystick.store.projects import ensure_project, get_project, list_projects
from tallystick.store.reading import facts_of, read_body
from tallystick.store.toml_text import toml_text

NOW = datetime(2026, 3, 1, tzinfo=UTC)
ANN = Author("ann", NOW)
ORDERS = {
    "table": "shop.orders",
    "time": "ordered_at",
    "filters": {"completed": "status = 'completed'"},
    "columns": {"net": {"sql": "amount - tax"}, "country": {"dimension": True}},
}
REVENUE = {"source": "orders", "expr": "sum(net)", "where": "completed", "grains": ["day"]}


@pytest.fixture
def shop(store: Store) -> Store:
    with store.transaction() as connection:
        ensure_project(connection, ANN, "shop", title="The shop")
    return store


def create(store: Store, kind: Kind, name: str, body: Mapping[str, Any], author: Author = ANN) -> Definition:
    with store.transaction() as connection:
        return catalog.create(connection, author, "shop", kind, name, body)


def change(store: Store, kind: Kind, name: str, body: Mapping[str, Any], **options: int) -> Definition:
    with store.transaction() as connection:
        return catalog.change_body(connection, Author("bob", NOW), "shop", kind, name, body, **options)


def fetch(store: Store, kind: Kind, name: str) -> Definition:
    with store.reading() as connection:
        return get(connection, "shop", kind, name)


def names(store: Store, **options: Any) -> list[str]:
    with store.reading() as connection:
        return [one.name for one in catalog.list_definitions(connection, "shop", **options)]


# -- projects ---------------------------------------------------------------------------------------------------------


def test_a_project_is_made_once(shop: Store) -> None:
    with shop.transaction() as connection:
        again = ensure_project(connection, Author("bob", NOW), "shop", title="Another")
        assert (again.title, again.created_by) == ("The shop", "ann")
        assert list_projects(connection) == (again,)
        assert len(audit.entries(connection, kind="project")) == 1
        with pytest.raises(UnknownNameError):
            get_project(connection, "bakery")


# -- definitions made in the service ----------------------------------------------------------------------------------


def test_every_change_is_a_version_with_who_when_and_what(shop: Store) -> None:
    create(shop, Kind.METRIC, "revenue", REVENUE)
    changed = change(shop, Kind.METRIC, "revenue", REVENUE | {"expr": "sum(amount)", "description": "All of it."})
    assert (changed.version, changed.created_by, changed.updated_by) == (2, "ann", "bob")
    assert change(shop, Kind.METRIC, "revenue", changed.body or {}).version == 2
    with shop.reading() as connection:
        first, second = catalog.history(connection, "shop", Kind.METRIC, "revenue")
        entry = audit.entries(connection, kind="metric")[0]
    assert (first.number, first.author, second.author, second.at) == (1, "ann", "bob", NOW)
    assert second.changes == [
        {"field": "about.description", "old": None, "new": "All of it."},
        {"field": "definition.expr", "old": "sum(net)", "new": "sum(amount)"},
    ]
    assert (entry.author, entry.action, entry.name, entry.detail["changes"]) == (
        "bob", "update", "revenue", second.changes,
    )  # fmt: skip


def test_a_change_of_what_somebody_else_changed_is_refused(shop: Store) -> None:
    create(shop, Kind.METRIC, "revenue", REVENUE)
    change(shop, Kind.METRIC, "revenue", REVENUE | {"unit": "EUR"}, version=1)
    with pytest.raises(ConflictError, match=r"changed by bob meanwhile \(version 2, not 1\)"):
        change(shop, Kind.METRIC, "revenue", REVENUE | {"unit": "USD"}, version=1)


def test_names_are_never_reused(shop: Store) -> None:
    create(shop, Kind.METRIC, "revenue", REVENUE)
    with pytest.raises(ConflictError, match="defined already, by ann"):
        create(shop, Kind.METRIC, "revenue", REVENUE)
    with shop.transaction() as connection:
        catalog.remove(connection, ANN, "shop", Kind.METRIC, "revenue")
    with pytest.raises(ConflictError, match="existed until 2026-03-01, and names are never reused"):
        create(shop, Kind.METRIC, "revenue", REVENUE)
    assert names(shop) == []
    with shop.reading() as connection:
        assert len(catalog.history(connection, "shop", Kind.METRIC, "revenue")) == 1
        assert [entry.action for entry in audit.entries(connection, name="revenue")] == ["delete", "create"]


@pytest.mark.parametrize(
    ("kind", "name", "body", "message"),
    [
        (Kind.METRIC, "revenue", {"source": "orders", "expr": "sum(net)", "colour": "red"}, "'colour' is not a key"),
        (Kind.METRIC, "revenue", {"source": "orders"}, "revenue"),
        (Kind.METRIC, "Revenue!", REVENUE, "identifier"),
        (Kind.SOURCE, "orders", {"sql": "select 1", "table": "orders"}, "both say where rows are"),
        (Kind.SOURCE, "orders", {"file": "../secret.sql"}, "outside|leads out|exist"),
        (Kind.SOURCE, "orders", {"table": object()}, "cannot be written"),
    ],
)
def test_a_wrong_body_is_refused(shop: Store, kind: Kind, name: str, body: dict[str, Any], message: str) -> None:
    with pytest.raises(DefinitionError, match=message):
        create(shop, kind, name, body)
    assert names(shop) == []


def test_labels_are_set_on_many_and_any_status_follows_any(shop: Store) -> None:
    for name in ("revenue", "refunds"):
        create(shop, Kind.METRIC, name, REVENUE | {"owner": "ann", "status": "draft"})
    for status in (*Status, *reversed(Status)):
        with shop.transaction() as connection:
            catalog.label(connection, ANN, "shop", Kind.METRIC, ["revenue", "refunds"], status=status)
        assert {fetch(shop, Kind.METRIC, name).status for name in ("revenue", "refunds")} == {status}
    with shop.transaction() as connection:
        catalog.label(connection, ANN, "shop", Kind.METRIC, ["revenue"], verified=True, owners=["bob"], tags=["core"])
        with pytest.raises(UsageError):
            catalog.label(connection, ANN, "shop", Kind.METRIC, ["revenue"])
    found = fetch(shop, Kind.METRIC, "revenue")
    assert (found.verified, found.owners, found.tags) == (True, ("bob",), ("core",))
    assert names(shop, tag="core") == ["revenue"]
    assert names(shop, status=Status.DRAFT) == ["revenue", "refunds"]
    assert names(shop, search="REFU") == ["refunds"]


def test_order_is_changed_within_the_places_taken(shop: Store) -> None:
    for name in ("a", "b", "c", "d"):
        create(shop, Kind.METRIC, name, REVENUE)
    with shop.transaction() as connection:
        catalog.reorder(connection, ANN, "shop", Kind.METRIC, ["d", "b", "a"])
        with pytest.raises(UsageError, match="comes twice"):
            catalog.reorder(connection, ANN, "shop", Kind.METRIC, ["a", "a"])
        with pytest.raises(UnknownNameError):
            catalog.reorder(connection, ANN, "shop", Kind.METRIC, ["a", "x"])
    assert names(shop) == ["d", "b", "c", "a"]
    create(shop, Kind.METRIC, "e", REVENUE)
    assert names(shop)[-1] == "e"


def test_meaning_stays_while_a_metric_is_collected(shop: Store) -> None:
    create(shop, Kind.METRIC, "revenue", REVENUE)
    key = runs.key_of("shop", Wanted(metric="revenue", grain=Grain.DAY), NOW, NOW + timedelta(days=1))
    with shop.transaction() as connection:
        runs.claim(connection, key, "w", NOW, timedelta(minutes=5))
    with pytest.raises(ConflictError, match="being collected"):
        change(shop, Kind.METRIC, "revenue", REVENUE | {"expr": "sum(tax)"})
    change(shop, Kind.METRIC, "revenue", REVENUE | {"description": "Only text."})


# -- dependents -------------------------------------------------------------------------------------------------------


def test_what_others_use_is_not_deleted(shop: Store) -> None:
    create(shop, Kind.SOURCE, "orders", ORDERS)
    create(shop, Kind.EVENT, "checkout", {"source": "orders", "where": "kind = 'x'"})
    for number in range(12):
        create(shop, Kind.METRIC, f"m{number:02}", REVENUE)
    with shop.transaction() as connection:
        used = catalog.where_used(connection, "shop", Kind.SOURCE, "orders")
        assert {kind: len(users) for kind, users in used.items()} == {Kind.EVENT: 1, Kind.METRIC: 12}
        with pytest.raises(ConflictError) as caught:
            catalog.remove(connection, ANN, "shop", Kind.SOURCE, "orders")
    assert caught.value.message.count("metric '") == 9
    assert caught.value.message.endswith("and 3 more")


@pytest.mark.parametrize(
    "body",
    [
        {"expr": "revenue / nullif(orders, 0)"},
        {"numerator": "revenue", "denominator": "orders"},
        {"expr": "1 - coalesce(orders, 0)"},
    ],
)
def test_operands_of_formulas_and_ratios_are_used(shop: Store, body: dict[str, Any]) -> None:
    create(shop, Kind.METRIC, "orders", REVENUE | {"expr": "count(*)"})
    create(shop, Kind.METRIC, "derived", body)
    with shop.transaction() as connection:
        assert catalog.where_used(connection, "shop", Kind.METRIC, "orders") == {Kind.METRIC: ("derived",)}
        with pytest.raises(ConflictError, match="metric 'orders' is used by metric 'derived'"):
            catalog.remove(connection, ANN, "shop", Kind.METRIC, "orders")
        catalog.remove(connection, ANN, "shop", Kind.METRIC, "derived")
        catalog.remove(connection, ANN, "shop", Kind.METRIC, "orders")


@pytest.mark.parametrize(
    ("narrowed", "part"),
    [
        (ORDERS | {"filters": {}}, "completed"),
        (ORDERS | {"filters": {"done": "status = 'completed'"}}, "completed"),
        (ORDERS | {"columns": {"country": {"dimension": True}}}, "net"),
    ],
)
def test_a_source_is_not_narrowed_below_what_others_use(shop: Store, narrowed: dict[str, Any], part: str) -> None:
    create(shop, Kind.SOURCE, "orders", ORDERS)
    create(shop, Kind.METRIC, "revenue", REVENUE)
    with pytest.raises(ConflictError, match=f"^{part} of source 'orders' is used by metric 'revenue'"):
        change(shop, Kind.SOURCE, "orders", narrowed)
    # What nobody uses may go.
    change(shop, Kind.SOURCE, "orders", ORDERS | {"columns": {"net": {"sql": "amount"}}})


# -- secrets ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [{"password": "hunter2"}, {"options": {"private_key": "hunter2"}}, {"url": "postgres://bob:hunter2@host/db"}],
    ids=["password", "nested", "url"],
)
def test_secrets_in_clear_are_refused(shop: Store, options: dict[str, Any]) -> None:
    with pytest.raises(DefinitionError, match="holds a secret in clear") as caught:
        create(shop, Kind.WAREHOUSE, "lake", {"engine": "postgres", **options})
    assert "hunter2" not in str(caught.value)
    assert "env:" in str(caught.value)


def test_references_to_secrets_are_kept_and_resolved_where_they_are_needed(shop: Store) -> None:
    found = create(shop, Kind.WAREHOUSE, "lake", {"engine": "postgres", "host": "db", "password": "env:LAKE_PASSWORD"})
    assert found.facts["options"] == {"host": "db", "password": "env:LAKE_PASSWORD"}
    from tallystick.store.secrecy import revealed

    options = found.facts["options"]
    assert revealed(options, {"LAKE_PASSWORD": "hunter2"})["password"] == "hunter2"  # noqa: S105
    with pytest.raises(StoreError, match="LAKE_PASSWORD, which is not set"):
        revealed(options, {})


# -- the audit --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("statement", ["UPDATE audit SET author = 'eve'", "DELETE FROM audit"])
def test_the_audit_is_only_added_to(shop: Store, statement: str) -> None:
    def tamper() -> None:
        with shop.transaction() as connection:
            connection.exec_driver_sql(statement)

    with pytest.raises(StoreError, match="the audit is only added to"):
        tamper()
    with shop.reading() as connection:
        assert [entry.author for entry in audit.entries(connection)] == ["ann"]


def test_the_audit_holds_no_secret(shop: Store) -> None:
    detail = {
        "changes": [{"field": "options.password", "old": "hunter2", "new": "env:PASSWORD"}],
        "options": {"api_key": "hunter2", "note": "https://bob:hunter2@host/", "list": ["token=hunter2"]},
    }
    with shop.transaction() as connection:
        audit.record(connection, ANN, "test", kind="warehouse", name="lake", detail=detail)
        (entry,) = audit.entries(connection, kind="warehouse")
    assert "hunter2" not in str(entry.detail)
    assert "env:PASSWORD" in str(entry.detail)


def test_a_change_that_fails_leaves_no_entry(shop: Store) -> None:
    def fail() -> None:
        with shop.transaction() as connection:
            catalog.create(connection, ANN, "shop", Kind.METRIC, "revenue", REVENUE)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert names(shop) == []
    with shop.reading() as connection:
        assert audit.entries(connection, kind="metric") == ()


# -- files ------------------------------------------------------------------------------------------------------------

FILE = """
[sources.orders]
table = "shop.orders"
time = "ordered_at"

[metrics.revenue]
source = "orders"
expr = "sum(net)"

[metrics.orders]
source = "orders"
expr = "count(*)"
"""


def sync(store: Store, folder: Path, text: str) -> Synced:
    (folder / "definitions").mkdir(exist_ok=True)
    (folder / "definitions" / "shop.toml").write_text(text, encoding="utf-8")
    with store.transaction() as connection:
        return sync_files(connection, ANN, load(folder), "shop")


def test_definitions_of_files_are_read_only_and_say_where_they_are(shop: Store, tmp_path: Path) -> None:
    found = sync(shop, tmp_path, FILE)
    assert found.added == ("warehouse default", "source orders", "metric revenue", "metric orders")
    assert sync(shop, tmp_path, FILE) == Synced()
    with pytest.raises(ConflictError, match=r"metric 'revenue' is owned by definitions/shop.toml:6 \(change it there"):
        change(shop, Kind.METRIC, "revenue", REVENUE)
    with pytest.raises(ConflictError, match=r"defined already, in definitions/shop.toml:6"):
        create(shop, Kind.METRIC, "revenue", REVENUE)
    with shop.transaction() as connection, pytest.raises(ConflictError, match="owned by"):
        catalog.remove(connection, ANN, "shop", Kind.SOURCE, "orders")
    assert names(shop, kind=Kind.METRIC, owned_by=Owner.FILE) == ["revenue", "orders"]


def test_files_that_change_are_followed(shop: Store, tmp_path: Path) -> None:
    sync(shop, tmp_path, FILE)
    found = sync(shop, tmp_path, "\n\n" + FILE.replace("sum(net)", "sum(gross)"))
    assert found.changed == ("metric revenue",)
    revenue = fetch(shop, Kind.METRIC, "revenue")
    assert (revenue.version, revenue.place.line) == (2, 8)
    assert fetch(shop, Kind.METRIC, "orders").place.line == 12


def test_what_leaves_the_files_is_archived_and_comes_back(shop: Store, tmp_path: Path) -> None:
    sync(shop, tmp_path, FILE)
    shorter = FILE[: FILE.index("[metrics.orders]")]
    assert sync(shop, tmp_path, shorter).archived == ("metric orders",)
    assert sync(shop, tmp_path, shorter) == Synced()
    assert fetch(shop, Kind.METRIC, "orders").status is Status.ARCHIVED
    assert sync(shop, tmp_path, FILE).changed == ("metric orders",)
    assert fetch(shop, Kind.METRIC, "orders").status is Status.ACTIVE


def test_a_name_that_left_the_files_is_not_for_the_service(shop: Store, tmp_path: Path) -> None:
    sync(shop, tmp_path, FILE)
    sync(shop, tmp_path, FILE[: FILE.index("[metrics.orders]")])
    with pytest.raises(ConflictError, match=r"archived: it was in definitions/shop.toml, and names are never reused"):
        change(shop, Kind.METRIC, "orders", REVENUE)
    with pytest.raises(ConflictError, match="defined already"):
        create(shop, Kind.METRIC, "orders", REVENUE)
    sync(shop, tmp_path, FILE.replace('count(*)"', 'count(*)"\nstatus = "archived"'))
    with pytest.raises(ConflictError, match=r"owned by definitions/shop.toml:\d+ \(change it there\)"):
        change(shop, Kind.METRIC, "orders", REVENUE)


def test_projects_do_not_see_each_other(shop: Store) -> None:
    create(shop, Kind.SOURCE, "orders", ORDERS)
    with shop.transaction() as connection:
        ensure_project(connection, ANN, "bakery")
        messages = set()
        for name in ("orders", "nowhere"):
            with pytest.raises(UnknownNameError) as caught:
                catalog.change_body(connection, ANN, "bakery", Kind.SOURCE, name, ORDERS)
            assert caught.value.status == 404
            messages.add(caught.value.message.replace(name, "x"))
        assert len(messages) == 1  # what is another project's looks like what is not there
        assert catalog.list_definitions(connection, "bakery") == ()
        catalog.create(connection, ANN, "bakery", Kind.SOURCE, "orders", ORDERS)
        assert catalog.where_used(connection, "bakery", Kind.SOURCE, "orders") == {}


def test_a_name_of_the_service_is_no_files_unless_it_says_the_same(shop: Store, tmp_path: Path) -> None:
    create(shop, Kind.METRIC, "revenue", {"source": "orders", "expr": "sum(gross)"})
    (conflict,) = sync(shop, tmp_path, FILE).conflicts
    assert conflict == "definitions/shop.toml:6: metric 'revenue' is defined in the service by ann, differently"
    assert fetch(shop, Kind.METRIC, "revenue").owned_by is Owner.SERVICE
    change(shop, Kind.METRIC, "revenue", {"source": "orders", "expr": "sum(net)"})
    assert sync(shop, tmp_path, FILE).changed == ("metric revenue",)
    assert fetch(shop, Kind.METRIC, "revenue").owned_by is Owner.FILE


def test_a_deleted_name_is_no_files(shop: Store, tmp_path: Path) -> None:
    create(shop, Kind.METRIC, "revenue", REVENUE)
    with shop.transaction() as connection:
        catalog.remove(connection, ANN, "shop", Kind.METRIC, "revenue")
    assert "never reused" in sync(shop, tmp_path, FILE).conflicts[0]


def test_secrets_of_files_are_masked(shop: Store, tmp_path: Path) -> None:
    (tmp_path / "tally.toml").write_text('[warehouse]\nengine = "postgres"\npassword = "hunter2"\n', encoding="utf-8")
    sync(shop, tmp_path, FILE)
    assert fetch(shop, Kind.WAREHOUSE, "default").facts["options"] == {"password": "***"}


def test_what_the_service_made_is_exported_as_a_file_that_reads_the_same(shop: Store, tmp_path: Path) -> None:
    create(shop, Kind.SOURCE, "orders", ORDERS)
    create(shop, Kind.METRIC, "revenue", REVENUE | {"description": 'Net "value"\n\\ of orders\x7f'})
    before = {name: fetch(shop, kind, name).facts for kind, name in ((Kind.SOURCE, "orders"), (Kind.METRIC, "revenue"))}
    with shop.reading() as connection:
        text = catalog.export(connection, "shop")
        assert catalog.export(connection, "shop", [(Kind.METRIC, "revenue")]) in text
    (tmp_path / "definitions").mkdir()
    (tmp_path / "definitions" / "made.toml").write_text(text, encoding="utf-8")
    project = load(tmp_path)
    assert facts_of(project.sources["orders"]) == before["orders"]
    assert facts_of(project.metrics["revenue"]) == before["revenue"]
    assert sync(shop, tmp_path, "").changed == ("source orders", "metric revenue")
    with shop.reading() as connection, pytest.raises(ConflictError, match="is a file already"):
        catalog.export(connection, "shop", [(Kind.METRIC, "revenue")])


def test_exports_whose_names_are_resolved_later_are_taken_over_too(shop: Store, tmp_path: Path) -> None:
    ratio = {
        "numerator": {"source": "orders", "expr": "sum(net)"},
        "denominator": {"source": "orders", "expr": "count(*)"},
    }
    create(shop, Kind.SOURCE, "orders", ORDERS)
    create(shop, Kind.EVENT, "checkout", {"source": "orders", "where": "kind = 'x'"})
    create(shop, Kind.METRIC, "checkouts", {"event": "checkout"})
    create(shop, Kind.METRIC, "order_value", ratio)
    with shop.reading() as connection:
        text = catalog.export(connection, "shop")
        assert catalog.where_used(connection, "shop", Kind.SOURCE, "orders")[Kind.METRIC] == ("order_value",)
        assert catalog.where_used(connection, "shop", Kind.EVENT, "checkout") == {Kind.METRIC: ("checkouts",)}
    found = sync(shop, tmp_path, text)
    assert (found.added, found.conflicts) == (("warehouse default",), ())
    assert sync(shop, tmp_path, text) == Synced()
    assert names(shop, kind=Kind.METRIC, owned_by=Owner.FILE) == ["checkouts", "order_value"]


texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=20)
labels = texts.filter(lambda text: bool(text.strip()))
bodies = st.fixed_dictionaries(
    {"source": st.just("orders"), "expr": st.sampled_from(["sum(net)", "count(*)", "avg(a) / max(b)"])},
    optional={
        "where": st.lists(st.sampled_from(["completed", "a > 1", "name = 'x''y'"]), max_size=2),
        "description": labels,
        "friendly_name": labels,
        "tags": st.lists(labels, max_size=3),
        "grains": st.lists(st.sampled_from(["day", "week", "month"]), max_size=3),
        "rolling": st.lists(st.integers(1, 90), max_size=2),
        "verified": st.booleans(),
        "status": st.sampled_from([status.value for status in Status]),
    },
)


@settings(max_examples=100)
@given(body=bodies)
def test_an_export_reads_back_to_the_same_definition(
    tmp_path_factory: pytest.TempPathFactory, body: dict[str, Any]
) -> None:
    from tallystick.definitions.document import Document, parse_toml

    document = parse_toml(toml_text([("metrics", "revenue", body)]), "made.toml")
    assert isinstance(document, Document)
    assert document.data["metrics"]["revenue"] == body
    assert read_body(Kind.METRIC, "revenue", document.data["metrics"]["revenue"]) == read_body(
        Kind.METRIC, "revenue", body
    )


# -- references, not words --------------------------------------------------------------------------------------------


def test_words_that_are_no_references_keep_nothing(shop: Store) -> None:
    create(shop, Kind.SOURCE, "orders", ORDERS)
    create(shop, Kind.SOURCE, "visits", {"table": "visits", "time": "at"})
    create(shop, Kind.METRIC, "tax", {"source": "visits", "expr": "sum(tax)"})
    body = {"source": "orders", "expr": "sum(amount) /* net */", "where": "kind = 'completed'", "description": "tax"}
    create(shop, Kind.METRIC, "paid", body)
    create(shop, Kind.METRIC, "taxed", {"source": "orders", "expr": "sum(tax)"})  # a column of that name
    change(shop, Kind.SOURCE, "orders", {"table": "shop.orders", "time": "ordered_at"})
    with shop.transaction() as connection:
        assert catalog.where_used(connection, "shop", Kind.METRIC, "tax") == {}
        catalog.remove(connection, ANN, "shop", Kind.METRIC, "tax")
        catalog.remove(connection, ANN, "shop", Kind.SOURCE, "visits")


def test_a_query_over_a_source_uses_it(shop: Store) -> None:
    create(shop, Kind.SOURCE, "orders", ORDERS)
    create(shop, Kind.SOURCE, "paid_orders", {"sql": "select * from orders where paid", "time": "at"})
    with shop.transaction() as connection, pytest.raises(ConflictError, match="is used by source 'paid_orders'"):
        catalog.remove(connection, ANN, "shop", Kind.SOURCE, "orders")


def test_a_source_is_not_narrowed_below_what_is_said_of_its_events(shop: Store) -> None:
    create(shop, Kind.SOURCE, "orders", ORDERS)
    create(shop, Kind.EVENT, "checkout", {"source": "orders", "where": "kind = 'x'"})
    create(shop, Kind.METRIC, "checkout_value", {"event": "checkout", "aggregation": "sum", "column": "net"})
    with pytest.raises(ConflictError, match=r"^net of source 'orders' is used by metric 'checkout_value'") as caught:
        change(shop, Kind.SOURCE, "orders", ORDERS | {"columns": {}})
    assert caught.value.status == 409
