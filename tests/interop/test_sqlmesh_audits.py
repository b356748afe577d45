"""Audits of registries as SQLMesh takes them, and what those that come with an export find."""

from __future__ import annotations

from datetime import date, timedelta

import duckdb
import pytest
from sqlglot import exp

from tallystick.interop.sqlmesh_audits import call, files, is_known

GAPS = {"time_column": exp.to_column("metrics_sample_date"), "ignore_before": "2024-01-02"}


@pytest.mark.parametrize(
    ("audit", "written"),
    [
        (("has_at_least_n_rows", {"threshold": 3}), "has_at_least_n_rows(threshold := 3)"),
        (("no_gaps", {**GAPS, "grain": "daily"}), "no_gaps_by_day({})"),
        (("no_gaps", {**GAPS, "no_gap_date_part": "month"}), "no_gaps_by_month({})"),
        (("not_null", {"columns": ["a", "odd name"]}), 'not_null(columns := (a, "odd name"))'),
        (("accepted_values", {"column": "a", "is_in": ("x", 1)}), "accepted_values(column := a, is_in := ('x', 1))"),
        (("number_of_rows_non_blocking", {"threshold": 1}), "number_of_rows_non_blocking(threshold := 1)"),
        (("at_least_one", {}), "at_least_one()"),
    ],
)
def test_known_audits_are_written_with_their_arguments(audit, written):
    assert is_known(audit)
    gaps = "time_column := metrics_sample_date, ignore_before := '2024-01-02'"
    assert call(audit, "postgres") == written.format(gaps)


@pytest.mark.parametrize("audit", [("of_our_own", {}), ("no_gaps", {"no_gap_date_part": "hour"})])
def test_what_sqlmesh_does_not_have_is_not_known(audit):
    assert not is_known(audit)
    assert list(files([audit], "duckdb")) == []


def failing(name: str, arguments: dict[str, object], days: list[date], end: date) -> list[tuple[object, ...]]:
    """Return the rows an audit finds in a table of days, of a run from the first of 2024 on."""
    ((file, text),) = files([(name, arguments)], "duckdb")
    assert file.startswith("audits/")
    values = {
        "this_model": "model_rows",
        "time_column": "metrics_sample_date",
        "start_ds": "'2024-01-01'",
        "end_ds": f"'{end}'",
        "ignore_before": "'2015-01-01'",
        "ignore_after": "'2999-12-31'",
        "missing_rate_min_threshold": "1.0",
        "threshold": "0",
    } | {key: str(value) for key, value in arguments.items()}
    query = text.partition(");")[2]
    for key, value in values.items():
        query = query.replace(f"@{key}", value)
    with duckdb.connect() as connection:
        connection.execute("CREATE TABLE model_rows (metrics_sample_date DATE)")
        if days:
            connection.executemany("INSERT INTO model_rows VALUES (?)", [(day,) for day in days])
        return connection.execute(query).fetchall()


EVERY = [date(2024, 1, 1) + timedelta(days=n) for n in range(40)]


def test_a_missing_day_is_found_but_for_the_last_two():
    assert failing("no_gaps", {}, EVERY, date(2024, 2, 11)) == []
    assert failing("no_gaps", {}, EVERY, date(2024, 2, 12)) == [(40, 41)]
    assert failing("no_gaps", {}, EVERY[:5] + EVERY[6:], date(2024, 2, 11)) == [(39, 40)]
    assert failing("no_gaps", {"missing_rate_min_threshold": 0.9}, EVERY[:5] + EVERY[6:], date(2024, 2, 11)) == []
    assert failing("no_gaps", {"ignore_before": "'2024-01-07'"}, EVERY[:5] + EVERY[6:], date(2024, 2, 11)) == []
    assert failing("no_gaps", {}, [], date(2024, 1, 31)) == [(0, 29)]
    assert failing("no_gaps", {}, [], date(2024, 1, 1)) == []


def test_months_and_years_are_counted_as_such():
    months = [date(2024, month, 1) for month in range(1, 13)]
    assert failing("no_gaps", {"no_gap_date_part": "month"}, months, date(2024, 12, 31)) == []
    assert failing("no_gaps", {"no_gap_date_part": "month"}, months[:3] + months[4:], date(2024, 12, 31)) == [(11, 12)]
    assert failing("no_gaps", {"no_gap_date_part": "year"}, months[:1], date(2025, 12, 31)) == [(1, 2)]


def test_too_few_rows_are_found():
    assert failing("has_at_least_n_rows", {"threshold": 2}, EVERY[:1], date(2024, 1, 1)) == [(1,)]
    assert failing("has_at_least_n_rows", {"threshold": 2}, EVERY[:2], date(2024, 1, 1)) == []
    assert failing("has_at_least_n_rows", {}, [], date(2024, 1, 1)) == []
