"""Connection settings of a warehouse: known names only, secrets taken from the environment and kept out of messages."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from tallystick.definitions.diagnostics import nearest
from tallystick.errors import WarehouseOptionError

ENV = "env:"
SECRET_OPTIONS = frozenset({"password", "token", "private_key", "credentials", "url"})
HIDDEN = "***"


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingFault:
    """What is wrong with one setting of a warehouse; `code` is that of the finding."""

    setting: str
    message: str
    hint: str | None = None
    code: str = "unknown-setting"


@dataclass(frozen=True, slots=True)
class Options:
    """Settings of one connection with references resolved; `secrets` must not appear in any message."""

    values: Mapping[str, str]
    secrets: tuple[str, ...]

    def get(self, name: str, default: str | None = None) -> str | None:
        """Return a setting, or the default where it is not written."""
        return self.values.get(name, default)

    def number(self, name: str, default: int) -> int:
        """Return a setting as a whole number; raise WarehouseOptionError where it is none."""
        text = self.values.get(name)
        if text is None:
            return default
        if not text.strip().isdigit():
            raise WarehouseOptionError(f"warehouse option '{name}' must be a whole number, not '{text}'")
        return int(text)

    def scrub(self, text: str) -> str:
        """Return a message without any secret of this connection."""
        return scrub(text, self.secrets)


def read_options(engine: str, options: Mapping[str, str], known: Collection[str]) -> Options:
    """Resolve `env:NAME` references; raise WarehouseOptionError for a name the engine does not know or a variable not set."""
    values: dict[str, str] = {}
    secrets: list[str] = []
    for name, text in options.items():
        if name not in known:
            raise WarehouseOptionError(f"'{name}' is not an option of {engine}", hint=nearest(name, known))
        value = _resolved(name, text)
        values[name] = value
        if name in SECRET_OPTIONS or text.startswith(ENV):
            secrets += _parts(name, value)
    return Options(values, tuple(sorted({secret for secret in secrets if secret}, key=len, reverse=True)))


def _resolved(name: str, text: str) -> str:
    if not text.startswith(ENV):
        return text
    variable = text.removeprefix(ENV)
    if variable not in os.environ:
        raise WarehouseOptionError(
            f"warehouse option '{name}' names the environment variable {variable}, which is not set",
            hint=f"set {variable}, or name another",
        )
    return os.environ[variable]


def _parts(name: str, value: str) -> Iterable[str]:
    """Return what must be hidden of a secret: of an address only its password, in both spellings."""
    if name != "url":
        return [value]
    from urllib.parse import unquote, urlsplit

    password = urlsplit(value).password or ""
    return [value, password, unquote(password)]


def scrub(text: str, secrets: Iterable[str]) -> str:
    """Return a text with every secret hidden, the longest first."""
    for secret in secrets:
        text = text.replace(secret, HIDDEN)
    return text
