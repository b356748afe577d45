from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tallystick.errors import UnknownNameError, UsageError
from tallystick.service.render_diff import ModelDiff, render_diff
from tallystick.service.render_request import RenderRequest

SETTINGS = '[sources.sales]\ntable = "sales"\ntime = "sold_at"\n'
ORDERS = '[metrics.orders]\nsource = "sales"\nexpr = "count(*)"\nwhere = "paid = true"\n'
REVENUE = '[metrics.revenue]\nsource = "sales"\nexpr = "sum(price)"\n'
ONE = RenderRequest(metric="orders")
ALL = RenderRequest(every=True)


def changed(folder: Path, old: str, request: RenderRequest) -> tuple[ModelDiff, ...]:
    return render_diff(folder, old, request).models


def write(folder: Path, orders: str = ORDERS, revenue: str = REVENUE) -> Path:
    (folder / "definitions").mkdir(parents=True, exist_ok=True)
    (folder / "tally.toml").write_text(SETTINGS, encoding="utf-8")
    (folder / "definitions" / "orders.toml").write_text(orders, encoding="utf-8")
    (folder / "definitions" / "revenue.toml").write_text(revenue, encoding="utf-8")
    return folder


@pytest.fixture
def new(tmp_path: Path) -> Path:
    return write(tmp_path / "new")


@pytest.fixture
def old(tmp_path: Path) -> Path:
    return write(tmp_path / "old", orders=ORDERS.replace("paid", "sent"))


def git(folder: Path, *arguments: str) -> None:
    names = {"GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@example.org"}
    names |= {key.replace("AUTHOR", "COMMITTER"): value for key, value in names.items()}
    plain = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
    subprocess.run(
        ["git", "-C", str(folder), *arguments],  # noqa: S607 - whichever git there is
        check=True,
        capture_output=True,
        env={**os.environ, **names, **plain},
    )


@pytest.fixture
def versioned(tmp_path: Path) -> Path:
    """A project in a folder of a repository, changed since its first commit."""
    repository = tmp_path / "repository"
    project = write(repository / "metrics", orders=ORDERS.replace("paid", "sent"))
    git(repository.parent, "init", "-q", str(repository))
    git(repository, "add", "-A")
    git(repository, "commit", "-qm", "first")
    write(project)
    git(repository, "commit", "-qam", "second")
    return project


def test_two_folders(new: Path, old: Path) -> None:
    (found,) = changed(new, str(old), ONE)
    assert (found.model, found.change) == ("orders_to_all_daily", "changed")
    lines = found.diff.splitlines()
    assert lines[0] == f"--- {old}/orders_to_all_daily"
    assert lines[1] == "+++ orders_to_all_daily"
    assert any(line.startswith("-") and "sales.sent" in line for line in lines)
    assert any(line.startswith("+") and "sales.paid" in line for line in lines)


def test_no_difference(new: Path) -> None:
    assert changed(new, str(new), ALL) == ()


def test_only_models_that_differ_are_told(new: Path, old: Path) -> None:
    assert [found.model for found in changed(new, str(old), ALL)] == ["orders_to_all_daily"]


def test_models_that_come_and_go(new: Path, old: Path) -> None:
    (old / "definitions" / "revenue.toml").write_text(REVENUE.replace("revenue", "income"), encoding="utf-8")
    found = {one.model: one for one in changed(new, str(old), ALL)}
    assert found["revenue_to_all_daily"].change == "added"
    assert found["revenue_to_all_daily"].diff.startswith("--- /dev/null\n")
    assert found["income_to_all_daily"].change == "removed"
    assert "+++ /dev/null" in found["income_to_all_daily"].diff


def test_a_metric_that_is_new(new: Path, old: Path) -> None:
    (old / "definitions" / "orders.toml").unlink()
    assert [found.change for found in changed(new, str(old), ONE)] == ["added"]


def test_a_name_that_neither_side_knows(new: Path, old: Path) -> None:
    with pytest.raises(UnknownNameError) as raised:
        changed(new, str(old), RenderRequest(metric="ordres"))
    assert raised.value.hint == "did you mean 'orders'?"


def test_a_former_state_of_one_file(new: Path, old: Path) -> None:
    (found,) = changed(new, str(old / "definitions" / "orders.toml"), ALL)
    assert found.model == "orders_to_all_daily"


def test_a_file_that_is_a_project(new: Path, tmp_path: Path) -> None:
    whole = tmp_path / "whole.toml"
    whole.write_text(SETTINGS + ORDERS.replace("count(*)", "sum(1)") + REVENUE, encoding="utf-8")
    assert [found.model for found in changed(new, str(whole), ALL)] == ["orders_to_all_daily"]


def test_a_file_of_all_definitions_is_compared_under_the_settings_of_the_project(new: Path, tmp_path: Path) -> None:
    (new / "definitions" / "orders.toml").write_text(SETTINGS + ORDERS, encoding="utf-8")
    (new / "tally.toml").write_text('[defaults]\ngrains = ["week", "month"]\n', encoding="utf-8")
    for name in ("orders.toml", "before.toml"):
        former = tmp_path / name
        former.write_text(SETTINGS + ORDERS.replace("paid", "sent"), encoding="utf-8")
        found = changed(new, str(former), RenderRequest(metric="orders", every=True))
        assert [(one.model, one.change) for one in found] == [
            ("orders_to_all_weekly", "changed"),
            ("orders_to_all_monthly", "changed"),
        ]


def test_a_file_that_stands_for_nothing(new: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.toml"
    other.write_text(ORDERS, encoding="utf-8")
    with pytest.raises(UsageError, match=r"no file named other\.toml"):
        changed(new, str(other), ALL)


def test_a_git_revision(versioned: Path) -> None:
    (found,) = changed(versioned, "HEAD~1", ALL)
    assert "-  sales.sent" in found.diff
    assert changed(versioned, "HEAD", ALL) == ()


def test_uncommitted_changes_against_head(versioned: Path) -> None:
    write(versioned, revenue=REVENUE.replace("price", "net_price"))
    assert [found.model for found in changed(versioned, "HEAD", ALL)] == ["revenue_to_all_daily"]


@pytest.mark.parametrize("odd", ["nowhere", "--all", "-p", "HEAD~99", "HEAD:metrics", "", "HEAD; echo x"])
def test_what_is_neither_folder_nor_file_nor_revision(versioned: Path, odd: str, tmp_path: Path) -> None:
    cwd = tmp_path / "elsewhere"
    cwd.mkdir()
    with pytest.raises(UsageError):
        changed(versioned, odd or str(cwd / "nothing"), ALL)


def test_a_folder_without_version_control(new: Path) -> None:
    with pytest.raises(UsageError, match="neither a folder"):
        changed(new, "HEAD~1", ALL)


def test_mistakes_on_either_side_are_counted(new: Path, old: Path) -> None:
    write(old, orders=ORDERS.replace('"sales"', '"nothing"'))
    found = render_diff(new, str(old), ALL)
    assert (found.errors, found.errors_before) == (0, 1)
    assert [one.change for one in found.models] == ["added"]
    back = render_diff(old, str(new), ALL)
    assert (back.errors, back.errors_before, [one.change for one in back.models]) == (1, 0, ["removed"])
