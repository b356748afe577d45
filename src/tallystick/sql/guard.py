"""The guard: user SQL passes only as a tree of known, harmless parts (spec tripl §5).

It keeps accidents and injections out of a query; what a warehouse login may read stays the warehouse's business. Run
the text rendered from the returned tree, never the text that came in: comments are gone from it, and what was not
understood never got in.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from fnmatch import fnmatchcase
from functools import lru_cache

from sqlglot import exp
from sqlglot.dialects.dialect import Dialect
from sqlglot.errors import ParseError, SqlglotError
from sqlglot.optimizer.annotate_types import annotate_types
from sqlglot.optimizer.scope import traverse_scope
from sqlglot.tokenizer_core import Token, TokenType

from tallystick.errors import GuardError, Location
from tallystick.sql.guard_functions import FUNCTION_NODES, NODES, named_functions
from tallystick.sql.positions import without_positions

MAX_QUERY_LENGTH = 200_000
MAX_EXPRESSION_LENGTH = 32_768

_OPENERS = frozenset({TokenType.SELECT, TokenType.WITH, TokenType.L_PAREN, TokenType.FROM})
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*")
_FILE_NAME = re.compile(
    r".\.(csv|tsv|txt|parquet|json|jsonl|ndjson|xlsx|avro|arrows?|ipc|feather|orc|duckdb|ddb|db|sqlite|geojson)"
    r"(\.(gz|gzip|zst|bz2|xz|lz4|br|snappy))?$",
    re.IGNORECASE,
)
_FILE_SCHEMAS = frozenset({"parquet", "csv", "json", "orc", "text", "avro", "delta", "binaryfile", "xml"})
_SAMPLINGS = frozenset({"", "BERNOULLI", "SYSTEM", "RESERVOIR", "ROW", "BLOCK"})
_SPARKS = frozenset({"spark", "spark2", "databricks"})

# Why a part that is no function is refused; parts not named here are refused as unknown.
_PART_REASONS: dict[str, str] = {
    "Lock": "FOR UPDATE and FOR SHARE lock rows",
    "Into": "SELECT INTO writes a table",
    "Hint": "an optimizer hint can change settings",
    "Parameter": "no value is bound to a parameter here",
    "Placeholder": "no value is bound to a placeholder here",
    "SessionParameter": "it reads a setting of the server",
    "DynamicIdentifier": "the name it stands for is not known before the query runs",
    "QueryTransform": "TRANSFORM … USING runs a program",
    "Insert": "INSERT writes",
    "Update": "UPDATE writes",
    "Delete": "DELETE writes",
    "Merge": "MERGE writes",
    "Operator": "OPERATOR() can name any function",
    "Command": "it is a command",
}
# Why a refused function is refused, where more can be said than that it is unknown; the first pattern that fits counts.
_FUNCTION_REASONS = (
    ("it calls a model", "ai_* ai[cegst]* ml.* complete vector_search predict *mlmethod"),
    ("it makes the warehouse wait", "*sleep* *benchmark* *wait* waitfor"),
    (
        "it reads or writes files",
        (
            "read_* *_scan glob sniff_csv parquet_* file *filecluster filesystem* pg_ls_* pg_stat_file pg_read_* lo_* "
            "load_file executable python sqlite"
        ),
    ),
    (
        "it opens a connection to somewhere else",
        (
            "url urlcluster s3* gcs oss cosn hdfs* azureblob* iceberg* deltalake* hudi* paimon* http* dblink* remote* "
            "cluster* mysql postgresql mongodb redis jdbc odbc bigquery external_query *_query delta_scan ytsaurus"
        ),
    ),
    ("it reads a dictionary or join table no query names", "dictget* dicthas dictisin dictionary joinget*"),
    (
        "it reads or changes the server rather than the data",
        (
            "current_* set_config getsetting* getenv getvariable session_user version hostname fqdn has_*_privilege "
            "inet_* pg_* duckdb_* pragma_* system$* getmacro getserver* tcpport uptime currentuser"
        ),
    ),
    ("it moves or reads a sequence", "nextval setval currval lastval"),
    ("it runs SQL given as text", "query query_table eval *_execute_* *_to_xml* execute*"),
    ("it calls arbitrary code", "java_method reflect try_reflect"),
)
# Operators and literals whose value is never a truth value.
_NEVER_BOOLEAN = (
    exp.Literal, exp.Null, exp.Star, exp.Tuple, exp.Array, exp.Struct, exp.Interval, exp.Neg, exp.Add, exp.Sub,
    exp.Mul, exp.Div, exp.IntDiv, exp.Mod, exp.DPipe, exp.Concat, exp.Alias, exp.DataType, exp.Lambda, exp.PropertyEQ,
)  # fmt: skip
_MAYBE_BOOLEAN = {
    exp.DType.BOOLEAN,
    exp.DType.UNKNOWN,
    exp.DType.NULL,
    exp.DType.VARIANT,
    exp.DType.JSON,
    exp.DType.JSONB,
}


def query(sql: str, dialect: str, *, allow_functions: Collection[str] = ()) -> exp.Query:
    """Parse exactly one query (SELECT, WITH, UNION, …) that only reads what it names; raise GuardError otherwise.

    `allow_functions` are names or patterns such as `mozfun.*` a project allows beyond the built-in list; a function
    of a schema is named with it.
    """
    tokens = _tokens(sql, dialect, MAX_QUERY_LENGTH)
    if tokens[-1].token_type == TokenType.SEMICOLON:
        tokens = tokens[:-1]
    _refuse_semicolons(tokens)
    if not tokens:
        raise GuardError("the query is empty", hint="write a SELECT")
    if tokens[0].token_type not in _OPENERS:
        raise GuardError(
            f"only a query may stand here, not {tokens[0].text.upper()}",
            at=_place(tokens[0]),
            hint="start with SELECT or WITH",
        )
    tree = _parse(sql, tokens, dialect, whole_query=True)
    if not isinstance(tree, exp.Query):
        raise GuardError(f"only a query may stand here, not {_word(tree)}", hint="start with SELECT or WITH")
    _check(tree, dialect, allow_functions)
    return tree


def fragment(
    sql: str, dialect: str, *, allow_subqueries: bool = False, allow_functions: Collection[str] = ()
) -> exp.Expr:
    """Parse exactly one condition on a row and return it ready to stand beside AND; raise GuardError otherwise."""
    tree = _scalar(sql, dialect, "condition", allow_subqueries=allow_subqueries, allow_functions=allow_functions)
    for node in _outside_subqueries(tree):
        if isinstance(node, (exp.AggFunc, exp.Window)):
            raise GuardError(
                f"a condition is asked of each row, {_word(node)} needs many", hint="put aggregates into the expression"
            )
    _require_boolean(tree, dialect)
    condition = tree if isinstance(tree, (exp.Paren, exp.Column, exp.Boolean)) else exp.Paren(this=tree)
    _require_contained(condition, dialect)
    return condition


def expression(
    sql: str, dialect: str, *, allow_subqueries: bool = False, allow_functions: Collection[str] = ()
) -> exp.Expr:
    """Parse exactly one expression over rows or groups of rows, without an alias; raise GuardError otherwise."""
    return _scalar(sql, dialect, "expression", allow_subqueries=allow_subqueries, allow_functions=allow_functions)


def identifier(name: str, dialect: str = "") -> exp.Column:
    """Return the column of a plain name, dotted or not (spec tripl §5.2); raise GuardError for anything else."""
    if not _IDENTIFIER.fullmatch(name) or name.count(".") > 3:
        raise GuardError(
            f"{name!r} is not the name of a column", hint="letters, digits and _ only, not starting with a digit"
        )
    *parents, last = name.split(".")
    column = exp.column(last, *reversed(parents))
    try:
        plain = isinstance(_parse(name, _expression_tokens(name, dialect), dialect), exp.Column)
    except GuardError:
        plain = False
    if not plain:
        # A reserved word is only a name in quotes.
        for part in column.parts:
            part.set("quoted", True)
    return column


def references(tree: exp.Expr) -> frozenset[str]:
    """Return the dotted names of the tables a checked tree reads, without the names its own WITH defines."""
    tables = {
        source
        for top in _top_queries(tree)
        for scope in traverse_scope(top)
        for source in scope.sources.values()
        if isinstance(source, exp.Table) and isinstance(source.this, exp.Identifier)
    }
    return frozenset(".".join(part.name for part in table.parts) for table in tables)


def _top_queries(tree: exp.Expr) -> Iterator[exp.Query]:
    pending = [tree]
    while pending:
        node = pending.pop()
        if isinstance(node, exp.Query) and not isinstance(node, exp.Subquery):
            yield node
        else:
            pending.extend(node.iter_expressions())


def _scalar(
    sql: str, dialect: str, place: str, *, allow_subqueries: bool, allow_functions: Collection[str]
) -> exp.Expr:
    tokens = _expression_tokens(sql, dialect)
    _refuse_semicolons(tokens)
    if not tokens:
        raise GuardError(f"the {place} is empty")
    if tokens[0].token_type in (TokenType.SELECT, TokenType.WITH):
        raise GuardError(f"a query cannot stand for {_article(place)}", hint="make it a source of its own")
    tree = without_positions(_parse(sql, tokens, dialect))
    if isinstance(tree, (exp.Star, exp.Tuple, exp.Alias, exp.Aliases)):
        raise GuardError(f"{tree.sql(dialect or None)} is not one {place}")
    if not allow_subqueries and (inner := tree.find(exp.Query)):
        raise GuardError(
            f"{_article(place)} cannot hold a query of its own: {_shorten(inner.sql(dialect or None))}",
            hint="make it a source of its own",
        )
    _check(tree, dialect, allow_functions)
    return tree


@lru_cache(maxsize=64)
def _dialect(name: str) -> Dialect:
    """Return a dialect, made once: making one takes longer than reading a short condition with it."""
    return Dialect.get_or_raise(name or None)


def _article(word: str) -> str:
    return f"{'an' if word[0] in 'aeiou' else 'a'} {word}"


def _tokens(sql: str, dialect: str, limit: int) -> list[Token]:
    if len(sql) > limit:
        raise GuardError(f"{len(sql)} characters are more than the {limit} allowed")
    if "\0" in sql:
        raise GuardError("the text holds a zero byte")
    try:
        tokens: list[Token] = _dialect(dialect).tokenize(sql)
    except SqlglotError as error:
        raise GuardError(f"this is not complete SQL: {_first_line(error)}", hint=_OPEN_HINT) from None
    except ValueError as error:
        raise GuardError(str(error)) from None
    if not tokens:
        raise GuardError("the text is empty")
    return tokens


_OPEN_HINT = "look for an open quote or comment"


def _expression_tokens(sql: str, dialect: str) -> list[Token]:
    # A tokenizer takes a first word such as CALL for a command and swallows what follows. After SELECT it is a name.
    # Only the lexer sees the word: what is parsed are the tokens of the text itself.
    if not sql.strip():
        raise GuardError("the text is empty")
    return _tokens(f"SELECT\n{sql}", dialect, MAX_EXPRESSION_LENGTH + 7)[1:]


def _refuse_semicolons(tokens: list[Token]) -> None:
    for token in tokens:
        if token.token_type == TokenType.SEMICOLON:
            raise GuardError("a semicolon starts a second statement", hint="give each statement a place of its own")


def _parse(sql: str, tokens: list[Token], dialect: str, *, whole_query: bool = False) -> exp.Expr:
    parser = _dialect(dialect).parser()
    try:
        trees = parser.parse(tokens, sql) if whole_query else parser.parse_into(exp.Condition, tokens, sql)
    except ParseError as error:
        raise _not_understood(error, shift=0 if whole_query else 1) from None
    except RecursionError:
        raise GuardError("the SQL is nested too deeply", hint="split it into several") from None
    except (TypeError, ValueError, AttributeError, LookupError):
        # The compiled parser meets some malformed texts, such as a lone arrow, with these.
        raise GuardError("this does not parse", hint="check parentheses and commas") from None
    found = [tree for tree in trees if tree is not None]
    if len(found) != 1:
        raise GuardError("this is not one statement")
    tree = found[0]
    for node in tree.walk():
        node.comments = None
    return tree


def _not_understood(error: ParseError, shift: int) -> GuardError:
    details = error.errors[0] if error.errors else {}
    near, line = details.get("highlight"), details.get("line")
    # Expressions are read one line further down, see _expression_tokens.
    at = Location(line=max(1, line - shift), column=details.get("col")) if line else None
    around = f" near '{near}'" if near else ""
    return GuardError(
        f"this does not parse{around}: {details.get('description') or _first_line(error)}",
        at=at,
        hint="check parentheses and commas",
    )


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0].strip() if str(error) else type(error).__name__


def _place(token: Token) -> Location:
    return Location(line=token.line, column=max(1, token.col - len(token.text) + 1))


def check(
    tree: exp.Expr,
    dialect: str,
    *,
    allow_functions: Collection[str] = (),
    allow_nodes: tuple[type[exp.Expr], ...] = (),
) -> None:
    """Raise GuardError unless a parsed tree is made of known, harmless parts and of nodes its caller fills in later."""
    _check(tree, dialect, allow_functions, allow_nodes)


def _check(
    tree: exp.Expr, dialect: str, allow_functions: Collection[str], allow_nodes: tuple[type[exp.Expr], ...] = ()
) -> None:
    allowed = tuple(name.lower() for name in allow_functions)
    try:
        for node in tree.walk():
            if not isinstance(node, allow_nodes):
                _check_node(node, dialect, allowed)
    except RecursionError:
        raise GuardError("the SQL is nested too deeply", hint="split it into several") from None


def _check_node(node: exp.Expr, dialect: str, allowed: tuple[str, ...]) -> None:
    kind = type(node).__name__
    if isinstance(node, exp.Func):
        _check_function(node, dialect, allowed)
    elif kind not in NODES:
        raise GuardError(f"{_word(node)} is not allowed", hint=_PART_REASONS.get(kind, "use plain SELECT syntax"))
    if isinstance(node, exp.Table):
        _check_table(node, dialect)
    if isinstance(node, exp.TableFromRows) and not isinstance(node.this, exp.Func):
        raise GuardError(f"{node.sql(dialect or None)} is not a table", hint="name the table itself")
    if isinstance(node, exp.TableSample) and (method := node.text("method").upper()) not in _SAMPLINGS:
        raise GuardError(f"sampling by {method} is not allowed", hint=f"use {' or '.join(sorted(_SAMPLINGS - {''}))}")
    for clause in ("settings", "format"):
        if isinstance(node, exp.Query) and node.args.get(clause):
            raise GuardError(
                f"{clause.upper()} is not allowed", hint="settings belong to the warehouse, not to a query"
            )


def _check_function(node: exp.Func, dialect: str, allowed: tuple[str, ...]) -> None:
    name, schema = _function_name(node)
    full = f"{schema}.{name}" if schema else name
    if any(fnmatchcase(full, pattern) for pattern in allowed):
        return
    known = named_functions(dialect)
    if isinstance(node, exp.Anonymous):
        fine = full in known or (schema == "pg_catalog" and name in known)
    else:
        fine = type(node).__name__ in FUNCTION_NODES and not schema
    if not fine:
        raise GuardError(f"the function {full} is not allowed", hint=_function_hint(name, full, dialect))


def _function_name(node: exp.Func) -> tuple[str, str]:
    """Return the name of a function and what stands before it with a dot, in lower case."""
    name = node.name if isinstance(node, exp.Anonymous) else node.sql_name()
    parent = node.parent
    if isinstance(parent, exp.Dot) and parent.expression is node:
        return name.lower(), parent.this.sql().replace('"', "").replace("`", "").lower()
    if isinstance(parent, exp.Table) and parent.this is node:
        return name.lower(), ".".join(part.name for part in parent.parts[:-1]).lower()
    return name.lower(), ""


def _function_hint(name: str, full: str, dialect: str) -> str:
    fix = f'a project can allow it with allow_functions = ["{full}"]'
    for reason, patterns in _FUNCTION_REASONS:
        if any(fnmatchcase(name, pattern) for pattern in patterns.split()):
            return f"{reason}; {fix}"
    return f"it is not known in {dialect or 'standard SQL'}; {fix}"


def _check_table(table: exp.Table, dialect: str) -> None:
    if isinstance(table.this, exp.Func):
        return
    if not isinstance(table.this, exp.Identifier):
        raise GuardError(f"{table.sql(dialect or None)} is not a table", hint="stages and variables reach outside")
    names = [part.name for part in table.parts]
    # DuckDB joins the parts of a name before it looks for a file.
    candidates = [".".join(names), *names] if dialect == "duckdb" else names
    is_file = any(_FILE_NAME.search(name) for name in candidates) or any(mark in "".join(names) for mark in "/\\")
    if is_file or (dialect in _SPARKS and len(names) > 1 and names[-2].lower() in _FILE_SCHEMAS):
        raise GuardError(
            f"reading the file {'.'.join(names)!r} is not allowed",
            hint="load it into a table, or declare it as a source",
        )


def _outside_subqueries(tree: exp.Expr) -> Iterator[exp.Expr]:
    return tree.walk(prune=lambda node: isinstance(node, exp.Query))


def _require_boolean(tree: exp.Expr, dialect: str) -> None:
    inner = tree.unnest()
    found = annotate_types(inner.copy(), dialect=_dialect(dialect)).type
    if isinstance(inner, _NEVER_BOOLEAN) or (found is not None and found.this not in _MAYBE_BOOLEAN):
        raise GuardError(
            f"{_shorten(tree.sql(dialect or None))} is not a condition", hint="compare it with something, as in a = 1"
        )


def _require_contained(condition: exp.Expr, dialect: str) -> None:
    """Prove on the text that comes out that a condition stays one operand of the AND it is put into."""
    text = condition.sql(_dialect(dialect))
    both = exp.And(this=condition.copy(), expression=exp.column("x")).sql(_dialect(dialect), copy=False)
    again = _parse(both, _expression_tokens(both, dialect), dialect)
    if type(again) is not exp.And or again.this.sql(_dialect(dialect), copy=False) != text:
        raise GuardError(f"{_shorten(text)} does not read the same beside another condition", hint="add parentheses")


def _word(node: exp.Expr) -> str:
    if isinstance(node, exp.Command):
        return node.name.upper()
    if isinstance(node, exp.Func):
        return _function_name(node)[0]
    if isinstance(node, exp.Lock):
        return "FOR UPDATE" if node.args.get("update") else "FOR SHARE"
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", type(node).__name__).upper()


def _shorten(text: str, limit: int = 60) -> str:
    return text if len(text) <= limit else f"{text[: limit - 1]}…"
