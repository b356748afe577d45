"""Portable functions: the few expressions sqlglot would render wrongly or not at all, one text per dialect.

`rewrite` takes a tree in DuckDB's spelling to another dialect. Where an engine has no equal, CompileError says so: a
number that silently means something else is worse than none (spec ecosystem §1.3).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from hashlib import md5
from types import MappingProxyType

from sqlglot import exp

from tallystick.errors import CompileError
from tallystick.sql.buckets import days_between
from tallystick.sql.dates import dates_of
from tallystick.sql.exact_numbers import mean, quotient
from tallystick.sql.rounding import rounded
from tallystick.sql.template import fill, is_filled, mark_filled
from tallystick.sql.texts import contains, ends_with

Templates = Mapping[str, str | None]


def _table(default: str | None, **by_dialect: str | None) -> Templates:
    """Return texts by dialect; None means the dialect has no equal, "" is the ANSI default."""
    table = {"": default} | by_dialect
    if "spark" in by_dialect:
        table.setdefault("databricks", by_dialect["spark"])
    return MappingProxyType(table)


_QUANTILE = _table(
    "PERCENTILE_CONT(_q) WITHIN GROUP (ORDER BY _x)",
    # On a DECIMAL the result would be cut to the digits of the column.
    duckdb="QUANTILE_CONT(CAST(_x AS DOUBLE), _q)",
    clickhouse="quantileExactInclusiveOrNull(_q)(toFloat64(_x))",
    bigquery=None,
    trino=None,
    spark="PERCENTILE(_x, _q)",
)
_QUANTILE_DISC = _table(
    "PERCENTILE_DISC(_q) WITHIN GROUP (ORDER BY _x)",
    duckdb="QUANTILE_DISC(_x, _q)",
    clickhouse=None,
    bigquery=None,
    trino=None,
    spark=None,
)
_APPROX_QUANTILE = _table(
    # An exact value approximates itself.
    "PERCENTILE_CONT(_q) WITHIN GROUP (ORDER BY _x)",
    duckdb="APPROX_QUANTILE(_x, _q)",
    clickhouse="quantileTDigestOrNull(_q)(toFloat64(_x))",
    bigquery="APPROX_QUANTILES(_x, 1000)[OFFSET(CAST(_q * 1000 AS INT64))]",
    snowflake="APPROX_PERCENTILE(_x, _q)",
    trino="APPROX_PERCENTILE(_x, _q)",
    spark="PERCENTILE_APPROX(_x, _q)",
)
_APPROX_COUNT_DISTINCT = _table(
    "COUNT(DISTINCT _x)",
    duckdb="APPROX_COUNT_DISTINCT(_x)",
    clickhouse="uniq(_x)",
    bigquery="APPROX_COUNT_DISTINCT(_x)",
    snowflake="APPROX_COUNT_DISTINCT(_x)",
    trino="APPROX_DISTINCT(_x)",
    spark="APPROX_COUNT_DISTINCT(_x)",
)
# Rows where the value or the key is NULL take no part, as in DuckDB; `_k` is the key, NULL in those rows.
_ARG_MAX = _table(
    None,
    duckdb="ARG_MAX(_v, _k)",
    postgres="(ARRAY_AGG(_v ORDER BY _k DESC) FILTER(WHERE NOT _k IS NULL))[1]",
    clickhouse="argMax(_v, _k)",
    snowflake="MAX_BY(_v, _k)",
    trino="MAX_BY(_v, _k)",
    spark="MAX_BY(_v, _k)",
    bigquery="ARRAY_AGG(IF(_k IS NULL, NULL, _v) IGNORE NULLS ORDER BY _k DESC LIMIT 1)[SAFE_OFFSET(0)]",
)
_ARG_MIN = _table(
    None,
    duckdb="ARG_MIN(_v, _k)",
    postgres="(ARRAY_AGG(_v ORDER BY _k) FILTER(WHERE NOT _k IS NULL))[1]",
    clickhouse="argMin(_v, _k)",
    snowflake="MIN_BY(_v, _k)",
    trino="MIN_BY(_v, _k)",
    spark="MIN_BY(_v, _k)",
    bigquery="ARRAY_AGG(IF(_k IS NULL, NULL, _v) IGNORE NULLS ORDER BY _k LIMIT 1)[SAFE_OFFSET(0)]",
)
# Integers divided by integers give integers on some engines and six digits on Snowflake.
_SAFE_DIVIDE = _table(
    "CAST(_n AS DOUBLE PRECISION) / NULLIF(_d, 0)",
    duckdb="_n / NULLIF(_d, 0)",
    clickhouse="CAST(_n AS Nullable(Float64)) / NULLIF(_d, 0)",
    bigquery="SAFE_DIVIDE(_n, _d)",
    snowflake="CAST(_n AS DOUBLE) / NULLIF(_d, 0)",
    trino="CAST(_n AS DOUBLE) / NULLIF(_d, 0)",
    spark="CAST(_n AS DOUBLE) / NULLIF(_d, 0)",
)
# The first 32 bits of the MD5 of the text, so that a unit is in the same bucket on every engine.
_HASH_BUCKET = _table(
    None,
    duckdb="CAST('0x' || SUBSTRING(MD5(CAST(_x AS TEXT)), 1, 8) AS BIGINT) % _n",
    postgres="CAST(CAST('x' || SUBSTRING(MD5(CAST(_x AS TEXT)) FROM 1 FOR 8) AS BIT(32)) AS BIGINT) % _n",
    clickhouse="reinterpretAsUInt32(reverse(substring(MD5(toString(_x)), 1, 4))) % _n",
    bigquery="MOD(CAST(CONCAT('0x', SUBSTRING(TO_HEX(MD5(CAST(_x AS STRING))), 1, 8)) AS INT64), _n)",
    snowflake="MOD(TO_NUMBER(SUBSTRING(MD5(CAST(_x AS VARCHAR)), 1, 8), 'XXXXXXXX'), _n)",
    trino="MOD(FROM_BASE(SUBSTRING(TO_HEX(MD5(TO_UTF8(CAST(_x AS VARCHAR)))), 1, 8), 16), _n)",
    spark="PMOD(CAST(CONV(SUBSTRING(MD5(CAST(_x AS STRING)), 1, 8), 16, 10) AS BIGINT), _n)",
)
_ANY_VALUE = _table(
    "MAX(_x)",
    duckdb="ANY_VALUE(_x)",
    postgres="(ARRAY_AGG(_x) FILTER(WHERE NOT _x IS NULL))[1]",
    clickhouse="any(_x)",
    trino="ARBITRARY(_x)",
    spark="ANY_VALUE(_x, TRUE)",
)
_MODE = _table(
    None, duckdb="MODE(_x)", postgres="MODE() WITHIN GROUP (ORDER BY _x)", snowflake="MODE(_x)", spark="MODE(_x)"
)
_ANY_TRUE = _table("BOOL_OR(_x)", clickhouse="max(_x)", bigquery="LOGICAL_OR(_x)", snowflake="BOOLOR_AGG(_x)")
_ALL_TRUE = _table("BOOL_AND(_x)", clickhouse="min(_x)", bigquery="LOGICAL_AND(_x)", snowflake="BOOLAND_AGG(_x)")
_EPOCH = _table(
    "EXTRACT(EPOCH FROM _x)",
    duckdb="EPOCH(_x)",
    clickhouse="CAST(toUnixTimestamp64Micro(toDateTime64(_x, 6, 'UTC')) AS Nullable(Float64)) / 1000000",
    bigquery="CAST(UNIX_MICROS(CAST(_x AS TIMESTAMP)) AS FLOAT64) / 1000000",
    snowflake="CAST(DATE_PART(EPOCH_MICROSECOND, _x) AS DOUBLE) / 1000000",
    trino="TO_UNIXTIME(_x)",
    spark="CAST(UNIX_MICROS(CAST(_x AS TIMESTAMP)) AS DOUBLE) / 1000000",
)


def quantile(value: exp.Expr, q: float | exp.Expr, *, dialect: str) -> exp.Expr:
    """Return the exact quantile, interpolated between neighbours; CompileError where only estimates exist."""
    return _built(_QUANTILE, "an exact quantile", dialect, "use approx_quantile", x=value, q=_number(q))


def approx_quantile(value: exp.Expr, q: float | exp.Expr, *, dialect: str) -> exp.Expr:
    """Return an estimate of a quantile, exact where the engine has no estimate."""
    return _built(_APPROX_QUANTILE, "a quantile", dialect, x=value, q=_number(q))


def approx_count_distinct(value: exp.Expr, *, dialect: str) -> exp.Expr:
    """Return an estimate of the number of distinct values, exact where the engine has no estimate."""
    return _built(_APPROX_COUNT_DISTINCT, "a distinct count", dialect, x=value)


def arg_max(value: exp.Expr, by: exp.Expr, dialect: str, *, where: exp.Expr | None = None) -> exp.Expr:
    """Return the value of the row with the greatest key among rows that pass `where` and have both."""
    return _built(_ARG_MAX, "ARG_MAX", dialect, v=value, k=_key(value, by, dialect, where))


def arg_min(value: exp.Expr, by: exp.Expr, dialect: str, *, where: exp.Expr | None = None) -> exp.Expr:
    """Return the value of the row with the smallest key among rows that pass `where` and have both."""
    return _built(_ARG_MIN, "ARG_MIN", dialect, v=value, k=_key(value, by, dialect, where))


def safe_divide(numerator: exp.Expr, denominator: exp.Expr, *, dialect: str) -> exp.Expr:
    """Return a quotient in floating point, NULL where the denominator is 0."""
    return _built(_SAFE_DIVIDE, "division", dialect, n=numerator, d=denominator)


def whole_days(start: exp.Expr, end: exp.Expr, *, dialect: str) -> exp.Expr:
    """Return the number of midnights from one date or timestamp to another, an integer."""
    return days_between(_date(start, dialect), _date(end, dialect), dialect=dialect)


def hash_bucket(value: exp.Expr, buckets: int | exp.Expr, *, dialect: str) -> exp.Expr:
    """Return a number from 0 to buckets - 1 that depends on the text of a value alone, the same on every engine."""
    return _built(_HASH_BUCKET, "hash_bucket", dialect, x=value, n=_number(buckets))


def hash_bucket_of(text: str, buckets: int) -> int:
    """Return in Python what `hash_bucket` returns in SQL."""
    return int.from_bytes(md5(text.encode(), usedforsecurity=False).digest()[:4], "big") % buckets


def rewrite(tree: exp.Expr, dialect: str, *, reads: str = "duckdb", copy: bool = True) -> exp.Expr:
    """Return a copy of a tree, or unless `copy` the tree itself, with every portable function as `dialect` has it.

    `reads` is the dialect users wrote in; what is already in the words of `dialect`, because it was written so or
    filled from a template, stays. `SAFE_DIVIDE(a, b)` and `HASH_BUCKET(x, n)` are known whatever is read. Raises
    CompileError with a reason for what the dialect cannot say.
    """
    handlers = _handlers(reads, dialect)
    # A root above the tree lets every node, the first included, be replaced where it stands.
    holder = exp.Tuple(expressions=[tree.copy() if copy else tree])
    for node in reversed(list(holder.expressions[0].find_all(*handlers))):
        handler = handlers.get(type(node))
        if handler is None or is_filled(node):
            continue
        place, where = _place(node)
        if isinstance(place.parent, exp.Window) and type(node) in _WINDOWLESS:
            raise CompileError(
                f"{type(node).__name__} over a window cannot be written for {_named(dialect)}",
                hint="aggregate in a query of its own",
            )
        replacement = handler(node, where, dialect)
        if replacement is not None:
            place.replace(_standing(mark_filled(replacement), place))
    result: exp.Expr = holder.expressions[0]
    result.pop()
    return result


def _handlers(reads: str, dialect: str) -> Mapping[type[exp.Expr], Handler]:
    if reads == dialect:
        return _OURS
    # Elsewhere a week may start on Sunday and a difference count what has passed: sqlglot knows better then.
    return _HANDLERS if reads == "duckdb" else {k: h for k, h in _HANDLERS.items() if k not in _TIMES} | _OURS


def _place(node: exp.Expr) -> tuple[exp.Expr, exp.Expr | None]:
    """Return what a rewritten node takes the place of, and the condition of its FILTER."""
    place = node
    if isinstance(node.parent, (exp.IgnoreNulls, exp.WithinGroup)) and type(node) in _AGGREGATES:
        place = node.parent
    if isinstance(place.parent, exp.Filter) and place.parent.this is place and type(node) in _AGGREGATES:
        return place.parent, place.parent.expression.this
    return place, None


def _standing(replacement: exp.Expr, place: exp.Expr) -> exp.Expr:
    if isinstance(replacement, exp.Binary) and isinstance(place.parent, (exp.Binary, exp.Unary)):
        return exp.Paren(this=replacement)
    return replacement


def _built(table: Templates, what: str, dialect: str, instead: str | None = None, **parts: exp.Expr) -> exp.Expr:
    template = table.get(dialect, table[""])
    if template is None:
        raise CompileError(f"{what} cannot be computed on {_named(dialect)}", hint=instead)
    return fill(template, dialect, **parts)


def _named(dialect: str) -> str:
    return dialect or "standard SQL"


def _number(value: float | exp.Expr) -> exp.Expr:
    return value if isinstance(value, exp.Expr) else exp.Literal.number(value)


def _date(value: exp.Expr, dialect: str) -> exp.Expr:
    dates = dates_of(dialect)
    return fill(dates.to_date, dates.dialect, x=value)


def _when(condition: exp.Expr, value: exp.Expr) -> exp.Expr:
    return exp.Case(ifs=[exp.If(this=condition.copy(), true=value.copy())])


def _filtered(value: exp.Expr, where: exp.Expr | None) -> exp.Expr:
    """Move a FILTER into the argument: every aggregate here passes over NULL."""
    return value if where is None else _when(where, value)


def _key(value: exp.Expr, key: exp.Expr, dialect: str, where: exp.Expr | None) -> exp.Expr:
    if dialect in ("duckdb", "clickhouse") or isinstance(value, exp.Literal):
        return _filtered(key, where)
    present: exp.Expr = exp.Not(this=exp.Is(this=value.copy(), expression=exp.Null()))
    if where is not None:
        present = exp.And(this=present, expression=_operand(where))
    return _when(present, key)


def _operand(condition: exp.Expr) -> exp.Expr:
    copy = condition.copy()
    return exp.Paren(this=copy) if isinstance(copy, exp.Connector) else copy


Handler = Callable[[exp.Expr, exp.Expr | None, str], exp.Expr | None]


def _one(table: Templates, what: str, instead: str | None = None) -> Handler:
    """Return a handler for aggregates of one argument."""

    def handle(node: exp.Expr, where: exp.Expr | None, dialect: str) -> exp.Expr | None:
        return _built(table, what, dialect, instead, x=_filtered(node.this, where))

    return handle


def _quantile(table: Templates, what: str, instead: str | None, share: str) -> Handler:
    """Return a handler for quantiles, whose share of rows is in the argument `share` or before WITHIN GROUP."""

    def handle(node: exp.Expr, where: exp.Expr | None, dialect: str) -> exp.Expr | None:
        value, q = node.this, node.args.get(share)
        if isinstance(node.parent, exp.WithinGroup):
            ordered = node.parent.expression.expressions[0]
            value, q = ordered.this, node.this
            if ordered.args.get("desc"):
                q = exp.Literal.number(str(1 - Decimal(q.name))) if isinstance(q, exp.Literal) else None
        if not isinstance(q, exp.Expr) or isinstance(q, exp.Array):
            raise CompileError(
                f"{what} in this form has no equal on {_named(dialect)}", hint="ask for one fixed share of the rows"
            )
        return _built(table, what, dialect, instead, x=_filtered(value, where), q=q)

    return handle


def _arg(build: Callable[..., exp.Expr]) -> Handler:
    def handle(node: exp.Expr, where: exp.Expr | None, dialect: str) -> exp.Expr | None:
        return build(node.this, node.expression, dialect, where=where)

    return handle


def _ordered(ascending: Callable[..., exp.Expr], descending: Callable[..., exp.Expr]) -> Handler:
    """Return a handler for FIRST and LAST, which need an order to mean anything."""

    def handle(node: exp.Expr, where: exp.Expr | None, dialect: str) -> exp.Expr | None:
        order = node.this
        if not isinstance(order, exp.Order) or len(order.expressions) != 1:
            raise CompileError(
                f"{type(node).__name__.upper()} needs exactly one order outside DuckDB",
                hint="write LAST(value ORDER BY time)",
            )
        term = order.expressions[0]
        build = descending if term.args.get("desc") else ascending
        return build(order.this, term.this, dialect, where=where)

    return handle


def _divide(node: exp.Expr, _where: exp.Expr | None, dialect: str) -> exp.Expr:
    return safe_divide(node.this, node.expression, dialect=dialect)


# Per unit, the parts of a date that number its buckets, and how many of the second make one of the first.
_CALENDAR_UNITS = {"YEAR": ("YEAR", None, 1), "QUARTER": ("YEAR", "QUARTER", 4), "MONTH": ("YEAR", "MONTH", 12)}
_CLOCK_UNITS = {"HOUR": 3600, "MINUTE": 60, "SECOND": 1}


def _date_diff(node: exp.Expr, _where: exp.Expr | None, dialect: str) -> exp.Expr | None:
    """Count the borders between two times as DuckDB does; elsewhere that depends on the unit and the type."""
    unit, ends = node.text("unit").upper() or "DAY", (node.expression, node.this)
    if unit == "DAY":
        return whole_days(*ends, dialect=dialect)
    if unit in _CALENDAR_UNITS:
        first, last = (_bucket_number(_date(end, dialect), *_CALENDAR_UNITS[unit]) for end in ends)
    elif unit in _CLOCK_UNITS:
        first, last = (_clock_number(end, _CLOCK_UNITS[unit], dialect) for end in ends)
    else:
        # Weeks are Mondays passed in one version of DuckDB and sevens of days in another.
        raise CompileError(f"DATE_DIFF in {unit.lower()}s cannot be written for {_named(dialect)}", hint="count days")
    return exp.cast(last - first, exp.DType.BIGINT)


def _bucket_number(day: exp.Expr, large: str, small: str | None, size: int) -> exp.Expr:
    number: exp.Expr = exp.Extract(this=exp.var(large), expression=day.copy())
    if small:
        number = number * exp.Literal.number(size) + exp.Extract(this=exp.var(small), expression=day.copy())
    return number


def _clock_number(instant: exp.Expr, seconds: int, dialect: str) -> exp.Expr:
    epoch = _built(_EPOCH, "EPOCH", dialect, x=instant)
    return exp.Floor(this=epoch / exp.Literal.number(seconds))


def _week_trunc(node: exp.Expr, _where: exp.Expr | None, dialect: str) -> exp.Expr | None:
    if node.text("unit").upper() != "WEEK":
        return None
    if dialect == "bigquery":
        monday = node.copy()
        monday.set("unit", exp.WeekStart(this=exp.var("MONDAY")))
        return monday
    if dialect == "snowflake":
        return fill("DATEADD(DAY, 1 - DAYOFWEEKISO(_x), DATE_TRUNC('DAY', _x))", dialect, x=node.this)
    return None


def _try_cast(node: exp.Expr, _where: exp.Expr | None, dialect: str) -> exp.Expr | None:
    target: exp.DataType = node.args["to"]
    if dialect == "clickhouse":
        # A plain Date wraps around before 1970.
        name = "Date32" if target.is_type(exp.DType.DATE) else target.sql("clickhouse").removeprefix("Nullable(")
        name = name.removesuffix(")") if name != target.sql("clickhouse") else name
        return exp.Anonymous(this="accurateCastOrNull", expressions=[node.this.copy(), exp.Literal.string(name)])
    if dialect == "snowflake":
        # TRY_CAST reads text only there.
        text = exp.cast(node.this.copy(), exp.DType.VARCHAR)
        return exp.TryCast(this=text, to=target.copy(), safe=True, requires_string=True)
    if dialect in ("duckdb", "bigquery", "trino", "spark", "databricks"):
        return None
    raise CompileError(
        f"TRY_CAST has no equal on {_named(dialect)}: one bad value would fail the query",
        hint="use CASE WHEN with a pattern before CAST",
    )


def _refused(reason: str, hint: str) -> Handler:
    def handle(_node: exp.Expr, _where: exp.Expr | None, dialect: str) -> exp.Expr | None:
        raise CompileError(f"{reason} on {_named(dialect)}", hint=hint)

    return handle


def _named_function(node: exp.Expr, _where: exp.Expr | None, dialect: str) -> exp.Expr | None:
    name = node.name.lower()
    if name == "hash_bucket":
        if len(node.expressions) != 2:
            raise CompileError("hash_bucket takes a value and a number of buckets")
        return hash_bucket(node.expressions[0], node.expressions[1], dialect=dialect)
    return None


def _duckdb_named_function(node: exp.Expr, where: exp.Expr | None, dialect: str) -> exp.Expr | None:
    if node.name.lower() == "hash":
        raise CompileError(
            f"HASH gives other numbers on {_named(dialect)} than on DuckDB", hint="use hash_bucket(value, buckets)"
        )
    return _named_function(node, where, dialect)


def _count_if(node: exp.Expr, where: exp.Expr | None, _dialect: str) -> exp.Expr | None:
    """Count a CASE: over no rows, or NULLs alone, COUNT_IF is NULL on some engines, DuckDB among them."""
    if isinstance(node.this, exp.Distinct):
        return None
    condition = node.this if where is None else exp.and_(_operand(where), _operand(node.this))
    return exp.Count(this=_when(condition, exp.Literal.number(1)), big_int=True)


def _escape(node: exp.Expr, _where: exp.Expr | None, dialect: str) -> exp.Expr | None:
    """Leave the ESCAPE clause out where it does not exist and a backslash escapes anyway."""
    if dialect not in ("clickhouse", "bigquery"):
        return None
    if node.expression.name != "\\":
        raise CompileError(f"ESCAPE cannot be written on {_named(dialect)}", hint="escape with a backslash")
    like: exp.Expr = node.this.copy()
    return like


_HANDLERS: dict[type[exp.Expr], Handler] = {
    exp.EndsWith: ends_with,
    exp.Escape: _escape,
    exp.PercentileCont: _quantile(_QUANTILE, "an exact quantile", "use approx_quantile", "expression"),
    exp.PercentileDisc: _quantile(_QUANTILE_DISC, "an exact discrete quantile", "use approx_quantile", "expression"),
    exp.Quantile: _quantile(_QUANTILE_DISC, "an exact discrete quantile", "use approx_quantile", "quantile"),
    exp.ApproxQuantile: _quantile(_APPROX_QUANTILE, "a quantile", None, "quantile"),
    exp.Median: lambda node, where, dialect: quantile(_filtered(node.this, where), 0.5, dialect=dialect),
    exp.ApproxDistinct: _one(_APPROX_COUNT_DISTINCT, "a distinct count"),
    exp.AnyValue: _one(_ANY_VALUE, "ANY_VALUE"),
    exp.Mode: _one(_MODE, "MODE", "count values and take the first"),
    exp.LogicalOr: _one(_ANY_TRUE, "BOOL_OR"),
    exp.LogicalAnd: _one(_ALL_TRUE, "BOOL_AND"),
    exp.ArgMax: _arg(arg_max),
    exp.ArgMin: _arg(arg_min),
    exp.First: _ordered(arg_min, arg_max),
    exp.Last: _ordered(arg_max, arg_min),
    exp.SafeDivide: _divide,
    exp.Div: quotient,
    exp.Avg: mean,
    exp.Round: rounded,
    exp.Contains: contains,
    exp.CountIf: _count_if,
    exp.DateDiff: _date_diff,
    exp.TimestampTrunc: _week_trunc,
    exp.DateTrunc: _week_trunc,
    exp.TryCast: _try_cast,
    exp.TimeToUnix: _one(_EPOCH, "EPOCH"),
    exp.DateBin: _refused("TIME_BUCKET cannot be written", "use DATE_TRUNC"),
    exp.UnixToTime: _refused("EPOCH_MS may mean either direction and cannot be written", "use EPOCH(ts) * 1000"),
    exp.Anonymous: _duckdb_named_function,
}
_OURS: dict[type[exp.Expr], Handler] = {
    exp.SafeDivide: _divide,
    exp.CountIf: _count_if,
    exp.Anonymous: _named_function,
}
_TIMES = frozenset(
    {exp.DateDiff, exp.TimestampTrunc, exp.DateTrunc, exp.TimeToUnix, exp.DateBin, exp.UnixToTime, exp.First, exp.Last}
)
_SCALARS = frozenset(
    {
        exp.Avg, exp.Div, exp.SafeDivide, exp.DateDiff, exp.TimestampTrunc, exp.DateTrunc, exp.TryCast, exp.TimeToUnix, exp.DateBin,
        exp.UnixToTime, exp.Anonymous, exp.EndsWith, exp.Escape, exp.Round, exp.Contains,
    }
)  # fmt: skip
_AGGREGATES = frozenset(_HANDLERS) - _SCALARS
_WINDOWLESS = frozenset(
    {
        exp.PercentileCont, exp.PercentileDisc, exp.Quantile, exp.ApproxQuantile, exp.Median, exp.AnyValue, exp.Mode,
        exp.ArgMax, exp.ArgMin, exp.First, exp.Last,
    }
)  # fmt: skip
