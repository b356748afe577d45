"""Reading SQL with macros: tokens first, then one parse, so that a macro may stand wherever a name may (spec oso §5).

Each call becomes one placeholder name in the token stream; its arguments are parsed apart. After the parse every
placeholder is exchanged for the node that its place in the tree asks for. Text is never searched or replaced.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import pairwise

from sqlglot import exp
from sqlglot.dialects.dialect import Dialect
from sqlglot.errors import ParseError, TokenError
from sqlglot.tokenizer_core import Token, TokenType

from tallystick.errors import ExpressionError, Location, MacroError
from tallystick.sql.macro_calls import MACROS, Macro, Param, call, nearest, variable
from tallystick.sql.positions import Notes, without_positions

_OPEN = {TokenType.L_PAREN, TokenType.L_BRACKET, TokenType.L_BRACE}
_CLOSE = {TokenType.R_PAREN, TokenType.R_BRACKET, TokenType.R_BRACE}
_NOT_WORDS = {TokenType.STRING, TokenType.IDENTIFIER, TokenType.NUMBER}
_ENTITY_SLOT = "{entity_type}"
_NO_JINJA = "Jinja is not supported, use macros"
_CLASS = re.compile(r"<class '(?:\w+\.)*(\w+)'>")


@dataclass(frozen=True, slots=True)
class _Call:
    macro: Macro
    arguments: dict[str, exp.Expr]
    at: Location


@dataclass(frozen=True, slots=True)
class _Variable:
    name: str
    at: Location


@dataclass(frozen=True, slots=True)
class _Template:
    text: str
    is_string: bool = False


@dataclass(slots=True)
class _Reader:
    """One reading of one text: the placeholders given out so far, by name."""

    text: str
    dialect: Dialect
    found: dict[str, _Call | _Variable | _Template] = field(default_factory=dict)

    def at(self, token: Token) -> Location:
        before = self.text[: token.start]
        return Location(None, before.count("\n") + 1, len(before) - before.rfind("\n"))

    def placeholder(self, value: _Call | _Variable | _Template, first: Token, last: Token) -> Token:
        name = f"tally_macro_{len(self.found)}"
        while name in self.text:
            name += "_"
        self.found[name] = value
        return Token(TokenType.VAR, name, first.line, first.col, first.start, last.end)


@lru_cache(maxsize=4096)
def parse_template(text: str, dialect: str | None = None) -> exp.Query:
    """Parse a definition into a query whose macros are nodes; copy the result before changing it.

    Raises MacroError for an unknown macro or wrong arguments and ExpressionError if the text is not exactly one
    query, both with line and column.
    """
    reader = _Reader(text, Dialect.get_or_raise(dialect))
    tokens = _without_jinja(reader, _tokenize(reader))
    statements = [tree for tree in _parse(reader, _splice(reader, tokens)) if tree is not None]
    if len(statements) != 1:
        raise ExpressionError(
            f"a definition is exactly one query, this file has {len(statements)}",
            hint="keep one SELECT (with its WITH and UNION parts)",
        )
    if not isinstance(statements[0], exp.Query):
        raise ExpressionError("a definition is a query", at=Location(None, 1, 1), hint="start with SELECT or WITH")
    holder = exp.Tuple(expressions=[statements[0]])
    _substitute(reader, holder)
    tree: exp.Query = holder.expressions[0]
    tree.pop()
    for node in tree.walk():
        node.comments = None
    return without_positions(tree)


def _without_jinja(reader: _Reader, tokens: list[Token]) -> list[Token]:
    """Return the tokens of a text that is no template; `{{ x }}` would be read as a literal by some dialects."""
    for token, following in pairwise(tokens):
        opens = token.token_type is TokenType.L_BRACE and following.token_type is TokenType.L_BRACE
        if opens or token.token_type is TokenType.BLOCK_START:
            raise ExpressionError("this is a Jinja template", at=reader.at(token), hint=_NO_JINJA)
    return tokens


def _tokenize(reader: _Reader) -> list[Token]:
    try:
        return reader.dialect.tokenize(reader.text)
    except TokenError as error:
        raise ExpressionError(f"the SQL cannot be read: {str(error).partition(chr(10))[0]}") from None


def _parse(reader: _Reader, tokens: Sequence[Token]) -> list[exp.Expr | None]:
    try:
        return list(reader.dialect.parser().parse(list(tokens), reader.text))
    except ParseError as error:
        first = error.errors[0] if error.errors else {}
        hint = _NO_JINJA if "{%" in reader.text else None
        said = _CLASS.sub(r"\1", str(first.get("description") or error)).rstrip(".")
        raise ExpressionError(
            f"the SQL does not parse: {said}",
            at=Location(None, first.get("line"), first.get("col")),
            hint=hint,
        ) from None


def _splice(reader: _Reader, tokens: Sequence[Token]) -> list[Token]:
    """Exchange every macro, variable and name template among tokens for a placeholder."""
    out: list[Token] = []
    index = 0
    while index < len(tokens):
        token = tokens[index]
        if token.token_type is TokenType.PARAMETER and _touches(token, tokens, index + 1):
            index = _splice_sign(reader, tokens, index, out)
        elif token.token_type is TokenType.IDENTIFIER and "@" in token.text:
            out.append(_quoted(reader, token))
            index += 1
        else:
            out.append(token)
            index += 1
    return out


def _splice_sign(reader: _Reader, tokens: Sequence[Token], index: int, out: list[Token]) -> int:
    """Handle what follows an `@`; return the index of the first token after it."""
    sign, following = tokens[index], tokens[index + 1]
    if following.token_type is TokenType.L_BRACE:
        return _splice_braces(reader, tokens, index, out)
    if following.token_type is TokenType.STRING:
        template = _Template(_braced(following.text), is_string=True)
        out.append(reader.placeholder(template, sign, following))
        return index + 2
    if not _is_word(following):
        out.append(sign)
        return index + 1
    name = following.text.lower()
    if _is_call(tokens, index + 2, name, following):
        end = _closing(reader, tokens, index + 2)
        value = _read_call(reader, name, sign, tokens[index + 3 : end])
        out.append(reader.placeholder(value, sign, tokens[end]))
        return end + 1
    out.append(reader.placeholder(_Variable(name, reader.at(sign)), sign, following))
    return index + 2


def _splice_braces(reader: _Reader, tokens: Sequence[Token], index: int, out: list[Token]) -> int:
    """Join `to_@{entity_type}_id` into one name; a lone `@{x}` is the variable x."""
    sign = tokens[index]
    if index + 3 >= len(tokens) or tokens[index + 3].token_type is not TokenType.R_BRACE:
        raise MacroError("'@{' is not closed", at=reader.at(sign), hint="write @{variable}")
    name, end = tokens[index + 2].text.lower(), index + 3
    text, last = f"@{{{name}}}", tokens[end]
    before = out[-1] if out and out[-1].end + 1 == sign.start and _is_word(out[-1]) else None
    after = tokens[end + 1] if _touches(last, tokens, end + 1) and _is_word(tokens[end + 1]) else None
    if before is None and after is None:
        out.append(reader.placeholder(_Variable(name, reader.at(sign)), sign, last))
        return end + 1
    if before is not None:
        known = reader.found.get(before.text)
        text = (known.text if isinstance(known, _Template) else before.text) + text
        out.pop()
    if after is not None:
        text, last, end = text + after.text, after, end + 1
    out.append(reader.placeholder(_Template(text), before or sign, last))
    return end + 1


def _quoted(reader: _Reader, token: Token) -> Token:
    """Read a quoted name that holds a macro call (`"@metric_name()"`), a variable (`"@x"`) or `@{…}` slots."""
    text = token.text
    if text.startswith("@") and text.endswith(")") and text[1:].partition("(")[0].strip().lower() in MACROS:
        inner = _Reader(text, reader.dialect, reader.found)
        spliced = _splice(inner, _tokenize(inner))
        if len(spliced) == 1:
            name = spliced[0].text
            reader.found[name] = _moved(reader.found[name], reader.at(token))
            return Token(TokenType.VAR, name, token.line, token.col, token.start, token.end)
    if text[1:].isidentifier() and text.startswith("@"):
        text = f"@{{{text[1:]}}}"
    if "@{" in text:
        return reader.placeholder(_Template(text), token, token)
    return token


def _moved(value: _Call | _Variable | _Template, at: Location) -> _Call | _Variable | _Template:
    if isinstance(value, _Call):
        return _Call(value.macro, value.arguments, at)
    return value


def _touches(token: Token, tokens: Sequence[Token], index: int) -> bool:
    return index < len(tokens) and tokens[index].start == token.end + 1


def _is_word(token: Token) -> bool:
    return token.token_type not in _NOT_WORDS and token.text.isidentifier()


def _is_call(tokens: Sequence[Token], index: int, name: str, word: Token) -> bool:
    if index >= len(tokens) or tokens[index].token_type is not TokenType.L_PAREN:
        return False
    return name in MACROS or tokens[index].start == word.end + 1


def _closing(reader: _Reader, tokens: Sequence[Token], index: int) -> int:
    depth = 0
    for position in range(index, len(tokens)):
        kind = tokens[position].token_type
        depth += (kind in _OPEN) - (kind in _CLOSE)
        if depth == 0:
            return position
    raise MacroError("the parenthesis of this macro is not closed", at=reader.at(tokens[index]))


def _read_call(reader: _Reader, name: str, sign: Token, tokens: Sequence[Token]) -> _Call:
    at = reader.at(sign)
    macro = MACROS.get(name)
    if macro is None:
        raise MacroError(f"there is no macro @{name}", at=at, hint=nearest(name, MACROS))
    arguments: dict[str, exp.Expr] = {}
    for position, part in enumerate(_split(tokens, at)):
        param, value = _parameter(reader, macro, position, part)
        if param.name in arguments:
            raise MacroError(f"@{name} is given '{param.name}' twice", at=reader.at(part[0]), hint=macro.usage)
        arguments[param.name] = _argument(reader, param, value)
    missing = next((p.name for p in macro.params if p.required and p.name not in arguments), None)
    if missing:
        raise MacroError(f"@{name} needs '{missing}'", at=at, hint=f"write {macro.usage}")
    return _Call(macro, arguments, at)


def _split(tokens: Sequence[Token], at: Location) -> list[list[Token]]:
    """Split the tokens of a call at its commas; a comma at the end is fine."""
    parts: list[list[Token]] = [[]]
    depth = 0
    for token in tokens:
        depth += (token.token_type in _OPEN) - (token.token_type in _CLOSE)
        if token.token_type is TokenType.COMMA and depth == 0:
            parts.append([])
        else:
            parts[-1].append(token)
    if not parts[-1]:
        parts.pop()
    if any(not part for part in parts):
        raise MacroError("an argument of this macro is empty", at=at)
    return parts


def _parameter(reader: _Reader, macro: Macro, position: int, part: Sequence[Token]) -> tuple[Param, Sequence[Token]]:
    """Find the parameter that an argument is for: by name before `:=`, else by position."""
    if len(part) > 1 and part[1].token_type is TokenType.COLON_EQ:
        name = part[0].text.lower()
        param = next((p for p in macro.params if p.name == name), None)
        if param is None:
            raise MacroError(
                f"@{macro.name} has no parameter '{name}'",
                at=reader.at(part[0]),
                hint=nearest(name, [p.name for p in macro.params]),
            )
        if len(part) == 2:
            raise MacroError(f"'{name}' has no value", at=reader.at(part[0]), hint=macro.usage)
        return param, part[2:]
    if position >= len(macro.params):
        raise MacroError(
            f"@{macro.name} takes at most {len(macro.params)} arguments", at=reader.at(part[0]), hint=macro.usage
        )
    return macro.params[position], part


def _argument(reader: _Reader, param: Param, tokens: Sequence[Token]) -> exp.Expr:
    if len(tokens) == 1 and tokens[0].token_type is not TokenType.STRING:
        token = tokens[0]
        if param.word and (_is_word(token) or token.token_type is TokenType.IDENTIFIER):
            return exp.Literal.string(token.text)
        if _is_word(token) and token.text.lower() not in ("true", "false", "null"):
            return exp.column(exp.to_identifier(token.text))
    spliced = _splice(reader, tokens)
    trees = [tree for tree in _parse(reader, spliced) if tree is not None]
    if len(trees) != 1:
        raise MacroError(f"'{param.name}' is not one expression", at=reader.at(tokens[0]))
    holder = exp.Tuple(expressions=[trees[0]])
    _substitute(reader, holder)
    value: exp.Expr = holder.expressions[0]
    value.pop()
    if param.word and isinstance(value, exp.Column) and not value.table:
        return exp.Literal.string(value.name)
    return value


def _substitute(reader: _Reader, tree: exp.Expr) -> None:
    """Exchange the placeholders in a tree for what their places ask for."""
    names = [node for node in tree.find_all(exp.Identifier) if node.name in reader.found]
    for name in names:
        value, parent = reader.found[name.name], name.parent
        if isinstance(parent, exp.Column) and parent.this is name:
            _in_expression(parent, value)
        elif isinstance(parent, exp.Table):
            _in_table(parent, name, value)
        else:
            name.replace(_as_identifier(value))


def _in_expression(column: exp.Column, value: _Call | _Variable | _Template) -> None:
    if isinstance(value, _Template) and value.is_string:
        column.replace(exp.National(this=value.text))
        return
    if isinstance(value, _Template):
        column.this.replace(exp.to_identifier(value.text, quoted=True))
        return
    if column.table:
        at = value.at
        if isinstance(value, _Call) and value.macro.name == "metrics_entity_type_col":
            column.this.replace(exp.to_identifier(_format(value), quoted=True))
            return
        raise MacroError("a macro cannot follow 'table.'", at=at, hint="use table_alias := …")
    node = _as_expression(value)
    parent = column.parent
    if isinstance(parent, exp.In) and parent.args.get("field") is column:
        parent.set("field", None)
        parent.set("expressions", [node])
    elif isinstance(node, exp.Alias) and not (isinstance(parent, exp.Select) and column.arg_key == "expressions"):
        column.replace(node.this)
    else:
        column.replace(node)


def _as_expression(value: _Call | _Variable) -> exp.Expr:
    if isinstance(value, _Variable):
        return variable(value.name, value.at)
    arguments = {name: argument.copy() for name, argument in value.arguments.items()}
    if value.macro.name == "metrics_entity_type_col":
        return _entity_column(value)
    if value.macro.name == "metrics_entity_type_alias":
        return exp.alias_(arguments["to_alias"], exp.to_identifier(_format(value), quoted=True))
    if value.macro.name in ("metrics_entity_type_table", "metrics_peer_ref"):
        raise MacroError(f"@{value.macro.name} is a table", at=value.at, hint="use it after FROM or JOIN")
    return call(value.macro, arguments, value.at)


def _entity_column(value: _Call) -> exp.Expr:
    name = exp.to_identifier(_format(value), quoted=True)
    table = value.arguments.get("table_alias")
    column = exp.column(name, table=exp.to_identifier(_string(table)) if table is not None else None)
    aliased = value.arguments.get("include_column_alias")
    if aliased is None or _string(aliased).lower() in ("false", "0", ""):
        return column
    return exp.alias_(column, name.copy())


def _format(value: _Call) -> str:
    """Return the name template of an entity macro, `{entity_type}` written as a slot."""
    argument = value.arguments["format_str"]
    if not isinstance(argument, exp.Literal):
        raise MacroError(f"the format of @{value.macro.name} must be a string", at=value.at, hint=value.macro.usage)
    text = argument.name
    rest = text.replace(_ENTITY_SLOT, "").replace("@{", "")
    if "{" in rest:
        raise MacroError(f"'{text}' has a slot other than {_ENTITY_SLOT}", at=value.at)
    return text.replace("@{", "{").replace(_ENTITY_SLOT, f"@{_ENTITY_SLOT}")


def _string(argument: exp.Expr) -> str:
    return str(argument.this) if isinstance(argument, (exp.Literal, exp.Boolean)) else argument.name


def _in_table(table: exp.Table, name: exp.Identifier, value: _Call | _Variable | _Template) -> None:
    if not isinstance(value, _Call):
        name.replace(_as_identifier(value))
        return
    if value.macro.name == "metrics_entity_type_table":
        parts = [exp.to_identifier(part.strip('"`')) for part in _format(value).split(".")]
        for key, part in zip(("this", "db", "catalog"), reversed(parts), strict=False):
            table.set(key, part)
        table._meta = Notes(per_entity=True)  # noqa: SLF001 - `meta` would be copied entry by entry
    elif value.macro.name == "metrics_peer_ref":
        name.replace(call(value.macro, {k: v.copy() for k, v in value.arguments.items()}, value.at))
        table._meta = Notes(per_entity=True)  # noqa: SLF001 - `meta` would be copied entry by entry
    else:
        raise MacroError(
            f"@{value.macro.name} is not a table",
            at=value.at,
            hint="tables are @metrics_peer_ref and @metrics_entity_type_table",
        )


def _as_identifier(value: _Call | _Variable | _Template) -> exp.Identifier:
    if isinstance(value, _Template):
        return exp.to_identifier(value.text, quoted=True)
    if isinstance(value, _Variable):
        return exp.to_identifier(f"@{{{value.name}}}", quoted=True)
    if value.macro.name in ("metrics_entity_type_col", "metrics_entity_type_table", "metrics_entity_type_alias"):
        return exp.to_identifier(_format(value), quoted=True)
    raise MacroError(f"@{value.macro.name} cannot be used as a name", at=value.at)


def _braced(text: str) -> str:
    """Write the variables of an `@'…'` string as slots: `@x` and `@{x}` are the same there."""
    parts = text.split("@")
    out = [parts[0]]
    for part in parts[1:]:
        length = 0
        while length < len(part) and (part[length].isalnum() or part[length] == "_"):
            length += 1
        out.append(f"@{{{part[:length]}}}{part[length:]}" if length else f"@{part}")
    return "".join(out)
