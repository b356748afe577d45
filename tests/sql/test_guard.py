"""The guard against its corpus (spec tripl §5.2 to §5.5) and against generated fragments."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
import sqlglot
from hypothesis import example, given
from hypothesis import strategies as st
from sqlglot import exp

from tallystick.errors import GuardError
from tallystick.sql import guard, guard_functions

FIXTURES = Path(__file__).parents[1] / "fixtures" / "sql"
KINDS: dict[str, Callable[..., exp.Expr]] = {
    "query": guard.query,
    "fragment": guard.fragment,
    "expression": guard.expression,
}


def corpus(name: str, fields: int) -> list[tuple[str, ...]]:
    """Read `a | b | c` lines; `\\|` is a bar within a field."""
    cases = []
    for line in (FIXTURES / name).read_text().splitlines():
        if line and not line.startswith("#"):
            case = tuple(part.strip().replace("\0", "|") for part in line.replace("\\|", "\0").split("|"))
            assert len(case) == fields, line
            cases.append(case)
    return cases


REFUSED = corpus("guard_refused.txt", 4)
ACCEPTED = corpus("guard_accepted.txt", 3)


@pytest.mark.parametrize(("kind", "dialect", "sql", "message"), REFUSED)
def test_refused(kind: str, dialect: str, sql: str, message: str) -> None:
    with pytest.raises(GuardError) as caught:
        KINDS[kind](sql, dialect)
    assert message in caught.value.message


@pytest.mark.parametrize(("kind", "dialect", "sql"), ACCEPTED)
def test_accepted(kind: str, dialect: str, sql: str) -> None:
    tree = KINDS[kind](sql, dialect)
    assert not any(node.comments for node in tree.walk())
    # What is rendered from the tree means the same, and passes again.
    again = KINDS[kind](tree.sql(dialect), dialect)
    assert again.sql(dialect) == tree.sql(dialect)


FRAGMENTS = [(dialect, sql) for kind, dialect, sql in ACCEPTED if kind == "fragment"]


@pytest.mark.parametrize(("dialect", "sql"), FRAGMENTS)
def test_a_fragment_stays_in_its_parentheses(dialect: str, sql: str) -> None:
    tree = guard.fragment(sql, dialect)
    assert contained(tree, dialect)


def contained(tree: exp.Expression, dialect: str) -> bool:
    """Tell whether a fragment keeps its structure beside AND, rendered alone in parentheses and through the tree."""
    text = f"SELECT 1 FROM t WHERE ({tree.sql(dialect)}) AND x"
    where = guard.query(text, dialect, allow_functions=["*"]).args["where"].this
    through_tree = exp.select("1").from_("t").where(exp.And(this=tree.copy(), expression=exp.column("x")))
    parsed = sqlglot.parse_one(through_tree.sql(dialect), read=dialect).args["where"].this
    expected = tree.unnest().sql(dialect)
    return all(
        type(found) is exp.And and found.right == exp.column("x") and found.left.unnest().sql(dialect) == expected
        for found in (where, parsed)
    )


names = st.sampled_from(["a", "b", "t.c", "call", "system", '"or"'])
values = st.sampled_from(["1", "'x'", "'x'') OR (1=1'", "NULL", "DATE '2024-01-01'", "-1", "INTERVAL 1 DAY"])
scalars = st.recursive(
    names | values,
    lambda inner: st.one_of(
        st.builds("({} {} {})".format, inner, st.sampled_from(["+", "-", "*", "||", "/"]), inner),
        st.builds("{} {} {}".format, inner, st.sampled_from(["+", "-", "*", "||"]), inner),
        st.builds("lower({})".format, inner),
        st.builds("CASE WHEN {} = 1 THEN {} END".format, inner, inner),
    ),
    max_leaves=4,
)
conditions = st.recursive(
    st.one_of(
        st.builds("{} {} {}".format, scalars, st.sampled_from(["=", "<>", "<", ">=", "LIKE"]), scalars),
        st.builds("{} IN ({}, {})".format, names, values, scalars),
        st.builds("{} BETWEEN {} AND {}".format, names, scalars, scalars),
        st.builds("{} IS {}NULL".format, scalars, st.sampled_from(["", "NOT "])),
        names,
    ),
    lambda inner: st.one_of(
        st.builds("{} {} {}".format, inner, st.sampled_from(["AND", "OR"]), inner),
        st.builds("NOT {}".format, inner),
        st.builds("({})".format, inner),
        st.builds("{} -- note\n".format, inner),
    ),
    max_leaves=6,
)


@given(conditions)
def test_every_condition_passes_and_is_contained(sql: str) -> None:
    assert contained(guard.fragment(sql, "duckdb"), "duckdb")


PIECES = r"""
a b = <> 1 'x' ' " ( ) , ; -- /* */ OR AND NOT IN IS NULL LIKE BETWEEN CASE WHEN THEN END SELECT FROM t WHERE UNION ALL
* + - || :: [ ] { } count( lower( EXISTS INTERVAL DATE ORDER BY LIMIT AS . # $1 ? @x ^ ~ -> ->> \ `
"""
noise = st.lists(st.sampled_from([*PIECES.split(), "\n"]), max_size=14).map(" ".join)


@given(noise, st.sampled_from(["duckdb", "postgres", "clickhouse", "bigquery", "mysql", "snowflake"]))
@example("a = 1) OR (b", "duckdb")
@example("a /* ) OR ( */ = 1", "duckdb")
def test_whatever_passes_is_contained(sql: str, dialect: str) -> None:
    with suppress(GuardError):
        assert contained(guard.fragment(sql, dialect), dialect)


@given(st.text(max_size=40))
def test_any_text_is_answered_with_a_tree_or_a_guard_error(sql: str) -> None:
    for check in KINDS.values():
        with suppress(GuardError):
            assert check(sql, "duckdb").sql("duckdb")


DEEP = ["(" * 5000 + "a" + ")" * 5000, "NOT " * 5000 + "a", "-(" * 900 + "1" + ")" * 900 + " > 0"]


@pytest.mark.parametrize("sql", DEEP, ids=["parentheses", "not", "minus"])
def test_deep_nesting_is_refused(sql: str) -> None:
    with pytest.raises(GuardError, match="nested too deeply"):
        guard.fragment(sql, "duckdb")


def test_length_is_limited() -> None:
    with pytest.raises(GuardError, match="more than"):
        guard.fragment("a = " + "1" * 40_000, "duckdb")
    with pytest.raises(GuardError, match="more than"):
        guard.query("SELECT " + "1" * 200_000, "duckdb")
    with pytest.raises(GuardError, match="zero byte"):
        guard.query("SELECT '\0'", "duckdb")


def test_a_project_may_allow_functions() -> None:
    sql = "SELECT mozfun.map.get_key(a, 'b'), my_function(a) FROM t"
    with pytest.raises(GuardError, match=r'allow_functions = \["mozfun.map.get_key"\]'):
        guard.query(sql, "bigquery", allow_functions=["my_function"])
    with pytest.raises(GuardError, match=r'allow_functions = \["my_function"\]'):
        guard.query(sql, "bigquery", allow_functions=["mozfun.*"])
    assert guard.query(sql, "bigquery", allow_functions=["mozfun.*", "MY_FUNCTION"])
    # Allowing a function of a schema does not allow the bare name, nor the other way round.
    with pytest.raises(GuardError, match=r"function evil\.my_function"):
        guard.query("SELECT evil.my_function(1)", "bigquery", allow_functions=["my_function"])


def test_refusals_say_why() -> None:
    for sql, dialect, reason in [
        ("SELECT pg_sleep(1)", "postgres", "makes the warehouse wait"),
        ("SELECT * FROM url('http://x')", "clickhouse", "opens a connection"),
        ("SELECT * FROM read_csv('x')", "duckdb", "reads or writes files"),
        ("SELECT ai_query('m', 'p')", "databricks", "calls a model"),
        ("SELECT dictGet('d', 'a', 1)", "clickhouse", "dictionary"),
        ("SELECT frobnicate(1)", "duckdb", "not known in duckdb"),
        ("SELECT * FROM t FOR UPDATE", "postgres", "lock rows"),
    ]:
        with pytest.raises(GuardError) as caught:
            guard.query(sql, dialect)
        assert reason in (caught.value.hint or "")


def test_errors_are_located() -> None:
    with pytest.raises(GuardError) as caught:
        guard.fragment("a = 1\nAND (b = 2", "duckdb")
    assert caught.value.at is not None
    assert caught.value.at.line == 2
    with pytest.raises(GuardError) as caught:
        guard.query("\n  DROP TABLE t", "duckdb")
    assert caught.value.at is not None
    assert (caught.value.at.line, caught.value.at.column) == (2, 3)


def test_subqueries_can_be_allowed_but_are_still_checked() -> None:
    sql = "a IN (WITH c AS (SELECT b, COUNT(*) AS n FROM t GROUP BY b) SELECT b FROM c)"
    tree = guard.fragment(sql, "duckdb", allow_subqueries=True)
    assert contained(tree, "duckdb")
    assert guard.references(tree) == {"t"}
    with pytest.raises(GuardError, match="function read_csv"):
        guard.fragment("a IN (SELECT b FROM read_csv('x'))", "duckdb", allow_subqueries=True)
    assert guard.expression("(SELECT MAX(a) FROM t)", "duckdb", allow_subqueries=True)


@pytest.mark.parametrize(
    ("sql", "tables"),
    [
        ("SELECT 1", set()),
        ("SELECT * FROM a JOIN s.b USING (id), c.s.d", {"a", "s.b", "c.s.d"}),
        ("WITH a AS (SELECT * FROM b) SELECT * FROM a", {"b"}),
        ("WITH a AS (SELECT * FROM a) SELECT * FROM a", {"a"}),
        (
            "SELECT * FROM a WHERE x IN (SELECT y FROM b) UNION ALL SELECT * FROM (SELECT * FROM c) AS s",
            {"a", "b", "c"},
        ),
        ("SELECT (SELECT MAX(x) FROM b) FROM GENERATE_SERIES(1, 3)", {"b"}),
        ('SELECT * FROM "Mixed Case".t', {"Mixed Case.t"}),
    ],
)
def test_references(sql: str, tables: set[str]) -> None:
    assert guard.references(guard.query(sql, "duckdb")) == tables


@pytest.mark.parametrize("name", ["a", "_a1", "t.a", "c.s.t.a", "Order", "select"])
def test_identifiers(name: str) -> None:
    column = guard.identifier(name, "duckdb")
    parsed = guard.expression(column.sql("duckdb"), "duckdb")
    assert isinstance(parsed, exp.Column)
    assert ".".join(part.name for part in parsed.parts) == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        " a",
        "a ",
        "a b",
        "1a",
        "a;",
        "a--",
        'a"',
        "a'",
        "a(b)",
        "a-b",
        "ä",
        "a.",
        ".a",
        "a..b",
        "a/*",
        "a\n",
        "a.b.c.d.e",
    ],
)
def test_what_is_no_identifier(name: str) -> None:
    with pytest.raises(GuardError, match="is not the name of a column"):
        guard.identifier(name)


def test_lists_are_well_formed() -> None:
    assert all(hasattr(exp, name) for name in guard_functions.NODES)
    known = {function.__name__ for function in exp.ALL_FUNCTIONS}
    assert known >= guard_functions.FUNCTION_NODES
    for dialect in ("duckdb", "postgres", "clickhouse", "bigquery", "snowflake", "trino", "spark", "mysql"):
        names = guard_functions.named_functions(dialect)
        assert all(name == name.lower() for name in names)
        for refused in (
            "pg_sleep",
            "sleep",
            "read_csv",
            "url",
            "file",
            "getenv",
            "nextval",
            "setval",
            "query",
            "version",
        ):
            assert refused not in names
