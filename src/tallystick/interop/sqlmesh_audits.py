"""Audits that a registry names, as SQLMesh takes them (spec oso §3.3).

SQLMesh's own are passed on. Two that OSO's registries name, and SQLMesh does not have, are written with the export.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import sqlglot
from sqlglot import exp

from tallystick.definitions.oso_options import Audit

_NON_BLOCKING = "_non_blocking"
_BUILT_IN = frozenset(
    {
        "accepted_range",
        "accepted_values",
        "at_least_one",
        "forall",
        "match_like_pattern_list",
        "match_regex_pattern_list",
        "mean_in_range",
        "mutually_exclusive_ranges",
        "not_accepted_values",
        "not_constant",
        "not_empty_string",
        "not_match_like_pattern_list",
        "not_match_regex_pattern_list",
        "not_null",
        "not_null_proportion",
        "number_of_rows",
        "sequential_values",
        "stddev_in_range",
        "string_length_between",
        "string_length_equal",
        "unique_combination_of_columns",
        "unique_values",
        "valid_email",
        "valid_http_method",
        "valid_url",
        "valid_uuid",
        "z_score",
    }
)
_COLUMNS = frozenset({"column", "columns", "time_column"})
"""Arguments whose texts are names of columns."""
_PERIODS = {
    "day": "DATE_DIFF('day', CAST('1970-01-01' AS DATE), {})",
    "month": "EXTRACT(YEAR FROM {0}) * 12 + EXTRACT(MONTH FROM {0})",
    "year": "EXTRACT(YEAR FROM {})",
}
"""The number of the day, month or year that a date lies in."""
_NO_GAPS = """
SELECT found, expected
FROM (
  SELECT COUNT(DISTINCT {found}) AS found, MAX({last}) - MAX({first}) + 1 AS expected
  FROM (
    SELECT
      GREATEST(CAST(@start_ds AS DATE), CAST(@ignore_before AS DATE)) AS first_day,
      LEAST(CAST(CAST(@end_ds AS DATE) - INTERVAL 2 DAY AS DATE), CAST(@ignore_after AS DATE)) AS last_day
  ) AS range_of_days
  LEFT JOIN (SELECT CAST(@time_column AS DATE) AS sampled FROM @this_model) AS model
    ON sampled BETWEEN first_day AND last_day
) AS periods
WHERE found < expected * @missing_rate_min_threshold
"""
_AT_LEAST = "SELECT n FROM (SELECT COUNT(*) AS n FROM @this_model) AS counted WHERE n < @threshold"


@dataclass(frozen=True, slots=True)
class _Own:
    """An audit that comes with the export: its arguments with defaults, its query in DuckDB's words, and its weight."""

    defaults: Mapping[str, str]
    query: str
    is_blocking: bool


_GAPS = {"ignore_before": "'2015-01-01'", "ignore_after": "'2999-12-31'", "missing_rate_min_threshold": "1.0"}
_OWN: Mapping[str, _Own] = {
    "has_at_least_n_rows": _Own({"threshold": "0"}, _AT_LEAST, is_blocking=True),
    **{
        f"no_gaps_by_{part}": _Own(
            {"time_column": "metrics_sample_date", **_GAPS},
            _NO_GAPS.format(
                found=number.format("sampled"), last=number.format("last_day"), first=number.format("first_day")
            ),
            is_blocking=False,
        )
        for part, number in _PERIODS.items()
    },
}
_MARK = "tally_variable_"


def is_known(audit: Audit) -> bool:
    """Tell whether an audit can be written: one of SQLMesh's, or one that comes with the export."""
    name = _name(audit)
    return name in _OWN or name.removesuffix(_NON_BLOCKING) in _BUILT_IN


def _name(audit: Audit) -> str:
    """Return the name an audit has in the export: that of gaps tells what it counts."""
    name, arguments = audit
    return f"no_gaps_by_{arguments.get('no_gap_date_part', 'day')}" if name == "no_gaps" else name


def call(audit: Audit, dialect: str) -> str:
    """Return a known audit as a model names it."""
    name, arguments = _name(audit), audit[1]
    taken = _OWN[name].defaults if name in _OWN else arguments
    given = (f"{key} := {_value(key, value, dialect)}" for key, value in arguments.items() if key in taken)
    return f"{name}({', '.join(given)})"


def _value(key: str, value: object, dialect: str) -> str:
    if isinstance(value, (list, tuple)):
        return f"({', '.join(_value(key, item, dialect) for item in value)})"
    if isinstance(value, str) and key in _COLUMNS:
        value = exp.to_identifier(value)
    return exp.convert(value).sql(dialect)


def files(audits: Iterable[Audit], dialect: str) -> Iterator[tuple[str, str]]:
    """Yield the files of audits that come with the export, of those that are used."""
    for name in sorted({_name(audit) for audit in audits} & _OWN.keys()):
        own = _OWN[name]
        defaults = ",\n".join(f"    {key} = {value}" for key, value in own.defaults.items())
        head = f"AUDIT (\n  name {name},\n  dialect {dialect},\n  defaults (\n{defaults}\n  ),\n"
        yield (
            f"audits/{name}.sql",
            f"{head}  blocking {str(own.is_blocking).lower()}\n);\n\n{_written(own.query, dialect)};\n",
        )


def _written(query: str, dialect: str) -> str:
    tree = sqlglot.parse_one(query.replace("@", _MARK), dialect="duckdb")
    return tree.sql(dialect, pretty=True).replace(_MARK, "@")
