"""Keys of JSON objects are found with their lines, however they are written."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallystick.definitions.json_positions import keys_of


def test_keys_have_lines_and_values():
    text = '{\n "a": [1,\n {"b": 2}], "a" : {"c": 3}\n ,\n"d\\"e": null}'
    found = list(keys_of(text))
    assert [(key.name, key.line) for key in found] == [("a", 2), ("a", 3), ('d"e', 5)]
    assert [(key.name, key.line) for key in keys_of(text, found[1].value)] == [("c", 3)]


@pytest.mark.parametrize("text", ["[]", "1", "{}", " { } "])
def test_where_there_are_no_keys_none_are_found(text):
    assert list(keys_of(text)) == []


@given(st.dictionaries(st.text(), st.recursive(st.integers() | st.text(), st.lists, max_leaves=4)), st.integers(0, 3))
def test_every_key_is_found(value, indent):
    text = json.dumps(value, indent=indent or None)
    assert [key.name for key in keys_of(text)] == list(value)
    assert all(
        text[key.value :].startswith(json.dumps(value[key.name], indent=indent or None)[:1]) for key in keys_of(text)
    )
