"""The catalog, people and their tokens, and the audit."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from tallystick.store.columns import Identity, Instant, Words

revision = "0002"
down_revision = "0001"

_ONLY_ADDED = {
    "sqlite": [
        f"CREATE TRIGGER audit_refuses_{verb.lower()} BEFORE {verb} ON audit "
        "BEGIN SELECT RAISE(ABORT, 'the audit is only added to'); END"
        for verb in ("UPDATE", "DELETE")
    ],
    "postgresql": [
        "CREATE FUNCTION refuse_change_of_audit() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'the audit is only added to'; END $$",
        "CREATE TRIGGER audit_is_only_added_to BEFORE UPDATE OR DELETE OR TRUNCATE ON audit "
        "FOR EACH STATEMENT EXECUTE FUNCTION refuse_change_of_audit()",
    ],
}


def upgrade() -> None:
    """Create the tables of the catalog; the database itself refuses changes of the audit."""
    _projects()
    _definitions()
    _versions()
    _uses()
    _users()
    _tokens()
    _audit()
    for statement in _ONLY_ADDED[op.get_bind().dialect.name]:
        op.execute(statement)


def _projects() -> None:
    op.create_table(
        "projects",
        sa.Column("name", Words, nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("time_zone", sa.Text(), nullable=False),
        sa.Column("created_at", Instant(), nullable=False),
        sa.Column("created_by", Words, nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_projects")),
    )


def _definitions() -> None:
    op.create_table(
        "definitions",
        sa.Column("id", Identity, nullable=False),
        sa.Column("project", Words, nullable=False),
        sa.Column("kind", Words, nullable=False),
        sa.Column("name", Words, nullable=False),
        sa.Column("owned_by", sa.Text(), nullable=False),
        sa.Column("file", sa.Text()),
        sa.Column("line", sa.Integer()),
        sa.Column("body", sa.JSON(none_as_null=True)),
        sa.Column("facts", sa.JSON(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("verified", sa.Boolean(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("created_at", Instant(), nullable=False),
        sa.Column("created_by", Words, nullable=False),
        sa.Column("updated_at", Instant(), nullable=False),
        sa.Column("updated_by", Words, nullable=False),
        sa.Column("deleted_at", Instant()),
        sa.CheckConstraint(
            "kind IN ('warehouse', 'source', 'entity', 'event', 'dimension', 'metric')",
            name=op.f("ck_definitions_kind_is_known"),
        ),
        sa.CheckConstraint("owned_by IN ('file', 'service')", name=op.f("ck_definitions_owned_by_is_known")),
        sa.CheckConstraint(
            "status IN ('draft', 'active', 'deprecated', 'archived')", name=op.f("ck_definitions_status_is_known")
        ),
        sa.ForeignKeyConstraint(["project"], ["projects.name"], name=op.f("fk_definitions_project")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_definitions")),
        sa.UniqueConstraint("project", "kind", "name", name="uq_definitions"),
    )
    op.create_index(op.f("ix_definitions_project_kind_position"), "definitions", ["project", "kind", "position"])
    op.create_index(op.f("ix_definitions_project_kind_status"), "definitions", ["project", "kind", "status"])


def _versions() -> None:
    op.create_table(
        "versions",
        sa.Column("definition_id", Identity, nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("at", Instant(), nullable=False),
        sa.Column("author", Words, nullable=False),
        sa.Column("body", sa.JSON(none_as_null=True)),
        sa.Column("facts", sa.JSON(), nullable=False),
        sa.Column("changes", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(["definition_id"], ["definitions.id"], name=op.f("fk_versions_definition_id")),
        sa.PrimaryKeyConstraint("definition_id", "number", name=op.f("pk_versions")),
    )
    # ### end Alembic commands ###


def _uses() -> None:
    op.create_table(
        "uses",
        sa.Column("definition_id", Identity, nullable=False),
        sa.Column("kind", Words, nullable=False),
        sa.Column("name", Words, nullable=False),
        sa.Column("parts", sa.JSON(), nullable=False),
        sa.CheckConstraint(
            "kind IN ('warehouse', 'source', 'entity', 'event', 'dimension', 'metric')",
            name=op.f("ck_uses_kind_is_known"),
        ),
        sa.ForeignKeyConstraint(["definition_id"], ["definitions.id"], name=op.f("fk_uses_definition_id")),
        sa.PrimaryKeyConstraint("definition_id", "kind", "name", name=op.f("pk_uses")),
    )
    op.create_index(op.f("ix_uses_kind_name"), "uses", ["kind", "name"])


def _users() -> None:
    op.create_table(
        "users",
        sa.Column("name", Words, nullable=False),
        sa.Column("display_name", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("password_hash", sa.Text()),
        sa.Column("created_at", Instant(), nullable=False),
        sa.Column("disabled_at", Instant()),
        sa.CheckConstraint("role IN ('viewer', 'editor', 'admin')", name=op.f("ck_users_role_is_known")),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_users")),
    )


def _tokens() -> None:
    op.create_table(
        "tokens",
        sa.Column("id", Identity, nullable=False),
        sa.Column("user", Words, nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("prefix", Words, nullable=False),
        sa.Column("hash", Words, nullable=False),
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("project", Words),
        sa.Column("created_at", Instant(), nullable=False),
        sa.Column("expires_at", Instant()),
        sa.Column("revoked_at", Instant()),
        sa.CheckConstraint("scope IN ('read', 'write', 'admin')", name=op.f("ck_tokens_scope_is_known")),
        sa.ForeignKeyConstraint(["user"], ["users.name"], name=op.f("fk_tokens_user")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tokens")),
        sa.UniqueConstraint("hash", name="uq_tokens"),
    )


def _audit() -> None:
    op.create_table(
        "audit",
        sa.Column("id", Identity, nullable=False),
        sa.Column("at", Instant(), nullable=False),
        sa.Column("author", Words, nullable=False),
        sa.Column("action", Words, nullable=False),
        sa.Column("project", Words, nullable=False),
        sa.Column("kind", Words, nullable=False),
        sa.Column("name", Words, nullable=False),
        sa.Column("detail", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit")),
    )
    op.create_index(op.f("ix_audit_kind_name_id"), "audit", ["kind", "name", "id"])
    op.create_index(op.f("ix_audit_project_id"), "audit", ["project", "id"])
