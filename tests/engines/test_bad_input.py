"""What goes wrong with servers: said in one line, with the way out, and never with a secret."""

from __future__ import annotations

import socket
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pyarrow as pa
import pytest

from live_engines import Live
from tallystick.definitions.project import Warehouse
from tallystick.engines.connect import connect, connect_server
from tallystick.engines.options import read_options, scrub
from tallystick.errors import (
    ConnectionFailedError,
    EngineError,
    MissingDriverError,
    TallystickError,
    WarehouseOptionError,
)
from tallystick.service.workspace import load

SECRET = "hunter2-of-the-warehouse"  # noqa: S105 - what must never be shown


def refused(engine: str, **options: str) -> TallystickError:
    with pytest.raises(TallystickError) as caught:
        connect_server(Warehouse(engine=engine, options=options))
    found = caught.value
    assert SECRET not in str(found)
    assert SECRET not in repr(found.__cause__)
    assert "\n" not in str(found)
    return found


def closed_port() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return str(free.getsockname()[1])


@pytest.mark.parametrize("engine", ["postgres", "clickhouse"])
def test_an_unreachable_host(engine: str) -> None:
    found = refused(engine, host="127.0.0.1", port=closed_port(), user="me", password=SECRET, connect_timeout="2")
    assert isinstance(found, ConnectionFailedError)
    assert "check host, port" in str(found)


def test_wrong_credentials_for_postgres(postgres_database: str) -> None:
    url = postgres_database.replace("postgres:@", f"nobody:{SECRET}@")
    found = refused("postgres", url=url)
    assert isinstance(found, ConnectionFailedError)
    assert "nobody" in str(found)


class Refusing(BaseHTTPRequestHandler):
    """Answers as ClickHouse does to a wrong password, and repeats it, as a proxy with a log may."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        answer = f"Code: 516. DB::Exception: me: {SECRET}: Authentication failed: password is incorrect."
        self.send_response(403)
        self.send_header("X-ClickHouse-Exception-Code", "516")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer.encode())

    def log_message(self, *_: object) -> None:
        """Stay silent."""


def test_wrong_credentials_for_clickhouse() -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), Refusing) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        found = refused("clickhouse", host="127.0.0.1", port=str(server.server_port), user="me", password=SECRET)
        server.shutdown()
    assert isinstance(found, ConnectionFailedError)
    assert "Authentication failed" in str(found)
    assert "***" in str(found)


def test_a_password_the_driver_repeats_is_hidden() -> None:
    # libpq quotes what it cannot parse; the password is part of that.
    found = refused("postgres", url=f"postgresql://me:{SECRET}@127.0.0.1:port/db")
    assert isinstance(found, EngineError)


def test_secrets_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WAREHOUSE_PASSWORD", SECRET)
    options = read_options("postgres", {"password": "env:WAREHOUSE_PASSWORD", "host": "db"}, ("password", "host"))
    assert options.get("password") == SECRET
    assert options.scrub(f"fatal: {SECRET} is wrong at db") == "fatal: *** is wrong at db"
    monkeypatch.delenv("WAREHOUSE_PASSWORD")
    with pytest.raises(WarehouseOptionError, match="WAREHOUSE_PASSWORD, which is not set"):
        read_options("postgres", {"password": "env:WAREHOUSE_PASSWORD"}, ("password",))


def test_an_address_hides_its_password_in_both_spellings() -> None:
    options = read_options("postgres", {"url": "postgresql://me:a%40b@db/x"}, ("url",))
    assert options.scrub("a@b and a%40b") == "*** and ***"
    assert scrub("nothing here", ()) == "nothing here"


def test_unknown_options_name_the_nearest() -> None:
    assert "did you mean 'password'?" in str(refused("postgres", pasword=SECRET))
    assert "must be a whole number" in str(refused("clickhouse", host="127.0.0.1", port="many"))


_TIME = "how long a query may take is 'timeout' in [collect]"
NAMED = "warehouse 'default':"
_NUMBER = "(write port = 10 or another number)"


@pytest.mark.parametrize(
    ("settings", "findings"),
    [
        (
            'engine = "postgres"\npasword = "env:SHOP"',
            ["3:1: error [unknown-setting] X: 'pasword' is not an option of postgres (did you mean 'password'?)"],
        ),
        (
            'engine = "postgress"\nhost = "db"',
            [
                "2:1: error [bad-value] 'postgress' is not an engine whose SQL can be written (did you mean 'postgres'?)",
                "2:1: error [unknown-setting] X: there is no engine 'postgress' (did you mean 'postgres'?)",
            ],
        ),
        ('host = "db"', ["2:1: error [unknown-setting] X: 'host' is not an option of duckdb (known: path, schema)"]),
        (
            'engine = "postgres"\nhots = "x"\ntime_out = 5\nport = "x"\nconnect_timout = 3\n[warehouse.options]\nusr = "me"',
            [
                "3:1: error [unknown-setting] X: 'hots' is not an option of postgres (did you mean 'host'?)",
                f"4:1: error [unknown-setting] X: 'time_out' is not an option of postgres ({_TIME})",
                f"5:1: error [bad-value] X: 'port' must be a whole number, not 'x' {_NUMBER}",
                "6:1: error [unknown-setting] X: 'connect_timout' is not an option of postgres "
                "(did you mean 'connect_timeout'?)",
                "8:1: error [unknown-setting] X: 'usr' is not an option of postgres (did you mean 'user'?)",
            ],
        ),
        (
            'engine = "clickhouse"\nsecure = "yes"\nport = "env:PORT"',
            ["3:1: error [bad-value] X: 'secure' must be true or false, not 'yes' (write secure = true)"],
        ),
        (
            'engine = "snowflake"\nuser = "me"',
            [
                "1:2: error [missing-key] X: snowflake needs 'account' "
                '(write account = "…", or "env:NAME" to take it from the environment)'
            ],
        ),
        (
            'engine = "trino"\nport = true\ncatalog = [1]\n[collect]\ntimeout = "abc"',
            [
                f"3:1: error [bad-value] X: 'port' must be a whole number, not 'true' {_NUMBER}",
                "4:1: error [wrong-type] 'catalog' must be text, a number, true or false, not a list",
                "6:1: error [bad-value] 'abc' is not a length of time (write a number and a unit, such as \"2 days\")",
            ],
        ),
    ],
)
def test_check_finds_all_wrong_settings_where_they_are_written(
    tmp_path: Path, settings: str, findings: list[str]
) -> None:
    (tmp_path / "tally.toml").write_text(f"[warehouse]\n{settings}\n")
    (tmp_path / "definitions").mkdir()
    (tmp_path / "definitions" / "shop.toml").write_text('[sources.orders]\ntable = "orders"\ntime = "at"\n')
    with load(tmp_path) as workspace:
        found = [finding for finding in workspace.check() if finding.file == "tally.toml"]
    expected = ["tally.toml:" + each.replace("X:", NAMED) for each in findings]
    assert [str(finding) for finding in found] == expected


def test_opening_a_warehouse_tells_all_that_is_wrong_with_its_settings(tmp_path: Path) -> None:
    (tmp_path / "tally.toml").write_text('[warehouse]\nengine = "postgres"\nhots = "x"\nport = "x"\n[entities.store]\n')
    with load(tmp_path) as workspace, pytest.raises(WarehouseOptionError) as caught:
        connect(workspace.project)
    assert str(caught.value) == (
        "tally.toml:3:1: warehouse 'default': 'hots' is not an option of postgres (did you mean 'host'?); "
        f"'port' must be a whole number, not 'x' {_NUMBER}"
    )


def test_a_missing_driver_names_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "psycopg", None)
    found = refused("postgres", host="127.0.0.1")
    assert isinstance(found, MissingDriverError)
    assert "pip install 'tallystick[postgres]'" in str(found)


def test_a_column_that_disappears(live: Live) -> None:
    live.load("shop.orders", pa.table({"amount": [1, 2], "kind": ["a", "b"]}))
    engine = live.open(read_only=True)
    engine.run("SELECT sum(amount) AS value FROM shop.orders")
    engine.close()
    live.load("shop.orders", pa.table({"kind": ["a", "b"]}))
    with pytest.raises(EngineError, match="amount"):
        live.open(read_only=True).run("SELECT sum(amount) AS value FROM shop.orders")


def test_a_column_that_changes_its_type(live: Live) -> None:
    live.load("shop.orders", pa.table({"amount": ["one", "two"]}))
    with pytest.raises(EngineError) as caught:
        live.open(read_only=True).run("SELECT sum(amount) AS value FROM shop.orders")
    assert "\n" not in str(caught.value)
