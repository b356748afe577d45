"""The cache of rendered SQL: anything that could change the text misses, anything odd is not there."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tallystick.definitions.load import load
from tallystick.definitions.made import Made
from tallystick.service import render_cache
from tallystick.service.render import render_project
from tallystick.service.render_request import Rendering, RenderRequest

NOW = datetime(2026, 1, 15, 12, tzinfo=UTC)
REQUEST = RenderRequest(metric="orders", grain="day")

FILES = {
    "tally.toml": '[project]\nname = "shop"\n[sources.sales]\ntable = "sales"\ntime = "sold_at"\n',
    "definitions/metrics.toml": '[metrics.orders]\nsource = "sales"\nexpr = "count(*)"\nwhere = "paid = true"\n',
    "definitions/more/money.toml": '[metrics.revenue]\nref = "revenue.sql"\nsources = ["sales"]\n'
    '[sources.refunds]\nfile = "refunds.sql"\n',
    "definitions/more/refunds.sql": "select * from sales where price < 0",
    "metrics/revenue.sql": "select @metrics_sample_date(sold_at) as metrics_sample_date, sum(price) as amount "
    "from sales where sold_at between @metrics_start('DATE') and @metrics_end('DATE') group by 1",
    "metrics/returns.sql": "-- ---\n-- sources = ['sales']\n-- ---\nselect count(*) as amount from sales",
}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "shop"
    for name, text in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def entries(project: Path) -> list[Path]:
    return sorted((project / ".tally" / "cache").glob("render-*"))


def render(project: Path, request: RenderRequest = REQUEST, now: datetime = NOW) -> Rendering:
    return render_project(project, request, clock=lambda: now)


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Record every time a project is really loaded."""
    found: list[Path] = []

    def counted(path: Path, made: Callable[[str], Made] | None = None) -> object:
        found.append(path)
        return load(path, made)

    monkeypatch.setattr("tallystick.definitions.load.load", counted)
    return found


def test_a_second_time_nothing_is_loaded_and_the_answer_is_the_same(project: Path, loads: list[Path]) -> None:
    first = render(project)
    second = render(project)
    assert first == second
    assert first.left_out == 0
    assert "paid" in second.models[0].sql
    assert len(loads) == 1


@pytest.mark.parametrize("name", FILES)
def test_a_change_of_any_definition_file_misses(project: Path, loads: list[Path], name: str) -> None:
    render(project)
    with (project / name).open("a", encoding="utf-8") as file:
        file.write("\n")
    render(project)
    assert len(loads) == 2


def test_a_changed_condition_is_in_the_answer(project: Path) -> None:
    render(project)
    path = project / "definitions" / "metrics.toml"
    path.write_text(path.read_text(encoding="utf-8").replace("paid", "shipped"), encoding="utf-8")
    assert "shipped" in render(project).models[0].sql


def test_a_file_of_the_same_size_and_age_misses(project: Path) -> None:
    render(project)
    path = project / "definitions" / "metrics.toml"
    before = path.stat()
    path.write_text(path.read_text(encoding="utf-8").replace("paid", "sent"), encoding="utf-8")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert "sent" in render(project).models[0].sql


@pytest.mark.parametrize("change", ["new", "gone", "renamed"])
def test_files_that_come_and_go_miss(project: Path, loads: list[Path], change: str) -> None:
    render(project)
    returns = project / "metrics" / "returns.sql"
    match change:
        case "new":
            (project / "definitions" / "extra.toml").write_text("", encoding="utf-8")
        case "gone":
            returns.unlink()
        case _:
            returns.rename(returns.with_name("sent_back.sql"))
    render(project)
    assert len(loads) == 2


OTHER_REQUESTS: dict[str, Callable[[RenderRequest], RenderRequest]] = {
    "dialect": lambda request: replace(request, dialect="snowflake"),
    "grain": lambda request: replace(request, grain="week"),
    "start": lambda request: replace(request, start="2025-01-01"),
    "end": lambda request: replace(request, start="2025-01-01", end="2025-06-01"),
    "full": lambda request: replace(request, full=True),
    "all": lambda request: RenderRequest(metric="orders", every=True),
}


@pytest.mark.parametrize("name", OTHER_REQUESTS)
def test_another_request_misses(project: Path, loads: list[Path], name: str) -> None:
    first = render(project)
    other = render(project, OTHER_REQUESTS[name](REQUEST))
    assert len(loads) == 2
    assert other != first or name == "all"


def test_other_dates_give_other_text(project: Path) -> None:
    texts = {
        render(project, replace(REQUEST, start=start, end=end)).models[0].sql
        for start, end in [("2025-01-01", "2025-02-01"), ("2025-01-02", "2025-02-01"), ("2025-01-01", "2025-02-02")]
        for _ in range(2)
    }
    assert len(texts) == 3


def test_text_bound_to_the_running_clock_is_not_kept(project: Path, loads: list[Path]) -> None:
    full = replace(REQUEST, full=True)
    early, late = (render(project, full, NOW.replace(hour=hour)).models[0].sql for hour in (12, 13))
    assert early != late
    assert len(loads) == 2
    assert entries(project) == []


def test_an_end_in_the_past_no_longer_depends_on_the_clock(project: Path, loads: list[Path]) -> None:
    past = replace(REQUEST, start="2025-01-01", end="2025-06-01")
    assert render(project, past) == render(project, past, NOW.replace(year=2027))
    assert len(loads) == 1
    assert render(project, past, NOW.replace(year=2025, month=2)) != render(project, past)


def test_a_fixed_clock_is_kept(project: Path, loads: list[Path]) -> None:
    settings = project / "tally.toml"
    settings.write_text(FILES["tally.toml"].replace("[sources", "as_of = 2025-12-01\n[sources"), encoding="utf-8")
    full = replace(REQUEST, full=True)
    assert render(project, full) == render(project, full, NOW.replace(year=2027))
    assert len(loads) == 1


@pytest.mark.parametrize("damage", [b"", b"x", b"tally render 1\n", b"tally render 1\nabc\nxyz", None])
def test_a_damaged_entry_is_ignored(project: Path, damage: bytes | None) -> None:
    good = render(project)
    (entry,) = entries(project)
    content = entry.read_bytes()
    for broken in [damage] if damage is not None else [content[:-5], content[:-1] + b"?", content + b"!"]:
        entry.write_bytes(broken)
        assert render_cache.recall(project, entry.name.removeprefix("render-"), NOW) is None
        assert render(project) == good


def test_a_well_signed_entry_of_another_shape_is_ignored(project: Path) -> None:
    import json
    import zlib
    from hashlib import sha256

    render(project)
    (entry,) = entries(project)
    for value in ([], {}, {"models": [["x"]], "failures": [], "left_out": 0, "from": None}, {"from": 3}, None):
        packed = zlib.compress(json.dumps(value).encode())
        entry.write_bytes(b"tally render 1\n" + sha256(packed).hexdigest().encode() + b"\n" + packed)
        assert render_cache.recall(project, entry.name.removeprefix("render-"), NOW) is None


def test_a_folder_that_cannot_be_written_does_not_matter(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "mkdir", refuse)
    assert "paid" in render(project).models[0].sql
    assert not (project / ".tally").exists()


def test_a_file_where_the_folder_should_be_does_not_matter(project: Path) -> None:
    (project / ".tally").write_text("", encoding="utf-8")
    assert "paid" in render(project).models[0].sql


def test_a_failed_write_leaves_nothing_behind(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", fail)
    assert render(project).models
    assert entries(project) == []


def test_the_number_of_entries_is_bounded(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(render_cache, "MAX_ENTRIES", 3)
    for month in range(1, 8):
        render(project, replace(REQUEST, start=f"2025-{month:02d}-01", end="2025-12-01"))
    assert len(entries(project)) == 3


def test_the_cache_keeps_itself_out_of_version_control(project: Path) -> None:
    render(project)
    assert (project / ".tally" / ".gitignore").read_text(encoding="utf-8") == "*\n"


def test_a_registry_is_never_kept(project: Path, loads: list[Path]) -> None:
    registry = "from metrics_tools.factory import timeseries_metrics, MetricQueryDef\ntimeseries_metrics()\n"
    (project / "metrics_factories.py").write_text(registry, encoding="utf-8")
    render(project)
    render(project)
    assert len(loads) == 2
    assert entries(project) == []


def test_too_many_files_are_not_kept(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(render_cache, "MAX_FILES", 2)
    assert render_cache.key_of(project, REQUEST) is None


def test_everything_a_project_is_read_from_is_in_the_key(project: Path) -> None:
    """The soundness of the cache: no file may be read by the loader that the key does not cover."""
    (project / "definitions" / "deep" / "er").mkdir(parents=True)
    (project / "definitions" / "deep" / "er" / "x.toml").write_text("", encoding="utf-8")
    (project / "registry.py").write_text("x = 1\n", encoding="utf-8")
    opened: set[Path] = set()
    recording = True

    def listen(event: str, arguments: tuple[object, ...]) -> None:
        if recording and event == "open" and isinstance(arguments[0], str | os.PathLike):
            opened.add(Path(os.fsdecode(arguments[0])).resolve())

    sys.addaudithook(listen)  # hooks cannot be removed, so this one falls silent
    load(project)
    recording = False
    read = {path for path in opened if path.is_relative_to(project.resolve()) and path.is_file()}
    assert len(read) >= len(FILES)
    assert read <= {path.resolve() for path in render_cache.definition_files(project) or []}


def test_a_cached_answer_imports_neither_parser_nor_engine(project: Path) -> None:
    import subprocess

    render_project(project, REQUEST)
    code = (
        "import sys; from pathlib import Path; from tallystick.service.render import render_project;"
        "from tallystick.service.render_request import RenderRequest as R;"
        f"render_project(Path({str(project)!r}), R(metric='orders', grain='day'));"
        "sys.exit(bool({'sqlglot', 'pyarrow', 'duckdb', 'pydantic', 'numpy'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_loop_of_links_ends(project: Path) -> None:
    (project / "definitions" / "loop").symlink_to(project, target_is_directory=True)
    assert render_cache.key_of(project, REQUEST) is not None
