"""Kinds of columns that hold the same values on SQLite and PostgreSQL."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import BigInteger, CheckConstraint, Dialect, Integer, String, Text
from sqlalchemy.dialects.postgresql import TIMESTAMP
from sqlalchemy.types import TypeDecorator, TypeEngine

Words = Text().with_variant(Text(collation="C"), "postgresql")
"""Text that sorts by code point on both databases, whatever the locale of a server is."""

Identity = BigInteger().with_variant(Integer, "sqlite")
"""A counted key: SQLite counts up in INTEGER columns only."""


class Instant(TypeDecorator[datetime]):
    """An instant in UTC: `timestamptz` on PostgreSQL, ISO text (which sorts the same way) on SQLite."""

    impl = String
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Return the type a database keeps instants in."""
        return dialect.type_descriptor(TIMESTAMP(timezone=True) if dialect.name == "postgresql" else String())

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        """Return what is stored for an instant; a time without a zone is refused."""
        if value is None:
            return None
        if value.tzinfo is not UTC:
            value = in_utc(value)
        return value if dialect.name == "postgresql" else value.isoformat(" ")

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:  # noqa: ARG002 - SQLAlchemy's
        """Return a stored instant, in UTC."""
        if value is None:
            return None
        found: datetime = datetime.fromisoformat(value) if isinstance(value, str) else value
        return found if found.tzinfo is UTC else found.astimezone(UTC)


def in_utc(value: datetime) -> datetime:
    """Return an instant in UTC; raise ValueError for a time without a zone."""
    if value.tzinfo is None:
        raise ValueError(f"the time {value.isoformat(' ')} has no zone")
    return value.astimezone(UTC)


def one_of(column: str, kind: type[StrEnum]) -> CheckConstraint:
    """Return the constraint that a text column holds a word of an enumeration (tripl §12: text + check)."""
    words = ", ".join(f"'{member.value}'" for member in kind)
    return CheckConstraint(f"{column} IN ({words})", name=f"{column}_is_known")
