"""Merging: what metric-hub does, quirk by quirk, and what strict mode does instead."""

from __future__ import annotations

import pytest

from hub import BASE, expected, rows
from tallystick.compiler.metric_hub import legacy_sql
from tallystick.compiler.metric_hub.query import metrics_query
from tallystick.definitions.metric_hub.mode import Mode, Quirk
from tallystick.definitions.metric_hub.values import thaw

TABLES = {
    "metric": "metrics",
    "data_source": "data_sources",
    "segment": "segments",
    "segment_data_source": "segment_data_sources",
    "dimension": "dimensions",
}
DESKTOP = "definitions/firefox_desktop.toml"
QUIRKS = expected("quirk_cases")


def plain(name: str, value: object) -> object:
    if name == "joins" and value is not None:
        pairs = {
            key: (("relationship", j.relationship), ("on_expression", j.on_expression)) for key, j in value.items()
        }
        return {key: {name: text for name, text in pair if text is not None} for key, pair in pairs.items()}
    return thaw(value)


def names(value: object) -> object:
    if isinstance(value, dict) and set(value) == {"name"}:
        return value["name"]
    return [names(item) for item in value] if isinstance(value, list) else value


@pytest.mark.parametrize("merged", ["definitions", "jetstream"])
def test_every_field_of_every_definition_is_as_expected(repository, merged):
    collection = repository.shared if merged == "definitions" else repository.tools[merged]
    different, seen = [], 0
    for row in rows(f"merged_{merged}"):
        kind, platform, key = row.pop("kind"), row.pop("platform"), row.pop("key")
        definition = getattr(collection.definitions[platform], TABLES[kind])[key]
        seen += 1
        different += [
            (kind, platform, key, name)
            for name, value in row.items()
            if plain(name, getattr(definition, name))
            != (names(value) if name in ("data_source", "depends_on") else value)
        ]
    assert not different
    assert seen == sum(len(getattr(spec, t)) for spec in collection.definitions.values() for t in TABLES.values())


def overlay(text: str) -> dict[str, str]:
    return {DESKTOP: text}


def metric(collection, name="m1"):
    return collection.metric(name, "firefox_desktop")


FALSE = {**BASE, DESKTOP: BASE[DESKTOP].replace("deprecated = true", "deprecated = true\nbigger_is_better = false")}


@pytest.mark.parametrize(
    ("case", "base", "text"),
    [
        ("merge_bool_bigger_is_better", FALSE, "[metrics.m1.statistics.sum]\n"),
        ("merge_bool_deprecated_unset", BASE, "[metrics.m1]\ndeprecated = false\n"),
    ],
)
def test_quirks_of_scalars(build, case, base, text):
    merged = metric(build(base, overlay(text)))
    for name, value in QUIRKS[case]["result"].items():
        assert plain(name, getattr(merged, name)) == value


def test_an_overlay_flips_the_direction_only_in_compat_and_says_so(build):
    text = "[metrics.m1.statistics.sum]\n"
    compat, strict = build(FALSE, overlay(text)), build(FALSE, overlay(text), mode=Mode.STRICT)
    assert metric(compat).bigger_is_better
    assert not metric(strict).bigger_is_better
    finding = next(d for d in compat.diagnostics if d.code == Quirk.DIRECTION_FLIPPED)
    assert (finding.file, finding.line) == (DESKTOP, 1)
    assert Quirk.DIRECTION_FLIPPED not in {d.code for d in strict.diagnostics}


def test_an_empty_override_counts_only_in_strict(build):
    text = '[metrics.m1]\nowner = ""\n'
    assert metric(build(BASE, overlay(text))).owner == QUIRKS["merge_empty_string"]["result"]
    assert metric(build(BASE, overlay(text), mode=Mode.STRICT)).owner == ""


def test_statistics_are_replaced_in_compat_and_added_in_strict(build):
    layers = [BASE, overlay("[metrics.m1.statistics.sum]\n"), overlay("[metrics.m1.statistics.mean]\n")]
    assert thaw(metric(build(*layers)).statistics) == QUIRKS["merge_statistics_replace"]["result"]
    assert thaw(metric(build(*layers, mode=Mode.STRICT)).statistics) == {"sum": {}, "mean": {}}
    unset = overlay("[metrics.m1.statistics.sum]\nunset = true\n")
    assert thaw(metric(build(*layers, unset, mode=Mode.STRICT)).statistics) == {"mean": {}}


def test_a_wildcard_renames_metrics_only_in_compat(build):
    text = "[metrics.'*'.statistics.client_count]\n"
    compat = build(BASE, overlay(text))
    assert {key: metric(compat, key).name for key in ("m1", "m2")} == {"m1": "*", "m2": "*"}
    sql = legacy_sql.metrics_sql(metrics_query(compat, ["m1"], "firefox_desktop"))
    assert sql == QUIRKS["merge_wildcard_metric_sql"]["result"]
    strict = build(BASE, overlay(text), mode=Mode.STRICT)
    assert metric(strict).name == "m1"
    assert thaw(metric(strict).statistics) == {"client_count": {}}


JOIN = "[data_sources.lb]\nfrom_expression = 'lb'\n[data_sources.'*'.joins.lb]\n"


@pytest.mark.parametrize(
    ("text", "joins"),
    [
        (JOIN + "[data_sources.d2.joins.d1]\n", {"d1": ["lb"], "d2": ["d1"]}),
        ("[data_sources.d2.joins.d1]\n" + JOIN, {"d1": ["lb"], "d2": ["lb"]}),
        (JOIN + "[data_sources.d2]\njoins = {}\n", {"d1": ["lb"], "d2": []}),
    ],
    ids=["specific-last", "wildcard-last", "cleared"],
)
def test_the_last_match_of_a_wildcard_wins(build, text, joins):
    merged = build(BASE, overlay(text)).definitions["firefox_desktop"].data_sources
    assert {key: list(merged[key].joins) for key in joins} == joins
    assert merged["lb"].joins is None


def test_a_pattern_that_matches_nothing_is_dropped_by_a_merge_only(build):
    files = overlay("[data_sources.'zz*']\nfriendly_name = 'x'\n")
    assert (
        list(build(files).definitions["firefox_desktop"].data_sources)
        == QUIRKS["wildcard_unmatched_dropped"]["result"]["alone"]
    )
    merged = build(BASE, files)
    assert list(merged.definitions["firefox_desktop"].data_sources) == ["d1", "d2"]
    assert Quirk.WILDCARD_UNMATCHED in {d.code for d in merged.diagnostics}


def test_patterns_are_those_of_file_names(build):
    text = "[data_sources.'d[12]']\nfriendly_name = 'any'\n[data_sources.'?1']\ndescription = 'one'\n"
    merged = build(BASE, overlay(text)).definitions["firefox_desktop"].data_sources
    assert [(s.friendly_name, s.description) for s in merged.values()] == [("any", "one"), ("any", None)]


OUTCOME = "friendly_name = 'o'\ndescription = 'o'\n"


def test_outcomes_are_merged_by_slug_alone_in_compat(build):
    layers = [{**BASE, "outcomes/fenix/o.toml": OUTCOME}, {"outcomes/firefox_ios/o.toml": OUTCOME}]
    assert [list(key) for key in build(*layers).outcomes] == QUIRKS["outcome_merge_by_slug_only"]["result"]
    assert set(build(*layers, mode=Mode.STRICT).outcomes) == {("fenix", "o"), ("firefox_ios", "o")}


def test_functions_toml_is_a_platform_only_in_compat(build):
    assert set(build(BASE).platforms) == set(QUIRKS["functions_toml_platform"]["result"])
    assert build(BASE, mode=Mode.STRICT).platforms == ("firefox_desktop",)


def test_every_field_knows_the_line_that_gave_it(repository):
    merged = repository.tools["jetstream"].metric("user_reload_count", "fenix")
    found = {name: str(merged.places[name]) for name in ("statistics", "select_expression", "bigger_is_better")}
    assert found == {
        "statistics": "jetstream/definitions/fenix.toml:114:28",
        "select_expression": "definitions/fenix.toml:135:1",
        "bigger_is_better": "jetstream/definitions/fenix.toml:114:10",
    }


def test_merging_changes_neither_side(build):
    base = build(BASE)
    before = metric(base)
    build(BASE, overlay("[metrics.m1]\nfriendly_name = 'changed'\n"))
    assert metric(base) == before
