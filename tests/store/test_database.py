"""Opening a store: brought up to date once, and every failure is one line that says what to do."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from tallystick.compiler.series import Point, PointState, Wanted
from tallystick.errors import MissingDriverError, StoreError
from tallystick.sql.grain import Grain
from tallystick.store import catalog_tables, database, migrate, series
from tallystick.store.database import Store, open_store

START = datetime(2026, 1, 1, tzinfo=UTC)


def write(store: Store, metric: str, points: int) -> None:
    values = [Point(bucket=START + timedelta(hours=hour), value=hour, n=1) for hour in range(points)]
    with store.transaction() as connection:
        series.replace_window(
            connection,
            "shop",
            Wanted(metric=metric, grain=Grain.HOUR),
            START,
            START + timedelta(hours=points),
            values,
            definition_hash="aaaa",
            state_of=lambda _: PointState.FINAL,
            collected_at=START,
        )


# -- migrations -------------------------------------------------------------------------------------------------------


def test_migrations_make_the_tables_the_code_speaks_of(store: Store) -> None:
    with store.reading() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, catalog_tables.metadata) == []
        assert migrate.revision(connection) == migrate.HEAD


def test_the_newest_migration_is_the_one_that_is_named() -> None:
    assert ScriptDirectory(str(migrate.FOLDER)).get_heads() == [migrate.HEAD]


def test_checks_name_every_word(store: Store) -> None:
    for statement in (
        "INSERT INTO points VALUES (1, '2026-01-01', '', '', false, 1, 1, 1, '', 1, 'unsure', '', '2026-01-01')",
        "INSERT INTO users VALUES ('a', 'a', 'king', '', '2026-01-01', NULL)",
    ):
        with pytest.raises(StoreError, match=r"(?i)check constraint"), store.transaction() as connection:
            connection.exec_driver_sql(statement)


def test_a_store_of_an_earlier_version_is_brought_up_to_date(url: str) -> None:
    earlier = Store(database._parsed(url))
    with earlier.transaction() as connection:
        migrate._upgrade(connection, "0001")
    write(earlier, "revenue", 3)
    earlier.close()
    store = open_store(url)
    with store.reading() as connection:
        assert migrate.revision(connection) == migrate.HEAD
        assert len(series.read_points(connection, "shop", Wanted(metric="revenue", grain=Grain.HOUR))) == 3
    store.close()


def test_runs_of_an_earlier_version_have_no_bytes(url: str) -> None:
    earlier = Store(database._parsed(url))
    with earlier.transaction() as connection:
        migrate._upgrade(connection, "0003")
        connection.exec_driver_sql(
            "INSERT INTO runs (project, subject, metric, window_start, window_end, attempt, status, worker, "
            "lease_until, started_at, rows) VALUES ('shop', 's', 'm', '2026-01-01', '2026-01-02', 1, 'success', 'w', "
            "'2026-01-02', '2026-01-02', 7)"
        )
    earlier.close()
    store = open_store(url)
    with store.reading() as connection:
        assert list(connection.exec_driver_sql("SELECT rows, bytes FROM runs")) == [(7, None)]
    store.close()


def test_a_store_of_a_later_version_is_refused(url: str) -> None:
    store = open_store(url)
    with store.transaction() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    store.close()
    with pytest.raises(StoreError, match=r"made by a later version .*revision 9999.*upgrade this one"):
        open_store(url)


_OPEN = """
import sys
from tallystick.store.database import open_store
sys.stdin.readline()
open_store(sys.argv[1]).close()
print("alembic" in sys.modules)
"""


def test_several_processes_open_a_new_store_at_once(url: str) -> None:
    command = [sys.executable, "-c", _OPEN, url]
    opening = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    for process in opening:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    assert [process.communicate(timeout=60)[0] and process.returncode for process in opening] == [0, 0, 0]
    again = subprocess.run(command, input="go\n", capture_output=True, text=True, check=True)
    assert again.stdout == "False\n"  # a store that is up to date is opened without Alembic


# -- where it is ------------------------------------------------------------------------------------------------------


def test_the_default_is_a_file_of_the_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(database.VARIABLE, raising=False)
    store = open_store(root=tmp_path)
    assert (store.name, store.is_sqlite) == (str(tmp_path / ".tally" / "tally.db"), True)
    with store.reading() as connection:
        settings = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in ("journal_mode", "foreign_keys")
        }
    assert settings == {"journal_mode": "wal", "foreign_keys": 1}
    store.close()


def test_the_environment_names_a_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(database.VARIABLE, f"sqlite:///{tmp_path / 'team.db'}")
    store = open_store(root=tmp_path / "elsewhere")
    store.close()
    assert (tmp_path / "team.db").exists() and not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize(
    "url", ["mysql://bob:hunter2@host/db", "://bob:hunter2@host", "postgresql://bob:hunter2@h:x/db"]
)
def test_other_urls_are_refused_without_repeating_them(url: str) -> None:
    with pytest.raises(StoreError, match="postgresql://") as caught:
        open_store(url)
    assert "hunter2" not in str(caught.value)


def test_a_missing_driver_says_which_extra_brings_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(MissingDriverError, match=r"tallystick\[postgres\]"):
        open_store("postgresql://host/db")


# -- failures ---------------------------------------------------------------------------------------------------------


def test_a_server_that_cannot_be_reached_is_named_without_the_password() -> None:
    with pytest.raises(StoreError, match=r"the store at 127.0.0.1:1/db cannot be reached") as caught:
        open_store("postgresql://bob:hunter%402@127.0.0.1:1/db")
    assert "hunter" not in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_database_that_does_not_exist(postgres_server: str) -> None:
    with pytest.raises(StoreError) as caught:
        open_store(postgres_server.replace("/postgres?", "/nowhere?").replace("postgres:@", "postgres:hunter2@"))
    assert "nowhere" in str(caught.value) and "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "content", [b"this is a letter, not a database" * 100, b"SQLite format 3\x00" + b"\xff" * 5000]
)
def test_a_damaged_file(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "tally.db"
    path.write_bytes(content)
    with pytest.raises(StoreError, match=r"some other file|damaged|refused"):
        open_store(f"sqlite:///{path}")
    assert path.read_bytes() == content


def test_a_folder_in_its_place(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="cannot be opened"):
        open_store(f"sqlite:///{tmp_path}")
    (tmp_path / "file").write_text("x", encoding="utf-8")
    with pytest.raises(StoreError, match="folder cannot be made"):
        open_store(f"sqlite:///{tmp_path}/file/tally.db")


def test_a_locked_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "tally.db"
    open_store(f"sqlite:///{path}").close()
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    monkeypatch.setattr(database, "BUSY_SECONDS", 0.01)
    store = open_store(f"sqlite:///{path}")  # reading waits for nobody
    with pytest.raises(StoreError, match="another process holds the store"):
        write(store, "revenue", 1)
    holder.close()
    write(store, "revenue", 1)
    store.close()


def test_a_full_disk_loses_nothing(tmp_path: Path) -> None:
    store = open_store(f"sqlite:///{tmp_path / 'tally.db'}")
    write(store, "revenue", 10)
    with store.reading() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()

    def limit(most: int) -> None:
        with store.reading() as connection:
            connection.exec_driver_sql(f"PRAGMA max_page_count = {most}")

    limit(pages + 2)
    with pytest.raises(StoreError, match=r"disk below the store is full .*free some space"):
        write(store, "orders", 5000)
    limit(1_000_000)
    with store.reading() as connection:
        assert len(series.read_points(connection, "shop", Wanted(metric="revenue", grain=Grain.HOUR))) == 10
        assert series.read_points(connection, "shop", Wanted(metric="orders", grain=Grain.HOUR)) == ()
        assert connection.exec_driver_sql("PRAGMA integrity_check").scalar() == "ok"
    write(store, "orders", 5000)
    store.close()


def test_what_was_committed_is_on_the_disk(tmp_path: Path) -> None:
    store = open_store(f"sqlite:///{tmp_path / 'tally.db'}")
    with store.reading() as connection:
        settings = [connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in ("journal_mode", "synchronous")]
    assert settings == ["wal", 2]  # FULL: the log is flushed before a commit is told
    store.close()


_KILLED = """
import os, sys
from datetime import UTC, datetime, timedelta
from sqlalchemy import event
from tallystick.compiler.series import Point, PointState, Wanted
from tallystick.sql.grain import Grain
from tallystick.store import runs, series, watermarks
from tallystick.store.database import open_store

url, last = sys.argv[1], int(sys.argv[2])
store = open_store(url)
start = datetime(2026, 1, 1, tzinfo=UTC)
end = start + timedelta(hours=3)
wanted = Wanted(metric="revenue", grain=Grain.HOUR)
left = last

def die(*_):
    global left
    left -= 1
    if left < 0:
        os.kill(os.getpid(), 9)

event.listen(store._engine, "after_cursor_execute", die)
with store.transaction() as connection:
    run = runs.claim(connection, runs.key_of("shop", wanted, start, end), "w", datetime.now(UTC), timedelta(0))
with store.transaction() as connection:
    points = [Point(bucket=start + timedelta(hours=hour), value=hour, n=1) for hour in range(3)]
    series.replace_window(connection, "shop", wanted, start, end, points, definition_hash="aaaa",
                          state_of=lambda _: PointState.FINAL, collected_at=start)
    watermarks.advance(connection, "shop", wanted, end)
    runs.finish(connection, run, runs.RunStatus.SUCCESS, now=start, rows=3)
print("done")
"""


def test_values_watermark_and_run_agree_after_a_kill_at_any_statement(url: str) -> None:
    from tallystick.store import runs, watermarks

    wanted = Wanted(metric="revenue", grain=Grain.HOUR)
    open_store(url).close()
    for statement in range(40):
        command = [sys.executable, "-c", _KILLED, url, str(statement)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        store = open_store(url)
        with store.reading() as connection:
            points = series.read_points(connection, "shop", wanted)
            mark = watermarks.get(connection, "shop", wanted)
            success = runs.list_runs(connection, "shop", status=runs.RunStatus.SUCCESS)
        store.close()
        assert (len(points), mark is not None, len(success)) in {(0, False, 0), (3, True, 1)}
        if done.returncode == 0:
            assert success
            break
        assert done.returncode == -9
    else:
        pytest.fail("the work was never finished")
    assert statement > 8
