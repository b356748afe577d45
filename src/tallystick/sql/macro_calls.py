"""The macros an SQL definition may call: their names, parameters, and how a call looks inside a tree (spec oso §5).

A call is an `Anonymous` function named `@…` and a variable a `Parameter`, so that trees with macros can be copied,
walked and rendered like any other. Names that depend on the variant (`to_{entity_type}_id`) are identifiers with a
`@{variable}` slot in their text.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from types import MappingProxyType

from sqlglot import exp

from tallystick.errors import Location, MacroError
from tallystick.sql.positions import Notes


@dataclass(frozen=True, slots=True)
class Param:
    """A parameter of a macro; a `word` may be written bare (`commits`) or as a string (`'commits'`)."""

    name: str
    required: bool = False
    word: bool = False


@dataclass(frozen=True, slots=True)
class Macro:
    """A macro: `run` ones need the dates of a run, the others are known once the model is chosen."""

    name: str
    params: tuple[Param, ...]
    run: bool = False

    @property
    def usage(self) -> str:
        """Return how a call is written."""
        params = (p.name if p.required else f"[{p.name}]" for p in self.params)
        return f"@{self.name}({', '.join(params)})"


def _word(name: str, *, required: bool = False) -> Param:
    return Param(name, required, word=True)


_NAME = (Param("name"),)
_ALL = (
    Macro("metric_name", _NAME),
    Macro("metrics_name", _NAME),
    Macro(
        "metrics_entity_type_col",
        (_word("format_str", required=True), _word("table_alias"), _word("include_column_alias")),
    ),
    Macro("metrics_entity_type_alias", (Param("to_alias", required=True), _word("format_str", required=True))),
    Macro("metrics_entity_type_table", (_word("format_str", required=True),)),
    Macro(
        "metrics_peer_ref",
        (
            _word("name", required=True),
            _word("entity_type"),
            Param("window"),
            _word("unit"),
            _word("time_aggregation"),
        ),
    ),
    Macro(
        "relative_window_sample_date",
        (
            Param("base", required=True),
            Param("window", required=True),
            _word("unit", required=True),
            Param("relative_index", required=True),
        ),
    ),
    Macro("metrics_sample_date", (Param("base", required=True),), run=True),
    Macro("metrics_start", (_word("data_type"),), run=True),
    Macro("metrics_end", (_word("data_type"),), run=True),
    Macro("metrics_sample_interval_length", (Param("base", required=True), _word("unit")), run=True),
    Macro("to_unix_timestamp", (Param("base", required=True),), run=True),
    Macro("str_to_unix_timestamp", (Param("base", required=True),), run=True),
)
MACROS: Mapping[str, Macro] = MappingProxyType({macro.name: macro for macro in _ALL})

RUN_VARIABLES = frozenset({"start_ds", "end_ds"})
"""Variables that stay in a tree until the dates of a run are known."""


def call(macro: Macro, arguments: Mapping[str, exp.Expr], at: Location) -> exp.Anonymous:
    """Build the node of a call; arguments are kept by position as far as they go, then by name."""
    expressions: list[exp.Expr] = []
    by_position = True
    for param in macro.params:
        value = arguments.get(param.name)
        if value is None:
            by_position = False
        else:
            named = exp.PropertyEQ(this=exp.var(param.name), expression=value)
            expressions.append(value if by_position else named)
    node = exp.Anonymous(this=f"@{macro.name}", expressions=expressions)
    node._meta = Notes(at=(at.line, at.column))  # noqa: SLF001 - `meta` would copy it entry by entry
    return node


def variable(name: str, at: Location) -> exp.Parameter:
    """Build the node of a variable."""
    node = exp.Parameter(this=exp.var(name))
    node._meta = Notes(at=(at.line, at.column))  # noqa: SLF001 - `meta` would copy it entry by entry
    return node


def macro_of(node: exp.Expr) -> Macro | None:
    """Return the macro a node calls."""
    if isinstance(node, exp.Anonymous) and isinstance(node.this, str) and node.this.startswith("@"):
        return MACROS[node.this[1:]]
    return None


def arguments_of(node: exp.Expr) -> dict[str, exp.Expr]:
    """Return the arguments of a call by the names of its parameters."""
    macro = macro_of(node)
    if macro is None:
        return {}
    found: dict[str, exp.Expr] = {}
    for param, value in zip(macro.params, node.expressions, strict=False):
        if isinstance(value, exp.PropertyEQ):
            break
        found[param.name] = value
    for value in node.expressions:
        if isinstance(value, exp.PropertyEQ):
            found[value.name] = value.expression
    return found


def calls(tree: exp.Expr) -> Iterator[tuple[exp.Anonymous, Macro]]:
    """Yield every macro call in a tree, outer ones before those in their arguments."""
    for node in tree.find_all(exp.Anonymous):
        macro = macro_of(node)
        if macro is not None:
            yield node, macro


def spelled_out(tree: exp.Expr, dialect: str, *, copy: bool = True) -> exp.Expr:
    """Return a tree whose macros are plain words, written as an author would; the same tree if it has none.

    Generators look into functions they do not know and stumble over the `@`, or use their own sign for parameters.
    """
    if not any(
        isinstance(node, exp.Parameter) or macro_of(node) for node in tree.find_all(exp.Parameter, exp.Anonymous)
    ):
        return tree
    tree = tree.copy() if copy else tree
    for node in reversed([node for node, _ in calls(tree)]):
        arguments = (value.sql(dialect, normalize_functions=False) for value in node.expressions)
        node.replace(exp.var(f"{node.this}({', '.join(arguments)})"))
    for parameter in list(tree.find_all(exp.Parameter)):
        if parameter.name.lower() in RUN_VARIABLES:
            parameter.replace(exp.var(f"@{parameter.name}"))
    return tree


def location(node: exp.Expr, file: str | None = None) -> Location:
    """Return where a call or variable was written."""
    line, column = node.meta.get("at", (None, None))
    return Location(file, line, column)


def variables_of(tree: exp.Expr) -> frozenset[str]:
    """Return the names of all variables a tree uses, in expressions and in identifiers, in lower case."""
    found = {node.name.lower() for node in tree.find_all(exp.Parameter)}
    for text in tree.find_all(exp.Identifier, exp.National):
        found.update(name for _, name in slots(text.name) if name)
    return frozenset(found)


def slots(text: str) -> Iterator[tuple[str, str | None]]:
    """Split text into pieces, each a stretch of plain text and the variable of the `@{…}` after it, if any."""
    while text:
        plain, opened, rest = text.partition("@{")
        name, closed, after = rest.partition("}")
        if not opened or not closed:
            yield text, None
            return
        yield plain, name.strip().lower()
        text = after


def fill(text: str, values: Mapping[str, object]) -> str:
    """Fill the `@{variable}` slots of an identifier or string; raise MacroError for a variable without a value."""
    parts: list[str] = []
    for plain, name in slots(text):
        parts.append(plain)
        if name is None:
            continue
        if values.get(name) is None:
            raise unknown_variable(name, values)
        parts.append(str(values[name]))
    return "".join(parts)


def unknown_variable(name: str, values: Mapping[str, object], at: Location | None = None) -> MacroError:
    """Build the error for a variable that has no value, naming the nearest variable or macro."""
    if name in values:
        return MacroError(f"@{name} has no value in this model", at=at)
    if name in MACROS:
        return MacroError(f"@{name} is a macro", at=at, hint=f"write {MACROS[name].usage}")
    return MacroError(f"there is no variable @{name}", at=at, hint=nearest(name, [*values, *MACROS]))


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Return a hint naming the closest known name."""
    close = get_close_matches(name.lower(), sorted(known), n=1, cutoff=0.6)
    return f"did you mean '{close[0]}'?" if close else None
