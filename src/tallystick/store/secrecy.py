"""Keeping secrets out of messages: drivers like to repeat what they were given."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from urllib.parse import quote, quote_plus

from tallystick.errors import DefinitionError, StoreError

MASK = "***"
LONGEST = 1000
_IN_URL = re.compile(r"(?P<before>[a-z][a-z0-9+.-]*://[^\s:/@]*:)[^\s@]+(?=@)", re.IGNORECASE)
_NAMED = re.compile(
    r"(?P<before>\b[\w-]*(?:password|passwd|pwd|secret|token|api[_-]?key|access[_-]?key|private[_-]?key|passphrase)"
    r"[\w-]*[\"']?\s*[=:]\s*)(?:\"[^\"]*\"|'[^']*'|[^\s,;&)}\]]+)",
    re.IGNORECASE,
)
_BEARER = re.compile(r"(?P<before>\b(?:bearer|basic)\s+)[\w.~+/=-]{8,}", re.IGNORECASE)
SECRET_WORDS = ("password", "passwd", "pwd", "secret", "token", "api_key", "apikey", "access_key", "private_key")
_PRIVATE = re.compile("|".join([*SECRET_WORDS, "passphrase", "credential"]))


def is_secret(option: str) -> bool:
    """Tell by its name whether an option of a warehouse holds a secret."""
    return bool(_PRIVATE.search(option.lower().replace("-", "_"))) and not option.lower().endswith(("_file", "_path"))


def without_secrets(text: str, secrets: Iterable[str] = ()) -> str:
    """Return a message with known secrets, passwords in URLs and values named like secrets masked, and shortened."""
    for secret in secrets:
        for spelling in {secret, quote(secret), quote(secret, safe=""), quote_plus(secret)} - {""}:
            text = text.replace(spelling, MASK)
    for pattern in (_IN_URL, _NAMED, _BEARER):
        text = pattern.sub(lambda match: match["before"] + MASK, text)
    text = text.replace("\x00", "")
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


# -- references to secrets --------------------------------------------------------------------------------------------

REFERENCE = "env:"


def is_reference(value: object) -> bool:
    """Tell whether an option only says which environment variable holds its value."""
    return isinstance(value, str) and value.startswith(REFERENCE) and value[len(REFERENCE) :].isidentifier()


def refuse_secrets(options: Mapping[str, object], where: str) -> None:
    """Raise DefinitionError for an option that holds a secret in clear: the store keeps references to secrets only."""
    for name, value in options.items():
        is_clear = is_secret(name) and not is_reference(value)
        if is_clear or (isinstance(value, str) and _IN_URL.search(value)):
            variable = re.sub(r"\W", "_", name).upper()
            raise DefinitionError(
                f"option '{name}' of {where} holds a secret in clear, which the store does not keep",
                hint=f'set it in the environment and write {name} = "{REFERENCE}{variable}"',
            )


def revealed(options: Mapping[str, str], environment: Mapping[str, str]) -> dict[str, str]:
    """Return options with references to environment variables resolved; raise StoreError for one that is not set."""
    found = {}
    for name, value in options.items():
        if is_reference(value):
            variable = value[len(REFERENCE) :]
            if variable not in environment:
                raise StoreError(
                    f"option '{name}' is kept in the environment variable {variable}, which is not set",
                    hint=f"set {variable}",
                )
            found[name] = environment[variable]
        else:
            found[name] = value
    return found
