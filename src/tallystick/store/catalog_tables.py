"""The tables of the catalog: projects, definitions with their versions, people and their tokens, and the audit."""

from __future__ import annotations

from sqlalchemy import JSON, Boolean, Column, ForeignKey, Index, Integer, Table, Text, UniqueConstraint

from tallystick.definitions.about import Status
from tallystick.store.columns import Identity, Instant, Words, one_of
from tallystick.store.kinds import Kind, Owner, Role, Scope
from tallystick.store.tables import metadata

projects = Table(
    "projects",
    metadata,
    Column("name", Words, primary_key=True),
    Column("title", Text, nullable=False),
    Column("description", Text, nullable=False),
    Column("time_zone", Text, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("created_by", Words, nullable=False),
)

definitions = Table(
    "definitions",
    metadata,
    Column("id", Identity, primary_key=True),
    Column("project", ForeignKey("projects.name"), nullable=False),
    Column("kind", Words, nullable=False),
    Column("name", Words, nullable=False),
    Column("owned_by", Text, nullable=False),
    Column("file", Text),
    Column("line", Integer),
    # The table somebody wrote, for definitions made in the service; files keep their own.
    Column("body", JSON(none_as_null=True)),
    # What the definition says once it is read, whoever owns it: this is compared and searched.
    Column("facts", JSON, nullable=False),
    Column("status", Text, nullable=False),
    Column("verified", Boolean, nullable=False),
    Column("position", Integer, nullable=False),
    Column("version", Integer, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("created_by", Words, nullable=False),
    Column("updated_at", Instant, nullable=False),
    Column("updated_by", Words, nullable=False),
    # A deleted definition keeps its name: names are never reused.
    Column("deleted_at", Instant),
    UniqueConstraint("project", "kind", "name", name="uq_definitions"),
    Index(None, "project", "kind", "position"),
    Index(None, "project", "kind", "status"),
    one_of("kind", Kind),
    one_of("owned_by", Owner),
    one_of("status", Status),
)

versions = Table(
    "versions",
    metadata,
    Column("definition_id", ForeignKey("definitions.id"), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("at", Instant, nullable=False),
    Column("author", Words, nullable=False),
    Column("body", JSON(none_as_null=True)),
    Column("facts", JSON, nullable=False),
    Column("changes", JSON, nullable=False),
)

uses = Table(
    "uses",
    metadata,
    Column("definition_id", ForeignKey("definitions.id"), primary_key=True),
    Column("kind", Words, primary_key=True),
    Column("name", Words, primary_key=True),
    # Names of columns and filters that are mentioned, for a source: it may not be narrowed below them.
    Column("parts", JSON, nullable=False),
    Index(None, "kind", "name"),
    one_of("kind", Kind),
)

users = Table(
    "users",
    metadata,
    Column("name", Words, primary_key=True),
    Column("display_name", Text, nullable=False),
    Column("role", Text, nullable=False),
    Column("password_hash", Text),
    Column("created_at", Instant, nullable=False),
    Column("disabled_at", Instant),
    one_of("role", Role),
)

tokens = Table(
    "tokens",
    metadata,
    Column("id", Identity, primary_key=True),
    Column("user", ForeignKey("users.name"), nullable=False),
    Column("title", Text, nullable=False),
    Column("prefix", Words, nullable=False),
    Column("hash", Words, nullable=False),
    Column("scope", Text, nullable=False),
    Column("project", Words),
    Column("created_at", Instant, nullable=False),
    Column("expires_at", Instant),
    Column("revoked_at", Instant),
    UniqueConstraint("hash", name="uq_tokens"),
    one_of("scope", Scope),
)

audit = Table(
    "audit",
    metadata,
    Column("id", Identity, primary_key=True),
    Column("at", Instant, nullable=False),
    Column("author", Words, nullable=False),
    Column("action", Words, nullable=False),
    Column("project", Words, nullable=False),
    Column("kind", Words, nullable=False),
    Column("name", Words, nullable=False),
    Column("detail", JSON, nullable=False),
    Index(None, "project", "id"),
    Index(None, "kind", "name", "id"),
)
