"""Definitions in OSO's style give what plain loops over the events give, for every view and entity (spec oso §5–§7)."""

from __future__ import annotations

from datetime import date, datetime, timedelta

import pytest

import oso_world as world
from oso_world import END, START, build, connect, events, grouped, members, samples, table
from tallystick.compiler.model import Model, TimeView
from tallystick.sql.calendar import shift_date
from tallystick.sql.grain import Grain, Window, WindowUnit

EVENTS = events()
INSTANTS = [
    (datetime(2024, 1, 31, 23, 59, 59, 999999), "GITHUB", "a1"),
    (datetime(2024, 2, 1), "GITHUB", "a1"),
    (datetime(2024, 2, 10, 12), "GITHUB", "a2"),
    (datetime(2023, 12, 31, 23, 59), "GITHUB", "a5"),
]
ENTITIES = ["artifact", "project", "collection"]
GRAINS = [TimeView(grain=g) for g in (Grain.DAY, Grain.WEEK, Grain.MONTH, Grain.QUARTER, Grain.HALF, Grain.YEAR)]
WEEKS_AND_MONTHS = [TimeView(grain=Grain.WEEK), TimeView(grain=Grain.MONTH)]


@pytest.fixture(scope="module")
def con():
    connection = connect(EVENTS, INSTANTS)
    build(connection, world.project())
    return connection


def of_type(*kinds):
    return [row for row in EVENTS if row[1] in kinds]


def total(rows):
    return sum(row[5] for row in rows)


def length(sample, time):
    """Return the days a sample covers: those of its bucket, up to the end of what was asked for (spec oso §9.12)."""
    if time.grain is not None:
        return (min(shift_date(sample, time.grain, 1), END) - sample).days
    return time.window.days if time.window is not None else (END - START).days


@pytest.mark.parametrize("entity", ENTITIES)
@pytest.mark.parametrize(
    "time", [*GRAINS, TimeView(window=Window(3)), TimeView(window=Window(7)), TimeView()], ids=lambda t: t.suffix
)
def test_sums_by_every_view(con, entity, time):
    found = table(con, Model("stars", entity, time).name, entity)
    assert found == grouped(of_type("STARRED"), entity, time, total)
    assert found


@pytest.mark.parametrize("entity", ENTITIES)
def test_windows_of_a_month_reach_back_a_whole_month(con, entity):
    time = TimeView(window=Window(1, WindowUnit.MONTH))
    assert table(con, f"commits_to_{entity}_over_1_month_window", entity) == grouped(
        of_type("COMMIT_CODE"), entity, time, total
    )


@pytest.mark.parametrize("entity", ENTITIES)
def test_a_renamed_metric_keeps_its_key_in_rows(con, entity):
    rows = con.execute(f"SELECT DISTINCT metric FROM oso.commits_again_to_{entity}_daily").fetchall()
    assert rows == [("renamed_daily",)]


def active_days(entity, time):
    """Return the active days of each person by sample date, source and entity."""
    found = {}
    for row in of_type("COMMIT_CODE", "ISSUE_OPENED"):
        for group in members(entity).get(row[3], ()):
            for sample in samples(row[0], time):
                found.setdefault((sample, row[2], group, row[4]), set()).add(row[0])
    return {key: len(days) for key, days in found.items()}


def classes(entity, time, name):
    """Count people by whether they act on two days in seven or more."""
    found = {}
    for (sample, source, group, _), days in active_days(entity, time).items():
        kind = "full_timers" if days / length(sample, time) >= 2 / 7 else "part_timers"
        if kind == name:
            found[(sample, source, group)] = found.get((sample, source, group), 0) + 1
    return found


@pytest.mark.parametrize("entity", ENTITIES)
@pytest.mark.parametrize("time", [*WEEKS_AND_MONTHS, TimeView(window=Window(7))], ids=lambda t: t.suffix)
def test_distinct_days_are_recomputed_for_each_entity(con, entity, time):
    query = f"SELECT metrics_sample_date, event_source, to_{entity}_id, from_artifact_id, amount FROM oso."
    rows = con.execute(query + Model("active_days", entity, time).name).fetchall()
    assert {tuple(row[:4]): row[4] for row in rows} == active_days(entity, time)


@pytest.mark.parametrize("entity", ENTITIES)
@pytest.mark.parametrize("name", ["full_timers", "part_timers"])
@pytest.mark.parametrize(
    ("key", "time"), [("classes", t) for t in WEEKS_AND_MONTHS] + [("rolling_classes", TimeView(window=Window(7)))]
)
def test_one_query_over_a_peer_puts_out_several_names(con, entity, name, key, time):
    query = f"SELECT metrics_sample_date, event_source, to_{entity}_id, amount FROM oso.{Model(key, entity, time).name}"
    rows = con.execute(f"{query} WHERE metric = '{name}_{time.suffix}'").fetchall()
    assert {tuple(row[:3]): row[3] for row in rows} == classes(entity, time, name)


@pytest.mark.parametrize("entity", ENTITIES)
@pytest.mark.parametrize("time", WEEKS_AND_MONTHS, ids=lambda t: t.suffix)
def test_changes_look_back_over_rows_of_a_peer(con, entity, time):
    full, part = classes(entity, time, "full_timers"), classes(entity, time, "part_timers")
    series = {}
    for sample, source, group in sorted({*full, *part}):
        series.setdefault((source, group), []).append((sample, full.get((sample, source, group), 0)))
    expected = {
        (sample, source, group): None if index == 0 else value - values[index - 1][1]
        for (source, group), values in series.items()
        for index, (sample, value) in enumerate(values)
    }
    query = f"SELECT metrics_sample_date, event_source, to_{entity}_id, amount FROM oso."
    name = Model("class_changes", entity, time).name
    rows = con.execute(f"{query}{name} WHERE metric = 'change_in_full_timers_{time.suffix}'").fetchall()
    assert {tuple(row[:3]): row[3] for row in rows} == expected


def test_changes_between_windows_meet_the_day_a_window_before(con):
    time = TimeView(window=Window(7))
    now = classes("project", time, "full_timers")
    query = "SELECT metrics_sample_date, event_source, to_project_id, amount FROM oso."
    name = "rolling_changes_to_project_over_7_day_window"
    label = "change_in_full_timers_over_7_day_window"
    rows = con.execute(f"{query}{name} WHERE metric = '{label}'").fetchall()
    assert {tuple(row[:3]): row[3] for row in rows} == {
        (sample, source, group): value - now.get((sample - timedelta(days=7), source, group), 0)
        for (sample, source, group), value in now.items()
    }


def fewest_for_half(rows):
    """Return how few people make half of the commits."""
    people = {}
    for row in rows:
        people[row[4]] = people.get(row[4], 0) + row[5]
    running, half = 0, sum(people.values()) / 2
    for place, amount in enumerate(sorted(people.values(), reverse=True), 1):
        running += amount
        if running >= half:
            return place
    raise AssertionError


@pytest.mark.parametrize("entity", ENTITIES)
@pytest.mark.parametrize("grain", [Grain.MONTH, Grain.YEAR])
def test_what_is_not_additive_is_recomputed_at_the_base(con, entity, grain):
    time = TimeView(grain=grain)
    found = table(con, Model("absence", entity, time).name, entity)
    assert found == grouped(of_type("COMMIT_CODE"), entity, time, fewest_for_half)


@pytest.mark.parametrize("entity", ENTITIES)
@pytest.mark.parametrize("time", [GRAINS[0], GRAINS[2], TimeView(window=Window(7)), TimeView()], ids=lambda t: t.suffix)
def test_averages_divide_by_the_days_that_are_covered(con, entity, time):
    found = table(con, Model("fees", entity, time).name, entity)
    sums = grouped(of_type("FEES"), entity, time, total)
    assert found == pytest.approx({key: value / length(key[0], time) for key, value in sums.items()})


@pytest.mark.parametrize("entity", ENTITIES)
def test_names_can_come_from_data(con, entity):
    query = (
        f"SELECT metrics_sample_date, event_source, to_{entity}_id, metric, amount FROM oso.labels_to_{entity}_monthly"
    )
    expected = {}
    for kind in ("STARRED", "COMMIT_CODE", "ISSUE_OPENED", "FEES"):
        for key, value in grouped(of_type(kind), entity, GRAINS[2], total).items():
            expected[(*key, f"{kind.lower()}_seen_monthly")] = value
    assert {tuple(row[:4]): row[4] for row in con.execute(query).fetchall()} == expected


@pytest.mark.parametrize("time", WEEKS_AND_MONTHS, ids=lambda t: t.suffix)
def test_a_macro_can_be_an_alias_and_numbers_can_be_variables(con, time):
    stars = grouped(of_type("STARRED"), "project", time, total)
    commits = grouped(of_type("COMMIT_CODE"), "project", time, total)
    assert table(con, Model("velocity", "project", time).name, "project") == {
        key: stars.get(key, 0) + 0.5 * commits.get(key, 0) for key in {*stars, *commits}
    }


@pytest.mark.parametrize("entity", ["artifact", "project"])
def test_a_table_per_entity_joins_events_of_that_entity(con, entity):
    first = {}
    for row in EVENTS:
        for group in members(entity).get(row[3], ()):
            key = (row[2], row[4], group)
            first[key] = min(first.get(key, row[0]), row[0])
    people = {}
    for row in EVENTS:
        for group in members(entity).get(row[3], ()):
            people.setdefault((row[0].replace(day=1), row[2], group), set()).add(row[4])
    # The run covers December to February: whoever acted first in it counts in every month of it they act in.
    expected = {
        key: len(n)
        for key, who in people.items()
        if (n := {person for person in who if first[(key[1], person, key[2])] >= date(2023, 12, 1)})
    }
    assert table(con, f"newcomers_to_{entity}_monthly", entity) == expected


def test_no_instant_of_the_last_day_is_lost_and_none_of_the_next_bucket_is_read(con):
    rows = con.execute(
        "SELECT metrics_sample_date, to_artifact_id, amount FROM oso.responses_to_artifact_quarterly ORDER BY ALL"
    ).fetchall()
    assert rows == [(date(2023, 10, 1), "a5", 1), (date(2024, 1, 1), "a1", 2), (date(2024, 1, 1), "a2", 1)]
    window = con.execute(
        "SELECT metrics_sample_date, amount FROM oso.responses_to_artifact_over_2_day_window "
        "WHERE to_artifact_id = 'a1' ORDER BY ALL"
    ).fetchall()
    assert window == [(date(2024, 1, 31), 1), (date(2024, 2, 1), 2), (date(2024, 2, 2), 1)]


def test_quoted_macros_names_with_slots_and_templated_strings(con):
    monthly = table(con, "stars_to_project_monthly", "project")
    assert table(con, "quoted_to_project_monthly", "project") == monthly


@pytest.mark.parametrize("entity", ENTITIES)
def test_a_definition_that_joins_artifacts_is_added_up_over_them(con, entity):
    of_artifacts = table(con, "burstiness_to_artifact_monthly", "artifact")
    expected = {}
    for (sample, source, artifact), value in of_artifacts.items():
        for group in members(entity).get(artifact, ()):
            key = (sample, source, group)
            expected[key] = max(expected.get(key, 0), value)
    assert table(con, f"burstiness_to_{entity}_monthly", entity) == pytest.approx(expected)
