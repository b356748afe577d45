"""How each dialect computes with dates and instants, as data: one record of templates per dialect.

The holes are `_x` a raw time column, `_zone` the name of a time zone, `_d`, `_a`, `_b`, `_start`, `_end` dates, `_t` an
instant, `_n` a number, `_text` a literal's text; `{n}` is a number fixed when the tree is built. Sessions are pinned to
UTC by the engines, so an instant without a zone is UTC everywhere. `sub_utc` and `sub_zone` cut instants into pieces of
`{n}` minutes, in `sub_zone` pieces of a local hour; `six_zone` cuts local days into quarters.
"""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True, kw_only=True)
class Dates:
    """The date arithmetic of one dialect; the defaults are what ANSI engines share."""

    dialect: str = ""
    date: str = "CAST(_text AS DATE)"
    instant: str = "CAST(_text AS TIMESTAMP)"
    to_date: str = "CAST(_x AS DATE)"
    utc_date: str = "CAST(_x AS DATE)"
    zone_date: str = "CAST(CAST(_x AS TIMESTAMPTZ) AT TIME ZONE _zone AS DATE)"
    week: str = "CAST(DATE_TRUNC('WEEK', _d) AS DATE)"
    sunday_week: str | None = None
    month: str = "CAST(DATE_TRUNC('MONTH', _d) AS DATE)"
    quarter: str = "CAST(DATE_TRUNC('QUARTER', _d) AS DATE)"
    half: str = (
        "CAST(DATE_TRUNC('YEAR', _d) + CASE WHEN EXTRACT(MONTH FROM _d) < 7 THEN INTERVAL '0' MONTH "
        "ELSE INTERVAL '6' MONTH END AS DATE)"
    )
    year: str = "CAST(DATE_TRUNC('YEAR', _d) AS DATE)"
    add_days: str = "CAST(_d + _n * INTERVAL '1' DAY AS DATE)"
    add_months: str = "CAST(_d + INTERVAL '{n}' MONTH AS DATE)"
    add_minutes: str = "_t + INTERVAL '{n}' MINUTE"
    days_between: str = "DATEDIFF(_b, _a, DAY)"
    number: str = "DATEDIFF(_d, CAST('1970-01-01' AS DATE), DAY)"
    from_number: str = "CAST(CAST('1970-01-01' AS DATE) + _n * INTERVAL '1' DAY AS DATE)"
    hour_utc: str = "DATE_TRUNC('HOUR', CAST(_x AS TIMESTAMP))"
    sub_utc: str = (
        "DATE_TRUNC('MINUTE', CAST(_x AS TIMESTAMP)) - INTERVAL '1' MINUTE * "
        "MOD(EXTRACT(HOUR FROM CAST(_x AS TIMESTAMP)) * 60 + EXTRACT(MINUTE FROM CAST(_x AS TIMESTAMP)), {n})"
    )
    sub_zone: str = (
        "DATE_TRUNC('MINUTE', CAST(_x AS TIMESTAMP)) - INTERVAL '1' MINUTE * "
        "MOD(EXTRACT(MINUTE FROM CAST(_x AS TIMESTAMPTZ) AT TIME ZONE _zone), {n})"
    )
    six_zone: str = (
        "(DATE_TRUNC('HOUR', CAST(_x AS TIMESTAMPTZ) AT TIME ZONE _zone) - INTERVAL '1' HOUR * "
        "MOD(EXTRACT(HOUR FROM CAST(_x AS TIMESTAMPTZ) AT TIME ZONE _zone), 6)) AT TIME ZONE _zone AT TIME ZONE 'UTC'"
    )
    spine: str = (
        "WITH RECURSIVE s(day) AS (SELECT _start UNION ALL SELECT CAST(day + INTERVAL '1' DAY AS DATE) FROM s "
        "WHERE day < _end) SELECT day FROM s WHERE day < _end"
    )


_LOCAL = "CAST(_x AS TIMESTAMPTZ) AT TIME ZONE _zone"

# Where a local time happens twice, DuckDB (ICU) and PostgreSQL take the second, the bucket starts at the first. The
# second before it happens once (clocks go back from one o'clock or later, or to before midnight), so convert that one.
_SIX_ZONE = "(({bin} - INTERVAL '1' SECOND) AT TIME ZONE _zone AT TIME ZONE 'UTC') + INTERVAL '1' SECOND"
_DUCKDB = Dates(
    dialect="duckdb",
    half="TIME_BUCKET(INTERVAL '6' MONTH, _d)",
    add_days="_d + _n",
    days_between="_b - _a",
    number="_d - CAST('1970-01-01' AS DATE)",
    from_number="CAST('1970-01-01' AS DATE) + CAST(_n AS INT)",
    sub_utc="TIME_BUCKET(INTERVAL '{n}' MINUTE, CAST(_x AS TIMESTAMP))",
    sub_zone=f"CAST(_x AS TIMESTAMP) - (({_LOCAL}) - TIME_BUCKET(INTERVAL '{{n}}' MINUTE, {_LOCAL}))",
    six_zone=_SIX_ZONE.format(bin=f"TIME_BUCKET(INTERVAL '6' HOUR, {_LOCAL})"),
    # A list rather than the table function, since the function takes no subqueries for its ends.
    spine=(
        "SELECT CAST(UNNEST(RANGE(CAST(_start AS TIMESTAMP), CAST(_end AS TIMESTAMP), INTERVAL '1' DAY)) AS DATE) "
        "AS day"
    ),
)

_PG_BIN = "DATE_BIN(INTERVAL '{{n}} MINUTE', {}, CAST('2000-01-01' AS TIMESTAMP))"
_POSTGRES = Dates(
    dialect="postgres",
    half="MAKE_DATE(CAST(EXTRACT(YEAR FROM _d) AS INT), CASE WHEN EXTRACT(MONTH FROM _d) < 7 THEN 1 ELSE 7 END, 1)",
    add_days="_d + _n",
    add_months="CAST(_d + INTERVAL '{n} MONTH' AS DATE)",
    add_minutes="_t + INTERVAL '{n} MINUTE'",
    days_between="_b - _a",
    number="_d - CAST('1970-01-01' AS DATE)",
    from_number="CAST('1970-01-01' AS DATE) + CAST(_n AS INT)",
    sub_utc=_PG_BIN.format("CAST(_x AS TIMESTAMP)"),
    sub_zone=f"CAST(_x AS TIMESTAMP) - (({_LOCAL}) - {_PG_BIN.format(_LOCAL)})",
    six_zone=_SIX_ZONE.format(bin=_PG_BIN.format(_LOCAL).format(n=360)),
    spine="SELECT _start + g.n AS day FROM GENERATE_SERIES(0, _end - _start - 1) AS g(n)",
)

# ClickHouse instants carry no zone, so nothing depends on the server's; its own functions know local grids and DST.
# A Date wraps around outside of 1970 to 2149, a Date32 holds 1900 to 2299; `engines/clickhouse.py` asks for functions
# that give one where they take one.
# Its functions cut parts of a second towards 1970, so before 1970 the last second of a bucket would be the next one's.
_CLICKHOUSE_MICROS = "toUnixTimestamp64Micro(toDateTime64(_x, 6, 'UTC'))"
_CLICKHOUSE_SECOND = (
    f"fromUnixTimestamp64Micro({_CLICKHOUSE_MICROS} - positiveModulo({_CLICKHOUSE_MICROS}, 1000000), 'UTC')"
)
_CLICKHOUSE = Dates(
    dialect="clickhouse",
    date="toDate32(_text)",
    instant="toDateTime64(_text, 6, 'UTC')",
    to_date="toDate32(_x)",
    utc_date="toDate32(_x, 'UTC')",
    zone_date="toDate32(_x, _zone)",
    week="DATE_TRUNC('WEEK', _d)",
    sunday_week="toStartOfWeek(_d, 0)",
    month="DATE_TRUNC('MONTH', _d)",
    quarter="DATE_TRUNC('QUARTER', _d)",
    half="toStartOfInterval(_d, INTERVAL '6' MONTH)",
    year="DATE_TRUNC('YEAR', _d)",
    add_days="addDays(_d, _n)",
    add_months="addMonths(_d, {n})",
    add_minutes="addMinutes(_t, {n})",
    days_between="toInt32(_b) - toInt32(_a)",
    number="toInt32(_d)",
    from_number="addDays(toDate32('1970-01-01'), _n)",
    hour_utc=f"toStartOfHour({_CLICKHOUSE_SECOND}, 'UTC')",
    sub_utc=f"toStartOfInterval({_CLICKHOUSE_SECOND}, INTERVAL '{{n}}' MINUTE, 'UTC')",
    # toStartOfInterval counts minutes in UTC, whatever the zone; offsets of zones are whole minutes.
    sub_zone=(
        f"subtractMinutes(toStartOfMinute({_CLICKHOUSE_SECOND}, 'UTC'), "
        f"MOD(toMinute({_CLICKHOUSE_SECOND}, _zone), {{n}}))"
    ),
    six_zone=f"toTimeZone(toStartOfInterval({_CLICKHOUSE_SECOND}, INTERVAL '6' HOUR, _zone), 'UTC')",
    spine=(
        "SELECT arrayJoin(arrayMap(n -> addDays(_start, n), range(toUInt32(greatest("
        "toInt32(_end) - toInt32(_start), 0))))) AS day"
    ),
)

_BQ_INSTANT = "CAST(_x AS TIMESTAMP)"
_BIGQUERY = Dates(
    dialect="bigquery",
    instant="CAST(_text AS TIMESTAMP)",
    utc_date=f"DATE({_BQ_INSTANT})",
    zone_date=f"DATE({_BQ_INSTANT}, _zone)",
    # Plain WEEK starts on Sunday.
    week="DATE_TRUNC(_d, ISOWEEK)",
    sunday_week="DATE_TRUNC(_d, WEEK)",
    month="DATE_TRUNC(_d, MONTH)",
    quarter="DATE_TRUNC(_d, QUARTER)",
    half="DATE_SUB(DATE_TRUNC(_d, MONTH), INTERVAL (MOD(EXTRACT(MONTH FROM _d) - 1, 6)) MONTH)",
    year="DATE_TRUNC(_d, YEAR)",
    add_days="DATE_ADD(_d, INTERVAL _n DAY)",
    add_months="DATE_ADD(_d, INTERVAL _n MONTH)",
    add_minutes="TIMESTAMP_ADD(_t, INTERVAL _n MINUTE)",
    days_between="DATE_DIFF(_b, _a, DAY)",
    number="UNIX_DATE(_d)",
    from_number="DATE_FROM_UNIX_DATE(_n)",
    hour_utc=f"TIMESTAMP_TRUNC({_BQ_INSTANT}, HOUR)",
    sub_utc=(
        f"TIMESTAMP_SUB(TIMESTAMP_TRUNC({_BQ_INSTANT}, MINUTE), INTERVAL (MOD(EXTRACT(HOUR FROM {_BQ_INSTANT}) * 60 "
        f"+ EXTRACT(MINUTE FROM {_BQ_INSTANT}), {{n}})) MINUTE)"
    ),
    sub_zone=(
        f"TIMESTAMP_SUB(TIMESTAMP_TRUNC({_BQ_INSTANT}, MINUTE), "
        f"INTERVAL (MOD(EXTRACT(MINUTE FROM DATETIME({_BQ_INSTANT}, _zone)), {{n}})) MINUTE)"
    ),
    six_zone=(
        f"TIMESTAMP(DATETIME_SUB(DATETIME_TRUNC(DATETIME({_BQ_INSTANT}, _zone), HOUR), "
        f"INTERVAL (MOD(EXTRACT(HOUR FROM DATETIME({_BQ_INSTANT}, _zone)), 6)) HOUR), _zone)"
    ),
    spine="SELECT day FROM UNNEST(GENERATE_DATE_ARRAY(_start, DATE_ADD(_end, INTERVAL (-1) DAY))) AS day",
)

_SNOW_UTC = "CAST(CONVERT_TIMEZONE('UTC', _x) AS TIMESTAMP_NTZ)"
_SNOW_LOCAL = f"CONVERT_TIMEZONE('UTC', _zone, {_SNOW_UTC})"
_SNOWFLAKE = Dates(
    dialect="snowflake",
    instant="CAST(_text AS TIMESTAMP_NTZ)",
    utc_date=f"CAST({_SNOW_UTC} AS DATE)",
    zone_date=f"CAST({_SNOW_LOCAL} AS DATE)",
    # DATE_TRUNC('WEEK') follows the session's WEEK_START, DAYOFWEEKISO does not.
    week="DATEADD(DAY, 1 - DAYOFWEEKISO(_d), _d)",
    month="DATE_TRUNC('MONTH', _d)",
    quarter="DATE_TRUNC('QUARTER', _d)",
    half="DATEADD(MONTH, 0 - MOD(MONTH(_d) - 1, 6), DATE_TRUNC('MONTH', _d))",
    year="DATE_TRUNC('YEAR', _d)",
    add_days="DATEADD(DAY, _n, _d)",
    # DATEADD falls back to the last day of a shorter month; ADD_MONTHS also keeps last days last, which is not ours.
    add_months="DATEADD(MONTH, _n, _d)",
    add_minutes="DATEADD(MINUTE, _n, _t)",
    days_between="DATEDIFF(DAY, _a, _b)",
    number="DATEDIFF(DAY, CAST('1970-01-01' AS DATE), _d)",
    from_number="DATEADD(DAY, _n, CAST('1970-01-01' AS DATE))",
    hour_utc=f"DATE_TRUNC('HOUR', {_SNOW_UTC})",
    sub_utc=f"TIME_SLICE({_SNOW_UTC}, {{n}}, 'MINUTE')",
    sub_zone=f"DATEADD(MINUTE, 0 - MOD(MINUTE({_SNOW_LOCAL}), {{n}}), DATE_TRUNC('MINUTE', {_SNOW_UTC}))",
    six_zone=f"CONVERT_TIMEZONE(_zone, 'UTC', TIME_SLICE({_SNOW_LOCAL}, 6, 'HOUR'))",
    spine=(
        "SELECT DATEADD(DAY, CAST(r.value AS INT), _start) AS day "
        "FROM TABLE(FLATTEN(INPUT => ARRAY_GENERATE_RANGE(0, DATEDIFF(DAY, _start, _end)))) AS r"
    ),
)

_TRINO_LOCAL = "AT_TIMEZONE(_x, _zone)"
_TRINO = Dates(
    dialect="trino",
    # Plain TIMESTAMP keeps milliseconds and rounds what is finer.
    instant="CAST(_text AS TIMESTAMP(6))",
    utc_date="CAST(AT_TIMEZONE(_x, 'UTC') AS DATE)",
    zone_date=f"CAST({_TRINO_LOCAL} AS DATE)",
    week="DATE_TRUNC('WEEK', _d)",
    month="DATE_TRUNC('MONTH', _d)",
    quarter="DATE_TRUNC('QUARTER', _d)",
    half="DATE_ADD('MONTH', 0 - MOD(MONTH(_d) - 1, 6), DATE_TRUNC('MONTH', _d))",
    year="DATE_TRUNC('YEAR', _d)",
    add_days="DATE_ADD('DAY', _n, _d)",
    add_months="DATE_ADD('MONTH', _n, _d)",
    add_minutes="DATE_ADD('MINUTE', _n, _t)",
    days_between="DATE_DIFF('DAY', _a, _b)",
    number="DATE_DIFF('DAY', CAST('1970-01-01' AS DATE), _d)",
    from_number="DATE_ADD('DAY', _n, CAST('1970-01-01' AS DATE))",
    hour_utc="CAST(DATE_TRUNC('HOUR', AT_TIMEZONE(_x, 'UTC')) AS TIMESTAMP)",
    sub_utc=(
        "DATE_ADD('MINUTE', 0 - MOD(HOUR(AT_TIMEZONE(_x, 'UTC')) * 60 + MINUTE(AT_TIMEZONE(_x, 'UTC')), {n}), "
        "CAST(DATE_TRUNC('MINUTE', AT_TIMEZONE(_x, 'UTC')) AS TIMESTAMP))"
    ),
    sub_zone=(
        f"DATE_ADD('MINUTE', 0 - MOD(MINUTE({_TRINO_LOCAL}), {{n}}), "
        "CAST(DATE_TRUNC('MINUTE', AT_TIMEZONE(_x, 'UTC')) AS TIMESTAMP))"
    ),
    six_zone=(
        f"CAST(AT_TIMEZONE(WITH_TIMEZONE(DATE_ADD('HOUR', 0 - MOD(HOUR({_TRINO_LOCAL}), 6), "
        f"CAST(DATE_TRUNC('HOUR', {_TRINO_LOCAL}) AS TIMESTAMP)), _zone), 'UTC') AS TIMESTAMP)"
    ),
    # SEQUENCE fails where its end lies before its start.
    spine=(
        "SELECT day FROM UNNEST(SEQUENCE(_start, GREATEST(_start, DATE_ADD('DAY', -1, _end)), INTERVAL '1' DAY)) "
        "AS s(day) WHERE day < _end"
    ),
)

# UNIX_TIMESTAMP cuts towards zero, and with it the seconds before 1970.
_SPARK_SECONDS = "UNIX_SECONDS(FROM_UTC_TIMESTAMP(CAST(_x AS TIMESTAMP), _zone))"
_SPARK = Dates(
    dialect="spark",
    instant="CAST(_text AS TIMESTAMP)",
    zone_date="CAST(FROM_UTC_TIMESTAMP(CAST(_x AS TIMESTAMP), _zone) AS DATE)",
    week="TRUNC(_d, 'WEEK')",
    month="TRUNC(_d, 'MONTH')",
    quarter="TRUNC(_d, 'QUARTER')",
    half="ADD_MONTHS(TRUNC(_d, 'MONTH'), 0 - PMOD(MONTH(_d) - 1, 6))",
    year="TRUNC(_d, 'YEAR')",
    add_days="DATE_ADD(_d, _n)",
    # Plain interval arithmetic, since what ADD_MONTHS does on last days differs between versions.
    add_months="_d + INTERVAL '{n}' MONTH",
    days_between="DATEDIFF(_b, _a)",
    number="DATEDIFF(_d, CAST('1970-01-01' AS DATE))",
    from_number="DATE_FROM_UNIX_DATE(_n)",
    sub_utc=(
        "TIMESTAMP_SECONDS(UNIX_SECONDS(CAST(_x AS TIMESTAMP)) - PMOD(UNIX_SECONDS(CAST(_x AS TIMESTAMP)), {n} * 60))"
    ),
    sub_zone=f"TIMESTAMP_SECONDS(UNIX_SECONDS(CAST(_x AS TIMESTAMP)) - PMOD({_SPARK_SECONDS}, {{n}} * 60))",
    six_zone=f"TO_UTC_TIMESTAMP(TIMESTAMP_SECONDS({_SPARK_SECONDS} - PMOD({_SPARK_SECONDS}, 21600)), _zone)",
    # SEQUENCE fails where its end lies before its start.
    spine=(
        "SELECT day FROM (SELECT EXPLODE(SEQUENCE(_start, GREATEST(_start, DATE_ADD(_end, -1)), INTERVAL '1' DAY)) "
        "AS day) WHERE day < _end"
    ),
)

_BY_DIALECT = {
    dates.dialect: dates
    for dates in (
        _DUCKDB,
        _POSTGRES,
        _CLICKHOUSE,
        _BIGQUERY,
        _SNOWFLAKE,
        _TRINO,
        _SPARK,
        replace(_SPARK, dialect="databricks"),
    )
}
_ANSI = Dates()


def dates_of(dialect: str) -> Dates:
    """Return the date arithmetic of a dialect, the ANSI one for dialects without a record of their own."""
    return _BY_DIALECT.get(dialect, _ANSI)
