"""The names a query can put into its metric column are read off it, or not guessed."""

from __future__ import annotations

import pytest
from sqlglot import exp, parse_one

from tallystick.compiler.labels import output_labels, wanted_labels


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("select 'a' as metric from t", {"a"}),
        ("select 'a' as metric from t union all select 'b' as metric from t", {"a", "b"}),
        ("(select 'a' as metric from t)", {"a"}),
        ("select case when x then 'a' when y then 'b' end as metric from t", {"a", "b"}),
        ("select case when x then 'a' else y end as metric from t", None),
        ("select if(x, 'a', 'b') as metric from t", {"a", "b"}),
        ("select concat(case when x then 'a' else 'b' end, '_daily') as metric from t", {"a_daily", "b_daily"}),
        ("select cast('a' as text) || '_' || ('b') as metric from t", {"a_b"}),
        ("select concat(x, '_daily') as metric from t", None),
        ("with s as (select 'a' as metric from t) select metric from s", {"a"}),
        ("with s as (select 'a' as kind from t) select s.kind as metric from s join u on true", {"a"}),
        ("select metric from (select 'a' as metric from t) as s", {"a"}),
        ("select metric from t", None),
        ("with t as (select metric from t) select metric from t", None),
        ("select s.metric from t", None),
        ("select 1 as metric from t", None),
        ("select x from t", None),
        ("select null as metric from t", set()),
    ],
)
def test_the_names_a_query_puts_out(sql, expected):
    tree = parse_one(sql, dialect="duckdb")
    assert isinstance(tree, exp.Query)
    assert output_labels(tree) == (None if expected is None else frozenset(expected))


def test_a_name_of_too_many_parts_is_not_followed():
    part = f"case {' '.join(f'when x = {n} then {n!r}' for n in range(40))} end"
    part = part.replace("then ", "then '").replace(" when", "' when").replace(" end", "' end")
    part = part.replace("case' when", "case when")
    tree = parse_one(f"select concat({part}, {part}) as metric from t", dialect="duckdb")
    assert isinstance(tree, exp.Query)
    assert output_labels(tree) is None


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("metric = 'a'", ["a"]),
        ("(p.metric) = 'a'", []),
        ("'a' = p.metric", ["a"]),
        ("metric in ('a', 'b') and x = 'c'", ["a", "b"]),
        ("metric like 'a_%' and not metric like 'b' and metric not like 'c' and metric not in ('d')", ["a_%"]),
        ("not (metric = 'a')", []),
        ("metric = x", []),
    ],
)
def test_the_names_a_query_asks_for(condition, expected):
    tree = parse_one(f"select * from oso.p as p where {condition}", dialect="duckdb")
    assert isinstance(tree, exp.Query)
    assert [text for text, _ in wanted_labels(tree, ["p"])] == expected
    assert list(wanted_labels(tree, ["q"])) == []


def test_patterns_mean_what_like_means():
    tree = parse_one("select * from p where metric like 'a_%.x' or metric ilike 'B%'", dialect="duckdb")
    assert isinstance(tree, exp.Query)
    like, ilike = (pattern for _, pattern in wanted_labels(tree, ["p"]))
    assert (
        like.fullmatch("ab.x") and like.fullmatch("abc.x") and not like.fullmatch("a.x") and not like.fullmatch("abbx")
    )
    assert ilike.fullmatch("beta") and not ilike.fullmatch("alpha")
