"""The documentation site: every definition, its SQL, where it comes from, and nothing from elsewhere."""

from __future__ import annotations

import re

import pytest

from tallystick.definitions.metric_hub.repository import open_repository
from tallystick.interop.docs_site import site, write_site


@pytest.fixture(scope="module")
def repository(pytestconfig):
    return open_repository(pytestconfig.rootpath / "tests" / "fixtures" / "metric_hub" / "repo")


@pytest.fixture(scope="module")
def pages(repository):
    return site(repository)


def test_there_is_a_page_per_platform(pages):
    assert sorted(pages) == sorted(
        [
            *(f"{p}.html" for p in ("ads", "fenix", "focus_android", "focus_ios", "multi_product")),
            "functions.html",
            "index.html",
            "jetstream-outcomes.html",
        ]
    )


def test_every_definition_is_on_its_page(repository, pages):
    for platform, spec in repository.shared.definitions.items():
        for name in [*spec.metrics, *spec.data_sources, *spec.segments, *spec.dimensions]:
            assert f'<section id="{name}"' in pages[f"{platform}.html"]


def test_a_metric_shows_owner_state_and_what_tools_change(pages):
    (section,) = re.findall(r'<section id="user_reload_count".*?</section>', pages["fenix.html"], re.DOTALL)
    assert "changed in jetstream<dd>statistics (jetstream/definitions/fenix.toml:114:10)" in section
    assert "defined in<dd>definitions/fenix.toml:133:10" in section
    assert "WITH events AS (" in section
    assert "deprecated" in pages["fenix.html"]


def test_texts_are_escaped_and_nothing_is_loaded(pages):
    for text in pages.values():
        assert not re.search(r'<(script|link|img)[^>]+(src|href)="?https?:', text)
    assert "&lt;" in pages["fenix.html"]


def test_pages_are_written(repository, tmp_path):
    assert write_site(repository, tmp_path / "site") == 8
    assert (tmp_path / "site" / "index.html").read_text(encoding="utf-8").startswith("<!doctype html>")
