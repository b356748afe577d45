"""ROUND as DuckDB rounds: a half goes away from zero, in decimals and in floating point, to a fixed number of digits."""

from __future__ import annotations

from sqlglot import exp

from tallystick.errors import CompileError
from tallystick.sql.template import fill

# Whether a column is exact is not known here, so each text does for both: an exact number stays one. `_p` moves the
# digit to round to in front of the point.
_POSTGRES = "(TRUNC({y}) + CASE WHEN ABS({y} - TRUNC({y})) >= 0.5 THEN SIGN({y}) ELSE 0 END) {back}"
# ClickHouse rounds exact numbers so, floats to even: a half is moved by a half, which is no float, or it would make
# floats of exact numbers.
_CLICKHOUSE = "round(_x + {half} * toInt8(if(abs({y} - trunc({y})) = 0.5, sign(_x), 0)), {n})"


def rounded(node: exp.Expr, _where: exp.Expr | None, dialect: str) -> exp.Expr | None:
    """Return ROUND with halves away from zero where the dialect's own does otherwise or takes no digits.

    Raises CompileError where the digits are no number from -15 to 15.
    """
    if dialect not in ("postgres", "clickhouse"):
        return None
    digits = _digits(node.args.get("decimals"), dialect)
    power = 10 ** abs(digits)
    if dialect == "postgres":
        # The zeros behind the point make the quotient of exact numbers keep as many digits.
        factor = f"{power}.{'0' * max(digits, 1)}"
        there, back = ("*", "/") if digits >= 0 else ("/", "*")
        return fill(_POSTGRES.format(y=f"(_x {there} {factor})", back=f"{back} {factor}"), dialect, x=node.this)
    # Named, since dividing with an operator would be taken for the user's and be cast.
    moved = f"toFloat64(_x) * {power}" if digits >= 0 else f"divide(toFloat64(_x), {power})"
    half = f"toDecimal128('0.{'0' * digits}5', {digits + 1})" if digits >= 0 else str(power // 2)
    return fill(_CLICKHOUSE.format(y=moved, half=half, n=digits), dialect, x=node.this)


def _digits(node: exp.Expr | None, dialect: str) -> int:
    if node is None:
        return 0
    sign, number = (-1, node.this) if isinstance(node, exp.Neg) else (1, node)
    if not (isinstance(number, exp.Literal) and number.is_int and int(number.name) <= 15):
        raise CompileError(
            f"ROUND to {node.sql()} digits cannot be written for {dialect}", hint="write a number from -15 to 15"
        )
    return sign * int(number.name)
