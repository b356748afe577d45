"""Every key `tomllib` sees has a place, and the text at that place is the key."""

from __future__ import annotations

import json
import string
import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from effort import growth
from tallystick.definitions.toml_positions import TomlPath, lines_of, locate, scan

SAMPLE = '''\
friendly_name = "Shop"

[metrics]
weekly = [
  "a",  # a comment, with ] and "
  "b",
]

[metrics.revenue]
  source = "orders"
expr   = """
sum(net) -- [not.a.header]
key = 1
"""
"odd key" = { sql = 'a = b', 'x.y' = [1, {deep = true}] }
a.b . c = 1979-05-27 07:32:00 # when

[[monitors]]
name = "one"
[monitors.when]
change = 0.1
[[monitors]]
name = "two"
'''


@pytest.mark.parametrize(
    ("path", "place"),
    [
        (("friendly_name",), (1, 1)),
        (("metrics",), (3, 2)),
        (("metrics", "weekly"), (4, 1)),
        (("metrics", "weekly", 0), (5, 3)),
        (("metrics", "weekly", 1), (6, 3)),
        (("metrics", "revenue"), (9, 10)),
        (("metrics", "revenue", "source"), (10, 3)),
        (("metrics", "revenue", "expr"), (11, 1)),
        (("metrics", "revenue", "odd key"), (15, 1)),
        (("metrics", "revenue", "odd key", "sql"), (15, 15)),
        (("metrics", "revenue", "odd key", "x.y"), (15, 30)),
        (("metrics", "revenue", "odd key", "x.y", 1, "deep"), (15, 43)),
        (("metrics", "revenue", "a"), (16, 1)),
        (("metrics", "revenue", "a", "b", "c"), (16, 7)),
        (("monitors",), (18, 3)),
        (("monitors", 0), (18, 3)),
        (("monitors", 0, "when", "change"), (21, 1)),
        (("monitors", 1), (22, 3)),
        (("monitors", 1, "name"), (23, 1)),
    ],
)
def test_places(path: TomlPath, place: tuple[int, int]) -> None:
    assert locate(SAMPLE)[path] == place


def test_a_header_takes_over_from_the_longer_key_that_implied_it() -> None:
    assert locate("[a.b]\nx = 1\n[a]\ny = 2\n")[("a",)] == (3, 2)


def test_a_key_written_twice_is_remembered_with_both_places() -> None:
    found = scan("[metrics.a]\nx = 1\n[metrics.a]\nx = 2\n")
    assert found.repeats[0] == (("metrics", "a"), 9, 27)


def test_windows_line_ends_and_a_byte_order_mark() -> None:
    assert locate("\ufeff[a]\r\nx = 1\r\ny = 2\r\n")[("a", "y")] == (3, 1)


@pytest.mark.parametrize(
    "text",
    ["[", "[[", "[a", "=", "a =", 'a = "', "a = [1, [2", "a = {b = ", "a = [" * 500, 'a = """x', "a b c\nd = 1", "]\n"],
)
def test_what_cannot_be_followed_is_skipped(text: str) -> None:
    assert locate(text + "\nlast = 1\n[end]\n") is not None


def test_the_line_after_a_broken_one_is_found() -> None:
    assert locate("a = = 1\nb 2\nc = 3\n")[("c",)] == (3, 1)


def test_a_file_ten_times_as_long_takes_no_more_than_twenty_times_as_long() -> None:
    def located(count: int) -> None:
        text = "".join(f'[metrics.m{n}]\nsource = "s"\nexpr = "sum(x)"\nrolling = [7, 28]\n' for n in range(count))
        assert len(locate(text)) == 1 + count * 6

    assert growth(lambda: located(500), lambda: located(5_000)) < 20


# -- property: the same keys as tomllib -------------------------------------------------------------------------------

bare = st.text(string.ascii_letters + string.digits + "_-", min_size=1, max_size=6)
names = bare | st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), max_size=5)
scalars = st.integers(-9, 9) | st.booleans() | st.sampled_from(["", 'say "x"', "[a]", "# no", "it's", "x = 1", "}\n]"])
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3), max_leaves=8
)
documents = st.dictionaries(names, values | st.dictionaries(names, values, max_size=4), max_size=4)


def write_key(name: str, *, quote: bool) -> str:
    plain = name and all(c in string.ascii_letters + string.digits + "_-" for c in name)
    return name if plain and not quote else json.dumps(name, ensure_ascii=False).replace("\x7f", "\\u007f")


def write_value(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f'"""\n{value}"""' if "\n" in value and '"' not in value else json.dumps(value)
    if isinstance(value, list):
        return "[" + "".join(f'\n  {write_value(item)}, # ] }} "\n' for item in value) + "]"
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{write_key(k, quote=True)} = {write_inline(v)}" for k, v in value.items()) + " }"
    return str(value)


def write_inline(value: Any) -> str:
    if isinstance(value, list):
        return "[" + ", ".join(write_inline(item) for item in value) + "]"
    return json.dumps(value) if isinstance(value, str) else write_value(value)


def write(document: dict[str, Any]) -> str:
    plain = {k: v for k, v in document.items() if not isinstance(v, dict)}
    lines = [
        f"{write_key(k, quote=False)} = {write_inline(v) if _has_table(v) else write_value(v)}"
        for k, v in plain.items()
    ]
    for name, table in document.items():
        if isinstance(table, dict):
            lines.append(f"[ {write_key(name, quote=False)} ] # header")
            lines += [f"  {write_key(k, quote=False)}\t= {write_inline(v)}" for k, v in table.items()]
    return "\n".join(lines) + "\n"


def _has_table(value: Any) -> bool:
    return isinstance(value, dict) or (isinstance(value, list) and any(_has_table(item) for item in value))


def paths(value: Any, path: TomlPath = ()) -> set[TomlPath]:
    found: set[TomlPath] = {path} if path else set()
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        found |= paths(item, (*path, key))
    return found


@given(documents)
def test_the_same_keys_as_tomllib(document: dict[str, Any]) -> None:
    text = write(document)
    parsed = tomllib.loads(text)
    assert parsed == document
    found = locate(text)
    assert set(found) == paths(parsed)
    lines = text.split("\n")
    for path, (line, column) in found.items():
        rest = lines[line - 1][column - 1 :]
        if isinstance(path[-1], str):
            assert rest.startswith((write_key(path[-1], quote=False), write_key(path[-1], quote=True)))


@given(st.text(max_size=200))
def test_any_text_is_survived(text: str) -> None:
    place = lines_of(text)
    assert all(place(offset)[0] >= 1 for offset in scan(text).keys.values())
