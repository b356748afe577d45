"""Templates: the quick way gives what Jinja gives, and TOML is read as metric-hub's parser reads it."""

from __future__ import annotations

import tomllib
from types import MappingProxyType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub import expected, rows
from tallystick.definitions.metric_hub.legacy_toml import rewrite
from tallystick.definitions.metric_hub.nouns import Function
from tallystick.definitions.metric_hub.templates import _expand_calls, expand, fill, placeholders, refers_to, render
from tallystick.errors import MacroError

FUNCTIONS = MappingProxyType(
    {
        "agg_sum": Function(name="agg_sum", definition="COALESCE(SUM({select_expr}), 0)"),
        "twice": Function(name="twice", definition="{select_expr}{{}}{select_expr}"),
    }
)
LITERAL = st.text(st.characters(exclude_characters="\"'\\\r", exclude_categories=("Cs",)), max_size=8)
CALL = st.builds(
    lambda name, quote, parts, space: (
        "{{" + space + f"{name}(" + " ".join(f"{quote}{p}{quote}" for p in parts) + ")" + space + "}}"
    ),
    st.sampled_from(sorted(FUNCTIONS)),
    st.sampled_from("\"'"),
    st.lists(LITERAL, min_size=1, max_size=3),
    st.sampled_from(["", " ", "\n"]),
)
TEXT = st.text("ab \n(){}%#'\"", max_size=8)


@given(st.lists(st.one_of(CALL, TEXT), max_size=4).map("".join))
def test_the_quick_way_agrees_with_jinja(text):
    quick = _expand_calls(text, FUNCTIONS)
    if quick is not None:
        assert quick == render(text, FUNCTIONS)


def test_macros_expand_as_recorded(repository):
    collections = {"definitions": repository.shared, "jetstream": repository.tools["jetstream"]}
    for name, collection in collections.items():
        found = {key: function("X") for key, function in collection.functions.items()}
        assert found == {key: value["applied_to_X"] for key, value in expected("function_macros")[name].items()}


def test_every_expression_of_the_part_expands_as_recorded(repository):
    for row in rows("metric_sql"):
        assert expand(row["select_expression_raw"], repository.shared.functions) == row["select_expression"]


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ('{{agg_sum("""a\nb""")}}', "COALESCE(SUM(a\nb), 0)"),
        ("{# no #}{% if true %}{{ agg_sum('x') }}{% endif %}\n", "COALESCE(SUM(x), 0)"),
        ("{{ agg_sum('x' ~ 'y') | upper }}", "COALESCE(SUM(XY), 0)"),
        ("'{experiment_slug}' {x}", "'{experiment_slug}' {x}"),
    ],
)
def test_all_of_jinja_is_there(text, result):
    assert expand(text, FUNCTIONS) == result


@pytest.mark.parametrize("text", ["{{ ''.__class__.__mro__ }}", "{{ agg_sum.__call__.__globals__ }}", "{{ range(9) }}"])
def test_nothing_but_macros_can_be_reached(text):
    with pytest.raises(MacroError):
        expand(text, FUNCTIONS)


def test_placeholders_are_names_in_single_braces():
    assert placeholders("`p.{dataset}.t` {{experiment.x}} {d1-2}") == ("dataset",)
    assert fill("{dataset} {{x}}", dataset="d") == "d {x}"
    with pytest.raises(MacroError, match=r"'\{slug\}' has no value"):
        fill("{slug}", dataset="d")


def test_only_templates_about_the_experiment_refer_to_it():
    assert refers_to("t_{{ experiment.slug }}", "experiment")
    assert not refers_to("'{{d10d0bf8-c7e3}}' experiment", "experiment")


Q, A = '"""', "'''"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (f"a = {Q}\nfoo  \nbar  \n{Q}", "foo\nbar  \n"),
        (f"a = {Q}\n\n\n foo  \n{Q}", " foo\n"),
        (f"a = {Q}   \nfoo  \n{Q}", "\nfoo  \n"),
        (f"a = {A}{{{{f({Q}\n foo\n{Q})}}}}\n{A}", f"{{{{f( {Q} foo\n{Q})}}}}\n"),
        (f"a = {Q}\nx  \\\n  y  \\\n   z  \n w\n{Q}", "x  y  z\n w\n"),
        (f"a = {Q}\nx = ''\n AND y{Q}", "x = ''' AND y"),
        ('a = \'"""  \' # """\nb = 1', '"""  '),
        (f"a = {Q}plain\n text\n{Q}", "plain\n text\n"),
    ],
)
def test_multi_line_strings_lose_what_the_peers_parser_loses(text, value):
    rewritten, changed = rewrite(text)
    assert tomllib.loads(rewritten)["a"] == value
    assert bool(changed) is (tomllib.loads(text)["a"] != value)
