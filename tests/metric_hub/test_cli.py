"""`tally metric-hub`: plans and SQL on stdout, findings on stderr."""

from __future__ import annotations

import json
import subprocess

from typer.testing import CliRunner

from tallystick import metric_hub
from tallystick.cli.metric_hub import app
from tallystick.errors import UnknownNameError, UsageError

SLUG = "all-users-day-5-reengagement-push-2-ai-controls"


def run(part, *arguments: str):
    return CliRunner().invoke(app, [*arguments, "--project", str(part)])


def test_an_experiment_is_planned_and_written(part):
    done = run(
        part,
        "experiment",
        SLUG,
        "--start",
        "2026-01-01",
        "--enrollments",
        "my.enrollments",
        "--app-id",
        "org_mozilla_firefox",
    )
    assert done.exit_code == 0, done.stderr
    assert "-- app: fenix" in done.stdout
    assert "per_client_dau_impact" in done.stdout
    assert "-- enrollments → my.enrollments\nWITH raw_enrollments AS (" in done.stdout
    assert "-- exposures\n" in done.stdout
    assert "FROM my.enrollments AS e" in done.stdout


def test_a_plan_is_data(part):
    done = run(part, "experiment", SLUG, "--no-sql", "--format", "json")
    plan = json.loads(done.stdout)["plan"]
    assert {row["period"] for row in plan} == {"day", "week", "overall", "preenrollment_week", "preenrollment_days28"}
    assert {"metric", "statistic", "bases"} <= set(plan[0])


def test_what_cannot_be_resolved_is_on_stderr(part):
    done = run(part, "experiment", "window-modal-vs-tab-modal", "--no-sql")
    assert done.exit_code == 1
    assert (
        "jetstream/window-modal-vs-tab-modal.toml:2:11: error [mh-unresolved] Could not locate metric imported_bookmarks"
        in done.stderr
    )


def test_a_project_is_printed_with_its_sql(part):
    done = run(part, "opmon", "mozilla_vpn", "--day", "2024-01-05")
    assert done.exit_code == 0, done.stderr
    assert "-- population: base_table" in done.stdout
    assert "\n-- statistic session_count.sum\nSELECT" in done.stdout
    assert json.loads(run(part, "opmon", "mozilla_vpn", "--format", "json", "--no-sql").stdout)["summaries"]


def test_wrong_words_are_refused(part):
    assert isinstance(run(part, "experiment", "nope").exception, UnknownNameError)
    assert isinstance(run(part, "opmon", "mozilla_vpn", "--day", "soon").exception, UsageError)


def test_dates_come_from_one_log(tmp_path):
    (tmp_path / "definitions").mkdir()
    (tmp_path / "definitions" / "a b.toml").write_text("[metrics]\n", encoding="utf-8")
    assert metric_hub.load(tmp_path).last_modified() == {}
    for command in (["init", "-q"], ["add", "-A"], ["-c", "user.name=x", "-c", "user.email=x@y", "commit", "-qm", "x"]):
        subprocess.run(
            ["git", "-C", str(tmp_path), *command],  # noqa: S607
            check=True,
            env={
                "GIT_COMMITTER_DATE": "2024-01-02T03:04:05Z",
                "GIT_AUTHOR_DATE": "2024-01-02T03:04:05Z",
                "PATH": "/usr/bin:/bin",
                "HOME": str(tmp_path),
            },
        )
    assert {name: when.isoformat() for name, when in metric_hub.load(tmp_path).last_modified().items()} == {
        "definitions/a b.toml": "2024-01-02T03:04:05+00:00"
    }
    assert metric_hub.file_dates(tmp_path / "definitions").keys() == {"a b.toml"}
