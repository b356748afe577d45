"""Macros may stand wherever a name may; what is wrong is said with line, column and the nearest name (spec oso §5, §10)."""

from __future__ import annotations

import pytest

from tallystick.errors import ExpressionError, MacroError
from tallystick.sql.macro_calls import (
    MACROS,
    arguments_of,
    calls,
    fill,
    macro_of,
    nearest,
    slots,
    spelled_out,
    unknown_variable,
    variables_of,
)
from tallystick.sql.macros import parse_template

DIALECTS = ["duckdb", "trino", "clickhouse", "bigquery", "snowflake", "postgres", "spark"]


def written(sql: str, dialect: str = "duckdb") -> str:
    return spelled_out(parse_template(sql, dialect), dialect).sql(dialect, normalize_functions=False)


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("select @metrics_sample_date(e.d) as d from e", "SELECT @metrics_sample_date(e.d) AS d FROM e"),
        ("select @METRIC_NAME() from e", "SELECT @metric_name() FROM e"),
        ("select @metrics_name(concat(a, '_x')) from e", "SELECT @metrics_name(CONCAT(a, '_x')) FROM e"),
        ("select a from e group by @metric_name(a), b,", "SELECT a FROM e GROUP BY @metric_name(a), b"),
        (
            "select a from e where d between @metrics_start('DATE') and @metrics_end(DATE)",
            "SELECT a FROM e WHERE d BETWEEN @metrics_start('DATE') AND @metrics_end('DATE')",
        ),
        (
            "select a from e join f on e.d = @relative_window_sample_date(@metrics_end('DATE'), 3, day, -1)",
            "SELECT a FROM e JOIN f ON e.d = @relative_window_sample_date(@metrics_end('DATE'), 3, 'day', -1)",
        ),
        (
            "select p.a from @metrics_peer_ref(commits, time_aggregation := 'daily',) as p",
            "SELECT p.a FROM @metrics_peer_ref('commits', time_aggregation := 'daily') AS p",
        ),
        (
            "select p.a from @metrics_peer_ref('commits', window := 7, unit := day) as p",
            "SELECT p.a FROM @metrics_peer_ref('commits', window := 7, unit := 'day') AS p",
        ),
        ("select a /* macro: @nothing() */ from e -- @nor(this)", "SELECT a FROM e"),
        (
            "select 'me@example.org' as a, '@metric_name()' as b from e",
            "SELECT 'me@example.org' AS a, '@metric_name()' AS b FROM e",
        ),
    ],
)
def test_calls_are_read_on_every_dialect(sql, expected, dialect):
    assert written(sql, dialect) == expected


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("select @metrics_entity_type_col('to_{entity_type}_id') from e", 'SELECT "to_@{entity_type}_id" FROM e'),
        (
            "select @metrics_entity_type_col('to_{entity_type}_id', table_alias := e, include_column_alias := true) from e",
            'SELECT e."to_@{entity_type}_id" AS "to_@{entity_type}_id" FROM e',
        ),
        (
            "select a from e group by @metrics_entity_type_col('{entity_type}', include_column_alias := true)",
            'SELECT a FROM e GROUP BY "@{entity_type}"',
        ),
        (
            "select x as @metrics_entity_type_col('to_{entity_type}_id') from e",
            'SELECT x AS "to_@{entity_type}_id" FROM e',
        ),
        ("select e.@metrics_entity_type_col('{entity_type}_id') from e", 'SELECT e."@{entity_type}_id" FROM e'),
        (
            "select @metrics_entity_type_alias(a + 1, 'x_{entity_type}') from e",
            'SELECT a + 1 AS "x_@{entity_type}" FROM e',
        ),
        (
            "select a from @metrics_entity_type_table('s.t_{entity_type}') as t",
            'SELECT a FROM s."t_@{entity_type}" AS t',
        ),
        ("select \"@metrics_entity_type_col('to_{entity_type}_id')\" from e", 'SELECT "to_@{entity_type}_id" FROM e'),
        (
            "select to_@{entity_type}_id, @{entity_type}_id from e",
            'SELECT "to_@{entity_type}_id", "@{entity_type}_id" FROM e',
        ),
        ("select a_@{x}_@{y} from e", 'SELECT "a_@{x}_@{y}" FROM e'),
        ('select "@entity_type" from "t_@{entity_type}"', 'SELECT "@{entity_type}" FROM "t_@{entity_type}"'),
        (
            "select sum(a) over (partition by @metrics_entity_type_col('{entity_type}', table_alias := e) order by b) from e",
            'SELECT SUM(a) OVER (PARTITION BY e."@{entity_type}" ORDER BY b) FROM e',
        ),
    ],
)
def test_names_that_depend_on_the_entity_become_names_with_slots(sql, expected):
    assert written(sql) == expected


def test_variables_in_lists_strings_intervals_and_limits():
    tree = parse_template(
        "select @'x @one @{two}', interval @three day from e where a in @four and b in (@five, 1) limit @six", "duckdb"
    )
    assert variables_of(tree) == {"one", "two", "three", "four", "five", "six"}


def test_arguments_are_known_by_name_however_they_are_given():
    tree = parse_template("select a from @metrics_peer_ref(x, unit := day, window := 7) p", "duckdb")
    node, macro = next(calls(tree))
    assert macro is MACROS["metrics_peer_ref"] and macro_of(node) is macro
    assert {name: value.name for name, value in arguments_of(node).items()} == {
        "name": "x",
        "window": "7",
        "unit": "day",
    }
    assert arguments_of(tree) == {}


@pytest.mark.parametrize(
    ("sql", "message", "line", "column"),
    [
        ("select\n  @metric_nam()\nfrom e", "there is no macro @metric_nam", 2, 3),
        ("select @metrics_sample_date() from e", "@metrics_sample_date needs 'base'", 1, 8),
        ("select @metrics_start('DATE', 1) from e", "takes at most 1 arguments", 1, 31),
        ("select @metrics_entity_type_col('a', alias := e) from e", "no parameter 'alias'", 1, 38),
        ("select @metric_name(name := ) from e", "'name' has no value", 1, 21),
        ("select @metric_name('a', name := 'b') from e", "takes at most|twice", 1, 26),
        ("select @metrics_start('DATE' from e", "is not closed", 1, 22),
        ("select @metric_name('a',,) from e", "is empty", 1, 8),
        ("select @metrics_entity_type_col('{x}') from e", "slot other than", None, None),
        ("select @metrics_entity_type_col(a + b) from e", "must be a string", None, None),
        ("select a as @metric_name() from e", "cannot be used as a name", None, None),
        ("select @metrics_peer_ref(a) from e", "is a table", None, None),
        ("select a from @metric_name()", "is not a table", None, None),
        ("select e.@metric_name() from e", "cannot follow", None, None),
        ("select @{a from e", "is not closed", None, None),
    ],
)
def test_a_wrong_call_is_refused_where_it_is_written(sql, message, line, column):
    with pytest.raises(MacroError, match=message) as caught:
        parse_template(sql, "duckdb")
    if line is not None:
        assert (caught.value.at.line, caught.value.at.column) == (line, column)


def test_the_nearest_macro_is_named():
    with pytest.raises(MacroError) as caught:
        parse_template("select @metrics_sampel_date(d) from e", "duckdb")
    assert caught.value.hint == "did you mean 'metrics_sample_date'?"
    assert nearest("zzzzzz", MACROS) is None


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("select from where", "does not parse"),
        ("select 1; select 2", "exactly one query"),
        ("", "exactly one query"),
        ("drop table e", "is a query"),
        ("select 'open", "cannot be read"),
    ],
)
def test_what_is_not_one_query_is_refused(sql, message):
    with pytest.raises(ExpressionError, match=message):
        parse_template(sql, "duckdb")


def test_a_parse_error_has_a_place_and_jinja_a_hint():
    with pytest.raises(ExpressionError) as caught:
        parse_template("select a\nfrom e\nwhere {{ x }} and (", "duckdb")
    assert caught.value.at.line == 3
    assert "Jinja" in caught.value.hint
    for text in ("select a\nfrom {{ e }}", "select a\n{% if x %} from e {% endif %}"):
        with pytest.raises(ExpressionError, match="Jinja template") as caught:
            parse_template(text, "duckdb")
        assert caught.value.at.line == 2
    assert parse_template("select {'a': {'b': 1}} as x", "duckdb").named_selects == ["x"]


def test_a_parse_error_is_told_without_names_of_classes():
    with pytest.raises(ExpressionError, match=r"missing for Where$"):
        parse_template("select a from e where", "duckdb")


def test_slots_are_filled_and_a_variable_without_a_value_is_named():
    assert list(slots("a@{x}b@{Y}")) == [("a", "x"), ("b", "y")]
    assert list(slots("a@{x")) == [("a@{x", None)]
    assert fill("to_@{entity_type}_id", {"entity_type": "project"}) == "to_project_id"
    with pytest.raises(MacroError, match="no variable @entity_typ"):
        fill("@{entity_typ}", {"entity_type": "project"})


def test_an_unknown_variable_says_what_is_wrong_with_it():
    assert "has no value" in unknown_variable("x", {"x": None}).message
    assert unknown_variable("metric_name", {}).hint == "write @metric_name([name])"
    assert unknown_variable("activty", {"activity": 1}).hint == "did you mean 'activity'?"


def test_a_placeholder_never_meets_a_name_of_the_author():
    assert written("select tally_macro_0, @metric_name() from e") == "SELECT tally_macro_0, @metric_name() FROM e"


def test_a_template_is_parsed_once():
    assert parse_template("select @metric_name() from e", "duckdb") is parse_template(
        "select @metric_name() from e", "duckdb"
    )


def test_macros_of_a_run_are_kept_where_a_generator_looks_into_functions():
    sql = "select date_add('DAY', -1 * @metrics_sample_interval_length(e.d, 'day'), @metrics_start('DATE')) from e"
    assert "@metrics_sample_interval_length(e.d, 'day')" in written(sql, "trino")
