"""The whole repository of metric-hub, wherever METRIC_HUB_REPO says a clone is."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from tallystick.compiler.metric_hub import legacy_sql
from tallystick.compiler.metric_hub.query import metrics_query
from tallystick.definitions.metric_hub.analysis import resolve_outcome
from tallystick.definitions.metric_hub.checking import resolve_somewhere
from tallystick.definitions.metric_hub.monitoring import resolve_project
from tallystick.definitions.metric_hub.nouns import Kind
from tallystick.definitions.metric_hub.repository import Repository, open_repository

CLONE = os.environ.get("METRIC_HUB_REPO")
pytestmark = pytest.mark.skipif(not CLONE, reason="METRIC_HUB_REPO names no clone of metric-hub")


@pytest.fixture(scope="module")
def whole() -> Repository:
    return open_repository(Path(CLONE))


def test_every_file_parses(whole):
    assert not [d for d in whole.diagnostics if d.severity == "error"]


def test_it_loads_in_a_second(whole):
    started = time.process_time()
    open_repository(whole.root)
    assert time.process_time() - started < 1.0


def test_every_metric_with_sql_is_written_in_half_a_second(whole):
    started, refused = time.process_time(), []
    for platform, spec in whole.shared.definitions.items():
        for name, metric in spec.metrics.items():
            if metric.depends_on:
                refused.append(name)
            else:
                assert legacy_sql.metrics_sql(metrics_query(whole.shared, [name], platform))
    assert time.process_time() - started < 0.5


def test_outcomes_and_projects_resolve(whole):
    jetstream, opmon = whole.tools["jetstream"], whole.tools["opmon"]
    failed = [key for key in jetstream.outcomes if resolve_outcome(jetstream, *key).errors]
    failed += [
        slug
        for slug, spec in opmon.configs.items()
        if spec.kind is Kind.MONITORING and resolve_project(opmon, slug).errors
    ]
    assert not failed


def test_nearly_every_experiment_resolves(whole):
    jetstream = whole.tools["jetstream"]
    failed = [slug for slug in jetstream.configs if resolve_somewhere(jetstream, slug).errors]
    assert len(failed) <= len(jetstream.configs) * 0.06, failed
