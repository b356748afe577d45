"""Metric-hub's two template layers: Jinja with macros, and placeholders in single braces (spec metric_hub §4)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from tallystick.definitions.diagnostics import nearest
from tallystick.errors import MacroError

if TYPE_CHECKING:
    from jinja2 import Template

    from tallystick.definitions.metric_hub.nouns import Function, ParameterDefinition

Functions = Mapping[str, "Function"]
_CALL = re.compile(
    r"\{\{\s*([A-Za-z_]\w*)\s*\(\s*((?:\"[^\"\\]*\"\s*|'[^'\\]*'\s*)+)\)\s*\}\}",
)
_LITERAL = re.compile(r"\"([^\"\\]*)\"|'([^'\\]*)'")
_PLACEHOLDER = re.compile(r"\{([A-Za-z_]\w*)\}")


def expand(text: str, functions: Functions, values: Mapping[str, object] | None = None) -> str:
    """Expand the macros of a select expression; raises `MacroError` naming what is wrong (spec §4.1)."""
    if "{" not in text:
        return _without_last_break(text)
    if values is None and "\r" not in text and (plain := _expand_calls(text, functions)) is not None:
        return plain
    return render(text, {**functions, **(values or {})})


def expand_parametrized(text: str, functions: Functions, parameters: Mapping[str, ParameterDefinition]) -> str:
    """Expand a select expression that may name parameters of an outcome (spec §3.7, §4.1)."""
    if "parameters" not in text:
        return expand(text, functions)
    values = {name: parameter_sql(parameter) for name, parameter in parameters.items()}
    return expand(text, functions, {"parameters": values})


def parameter_sql(parameter: ParameterDefinition) -> str:
    """Return the text that stands for a parameter: its value, or a CASE over branches."""
    value = parameter.value if parameter.value is not None else parameter.default
    if isinstance(value, Mapping):
        cases = " ".join(f'WHEN "{branch}" THEN "{text}"' for branch, text in value.items())
        return f"CASE e.branch {cases} END"
    return str(value)


def _expand_calls(text: str, functions: Functions) -> str | None:
    """Expand templates that are only text and calls with literal arguments: nearly all, and at once."""
    pieces: list[str] = []
    end = 0
    for match in _CALL.finditer(text):
        function = functions.get(match[1])
        if function is None:
            return None
        argument = "".join(double or single for double, single in _LITERAL.findall(match[2]))
        pieces += (text[end : match.start()], function(argument))
        end = match.end()
    pieces.append(_without_last_break(text[end:]))
    if any("{{" in plain or "{%" in plain or "{#" in plain or plain.endswith("{") for plain in pieces[::2]):
        return None
    return "".join(pieces)


def _without_last_break(text: str) -> str:
    return text.removesuffix("\n")


def render(text: str, values: Mapping[str, Any]) -> str:
    """Render a template with any of Jinja's syntax, sandboxed; raises `MacroError`."""
    from jinja2 import TemplateError
    from jinja2.exceptions import SecurityError, TemplateSyntaxError, UndefinedError

    try:
        return str(_template(text).render(**values))
    except TemplateSyntaxError as problem:
        raise MacroError(f"{problem.message} (line {problem.lineno} of the expression)") from None
    except UndefinedError as problem:
        message = re.sub(r"^'(?:types\.)?mappingproxy object'", "'experiment'", str(problem))
        raise MacroError(message, hint=_nearest_name(message, values)) from None
    except SecurityError as problem:
        raise MacroError(f"not allowed in a template: {problem}") from None
    except (TemplateError, TypeError, ValueError, ArithmeticError, LookupError) as problem:
        raise MacroError(f"template cannot be rendered: {problem}") from None


@lru_cache(maxsize=512)
def _template(text: str) -> Template:
    from jinja2 import StrictUndefined
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    environment = ImmutableSandboxedEnvironment(autoescape=False, undefined=StrictUndefined)
    environment.globals.clear()
    return environment.from_string(text)


def _nearest_name(message: str, values: Mapping[str, Any]) -> str | None:
    undefined = re.search(r"'(\w+)' is undefined", message)
    if undefined:
        return nearest(undefined[1], values)
    attribute = re.search(r"has no attribute '(\w+)'", message)
    known = values.get("parameters") or values.get("experiment")
    return nearest(attribute[1], known) if attribute and isinstance(known, Mapping) else None


def refers_to(text: str, name: str) -> bool:
    """Tell whether a text is a Jinja template that reads a variable; a literal GUID in doubled braces is not."""
    if "{{" not in text or name not in text:
        return False
    from jinja2 import Environment, TemplateSyntaxError, meta

    try:
        tree = Environment(autoescape=False).parse(text)  # noqa: S701 - SQL, not HTML
        return name in meta.find_undeclared_variables(tree)
    except TemplateSyntaxError:
        return False


def placeholders(text: str) -> tuple[str, ...]:
    """Return the names in single braces, such as `dataset`; doubled braces are literal (spec §4.3)."""
    bare = text.replace("{{", "").replace("}}", "")
    return tuple(dict.fromkeys(_PLACEHOLDER.findall(bare)))


def fill(text: str, **values: str) -> str:
    """Fill placeholders in single braces and undouble the rest; raises `MacroError` for one without a value."""
    try:
        return text.format(**values)
    except KeyError as missing:
        name = str(missing.args[0])
        raise MacroError(f"placeholder '{{{name}}}' has no value here", hint=nearest(name, values)) from None
    except (ValueError, IndexError, AttributeError) as problem:
        raise MacroError(f"braces are not balanced: {problem}", hint="double a brace that is meant literally") from None
