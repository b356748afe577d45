from __future__ import annotations

import csv
import io
import json
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum

import pytest

from tallystick.cli.output import Format, align, cell, plain, write_rows


class Colour(StrEnum):
    RED = "red"


ROWS = [
    {"name": "commits", "value": 1234.0, "tags": ["a", "b"]},
    {"name": "releases", "value": None, "tags": []},
    {"name": "ratio", "value": 0.123456789, "tags": ["c"]},
]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"),
        (True, "yes"),
        (12, "12"),
        (12.0, "12"),
        (0.0, "0"),
        (-3.0, "-3"),
        (1234567.5, "1234567.5"),
        (1 / 3, "0.3333"),
        (0.00001234, "1.23e-05"),
        (float("nan"), "-"),
        (2.0**60, "1152921504606846976"),
        (Decimal("1.50"), "1.5"),
        (date(2024, 2, 29), "2024-02-29"),
        (datetime.fromisoformat("2024-02-29"), "2024-02-29"),
        (datetime.fromisoformat("2024-02-29T06:30"), "2024-02-29 06:30:00"),
        (["a", "b"], "a, b"),
        ((), "-"),
        (Colour.RED, "red"),
        ("one\ntwo\tthree", "one two three"),
        ("\x1b[31mred", "\\x1b[31mred"),
        ("[bold]not markup[/bold]", "[bold]not markup[/bold]"),
    ],
)
def test_cell(value: object, text: str) -> None:
    assert cell(value) == text


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (Decimal(7), 7),
        (Decimal("7.25"), 7.25),
        (Decimal("NaN"), None),
        (float("inf"), None),
        (1 / 3, 1 / 3),
        (date(2024, 2, 29), "2024-02-29"),
        (datetime.fromisoformat("2024-02-29T06"), "2024-02-29T06:00:00"),
        (b"\x01\xff", "01ff"),
        ({"a": (1, None)}, {"a": [1, None]}),
        (Colour.RED, "red"),
        (True, True),
    ],
)
def test_plain(value: object, expected: object) -> None:
    assert plain(value) == expected
    assert type(plain(value)) is type(expected)


def test_text_is_aligned_numbers_to_the_right() -> None:
    assert align(ROWS, ("name", "value", "tags")) == (
        "name       value  tags\ncommits     1234  a, b\nreleases       -  -\nratio     0.1235  c\n"
    )


def test_text_without_rows_is_the_header() -> None:
    assert align([], ("name", "value")) == "name  value\n"


def test_json_is_a_list_of_objects_with_the_columns_in_order(capsys: pytest.CaptureFixture[str]) -> None:
    write_rows(ROWS, ("value", "name"), Format.JSON)
    out = capsys.readouterr().out
    assert json.loads(out) == [{"value": row["value"], "name": row["name"]} for row in ROWS]
    assert out.index('"value"') < out.index('"name"')


def test_json_without_rows_is_an_empty_list(capsys: pytest.CaptureFixture[str]) -> None:
    write_rows([], ("name",), Format.JSON)
    assert json.loads(capsys.readouterr().out) == []


def test_csv_keeps_every_digit_and_leaves_null_empty(capsys: pytest.CaptureFixture[str]) -> None:
    write_rows([*ROWS, {"name": 'a "b", c', "value": 1 / 3, "tags": None}], ("name", "value", "tags"), Format.CSV)
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert rows[0] == {"name": "commits", "value": "1234.0", "tags": "a b"}
    assert rows[1] == {"name": "releases", "value": "", "tags": ""}
    assert rows[3]["name"] == 'a "b", c'
    assert float(rows[3]["value"]) == 1 / 3


def test_a_terminal_gets_a_table_and_markup_stays_text(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("NO_COLOR", "1")
    write_rows([{"name": "[red]x[/red]", "value": 1}], ("name", "value"))
    assert "[red]x[/red]" in capsys.readouterr().out
