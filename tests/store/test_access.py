"""People and tokens: a token is shown once, and ends when it should."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from tallystick.errors import ConflictError, UnknownNameError, UsageError
from tallystick.store import access, audit
from tallystick.store.database import Store
from tallystick.store.kinds import Author, Role, Scope

NOW = datetime(2026, 3, 1, tzinfo=UTC)
ROOT = Author("root", NOW)


def test_people_have_roles_and_keep_their_names(store: Store) -> None:
    with store.transaction() as connection:
        ann = access.add_user(connection, ROOT, "ann", Role.EDITOR, display_name="Ann")
        assert access.list_users(connection) == (ann,)
        with pytest.raises(ConflictError):
            access.add_user(connection, ROOT, "ann", Role.VIEWER)
        access.set_role(connection, ROOT, "ann", Role.ADMIN)
        access.disable_user(connection, ROOT, "ann")
        found = access.get_user(connection, "ann")
        assert (found.role, found.disabled_at) == (Role.ADMIN, NOW)
        assert [entry.action for entry in audit.entries(connection, kind="user")] == ["disable", "update", "create"]
        with pytest.raises(UnknownNameError):
            access.get_user(connection, "bob")


def test_a_token_is_shown_once_and_only_its_hash_is_kept(store: Store) -> None:
    with store.transaction() as connection:
        access.add_user(connection, ROOT, "ann", Role.EDITOR)
        text, token = access.create_token(connection, ROOT, "ann", "laptop", Scope.WRITE, project="shop")
    with store.reading() as connection:
        assert access.check_token(connection, text, NOW) == (access.get_user(connection, "ann"), token)
        assert access.check_token(connection, text + "x", NOW) is None
        assert access.list_tokens(connection, "ann") == (token,)
        assert access.list_tokens(connection, "bob") == ()
        kept = str(connection.exec_driver_sql("SELECT * FROM tokens").all()) + str(audit.entries(connection))
    assert text not in kept
    assert text.startswith(token.prefix) and token.prefix in kept and token.scope is Scope.WRITE


def test_a_token_ends(store: Store) -> None:
    later = NOW + timedelta(days=1)
    with store.transaction() as connection:
        access.add_user(connection, ROOT, "ann", Role.ADMIN)
        expiring, _ = access.create_token(connection, ROOT, "ann", "a", Scope.READ, expires_at=later)
        revoked, token = access.create_token(connection, ROOT, "ann", "b", Scope.READ)
        admin, _ = access.create_token(connection, ROOT, "ann", "c", Scope.ADMIN)
        plain, _ = access.create_token(connection, ROOT, "ann", "d", Scope.READ)
        access.revoke_token(connection, ROOT, token.id)
        access.revoke_token(connection, ROOT, token.id)
        assert access.check_token(connection, expiring, NOW)
        assert access.check_token(connection, expiring, later) is None
        assert access.check_token(connection, revoked, NOW) is None
        access.set_role(connection, ROOT, "ann", Role.VIEWER)
        assert access.check_token(connection, admin, NOW) is None
        assert access.check_token(connection, plain, NOW)
        access.disable_user(connection, ROOT, "ann")
        assert access.check_token(connection, plain, NOW) is None
        assert len([entry for entry in audit.entries(connection, kind="token") if entry.action == "revoke"]) == 1
        with pytest.raises(UnknownNameError):
            access.revoke_token(connection, ROOT, 999)


@pytest.mark.parametrize(
    ("scope", "days", "message"), [(Scope.WRITE, 1, "cannot have scope"), (Scope.READ, 0, "expired already")]
)
def test_a_token_beyond_its_user_is_refused(store: Store, scope: Scope, days: int, message: str) -> None:
    with store.transaction() as connection:
        access.add_user(connection, ROOT, "ann", Role.VIEWER)
        with pytest.raises(UsageError, match=message):
            access.create_token(connection, ROOT, "ann", "x", scope, expires_at=NOW + timedelta(days=days))
