"""People and their tokens; of a token only a hash is kept, the token itself is shown once."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, insert, select, update

from tallystick.errors import ConflictError, UnknownNameError, UsageError
from tallystick.store import audit
from tallystick.store.catalog_tables import tokens, users
from tallystick.store.kinds import Author, Role, Scope

TOKEN_START = "tally_"  # noqa: S105 - what tokens begin with, so that scanners find leaked ones
_PREFIX = len(TOKEN_START) + 8
_RANK: dict[Role, Sequence[Scope]] = {
    Role.VIEWER: (Scope.READ,),
    Role.EDITOR: (Scope.READ, Scope.WRITE),
    Role.ADMIN: tuple(Scope),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """A person, or a program with an account of its own."""

    name: str
    display_name: str
    role: Role
    created_at: datetime
    disabled_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """A token as it is listed: its first letters, what it may do, and until when; bound to a project or to none."""

    id: int
    user: str
    title: str
    prefix: str
    scope: Scope
    project: str | None
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None


def add_user(connection: Connection, author: Author, name: str, role: Role, *, display_name: str = "") -> User:
    """Add a person; raise ConflictError where the name is or was taken."""
    if connection.execute(select(users.c.name).where(users.c.name == name)).first():
        raise ConflictError(f"there is a user '{name}' already", hint="choose another name")
    row = {"name": name, "display_name": display_name or name, "role": role.value, "created_at": author.at}
    connection.execute(insert(users), row)
    audit.record(connection, author, "create", kind="user", name=name, detail={"role": role.value})
    return get_user(connection, name)


def get_user(connection: Connection, name: str) -> User:
    """Return a person; raise UnknownNameError."""
    row = connection.execute(select(users).where(users.c.name == name)).first()
    if row is None:
        raise UnknownNameError(f"there is no user '{name}'")
    return _user(row)


def list_users(connection: Connection) -> tuple[User, ...]:
    """Return everybody by name."""
    return tuple(map(_user, connection.execute(select(users).order_by(users.c.name))))


def set_role(connection: Connection, author: Author, name: str, role: Role) -> None:
    """Change what a person may do."""
    old = get_user(connection, name).role
    connection.execute(update(users).where(users.c.name == name).values(role=role.value))
    detail = {"changes": [{"field": "role", "old": old.value, "new": role.value}]}
    audit.record(connection, author, "update", kind="user", name=name, detail=detail)


def disable_user(connection: Connection, author: Author, name: str) -> None:
    """Lock a person out, with every token; the name stays, for what was done under it."""
    get_user(connection, name)
    connection.execute(update(users).where(users.c.name == name).values(disabled_at=author.at))
    audit.record(connection, author, "disable", kind="user", name=name)


def create_token(
    connection: Connection,
    author: Author,
    user: str,
    title: str,
    scope: Scope,
    *,
    project: str | None = None,
    expires_at: datetime | None = None,
) -> tuple[str, Token]:
    """Return a new token in clear, which is kept nowhere, and what is kept; raise UsageError beyond the user's role."""
    owner = get_user(connection, user)
    if scope not in _RANK[owner.role]:
        raise UsageError(f"a token of {owner.role} '{user}' cannot have scope '{scope}'", hint="give it less")
    if expires_at is not None and expires_at <= author.at:
        raise UsageError("the token would have expired already", hint="give a later date")
    text = TOKEN_START + secrets.token_urlsafe(32)
    row: dict[str, Any] = {
        "user": user,
        "title": title,
        "prefix": text[:_PREFIX],
        "hash": _hash(text),
        "scope": scope.value,
    }
    row |= {"project": project, "created_at": author.at, "expires_at": expires_at}
    found = connection.execute(insert(tokens).values(row).returning(*_COLUMNS)).one()
    detail = {"title": title, "prefix": text[:_PREFIX], "scope": scope.value}
    audit.record(connection, author, "create", project=project or "", kind="token", name=user, detail=detail)
    return text, _token(found)


def check_token(connection: Connection, text: str, now: datetime) -> tuple[User, Token] | None:
    """Return who a token belongs to and what it may do; None for one that is unknown, expired, revoked or disabled."""
    statement = select(*_COLUMNS).where(tokens.c.hash == _hash(text), tokens.c.revoked_at.is_(None))
    row = connection.execute(statement).first()
    if row is None or (row.expires_at is not None and row.expires_at <= now):
        return None
    user = get_user(connection, row.user)
    token = _token(row)
    is_good = user.disabled_at is None and token.scope in _RANK[user.role]
    return (user, token) if is_good else None


def list_tokens(connection: Connection, user: str | None = None) -> tuple[Token, ...]:
    """Return tokens, newest first."""
    statement = select(*_COLUMNS).order_by(tokens.c.id.desc())
    return tuple(map(_token, connection.execute(statement if user is None else statement.where(tokens.c.user == user))))


def revoke_token(connection: Connection, author: Author, token: int) -> None:
    """End a token at once; raise UnknownNameError."""
    row = connection.execute(select(*_COLUMNS).where(tokens.c.id == token)).first()
    if row is None:
        raise UnknownNameError(f"there is no token {token}")
    if row.revoked_at is None:
        connection.execute(update(tokens).where(tokens.c.id == token).values(revoked_at=author.at))
        audit.record(connection, author, "revoke", kind="token", name=row.user, detail={"prefix": row.prefix})


_COLUMNS = [column for column in tokens.c if column.name != "hash"]


def _hash(text: str) -> str:
    """Return what is kept of a token: 256 random bits need no slow hash."""
    return hashlib.sha256(text.encode()).hexdigest()


def _user(row: Row[Any]) -> User:
    return User(
        name=row.name,
        display_name=row.display_name,
        role=Role(row.role),
        created_at=row.created_at,
        disabled_at=row.disabled_at,
    )


def _token(row: Row[Any]) -> Token:
    values = dict(row._mapping)  # noqa: SLF001 - SQLAlchemy's public name for it
    return Token(scope=Scope(values.pop("scope")), **values)
