from __future__ import annotations

from functools import reduce

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from rich.text import Text

from tallystick.cli.keys import decode
from tallystick.cli.pick_model import screen
from tallystick.cli.picker import Key, Outcome, Picker, press

NAMES = ("commits_to_all_daily", "commits_to_all_weekly", "stars_to_all_daily", "all_commits_to_project_daily")


def after(*keys: Key | str, page: int = 10) -> Picker:
    return reduce(press, keys, Picker(NAMES, page=page))


@pytest.mark.parametrize(
    ("keys", "choice"),
    [
        ([], NAMES[0]),
        ([Key.DOWN], NAMES[1]),
        ([Key.UP], NAMES[3]),
        ([Key.DOWN] * 4, NAMES[0]),
        ([Key.END], NAMES[3]),
        ([Key.END, Key.HOME], NAMES[0]),
        (["stars"], NAMES[2]),
        (["WEEKLY"], NAMES[1]),
        (["daily project"], NAMES[3]),
        (["c", "o", "m"], NAMES[0]),
        (["com", Key.DOWN, Key.DOWN], NAMES[3]),
        ([Key.DOWN, "daily"], NAMES[0]),
        (["stars", Key.BACKSPACE, Key.CLEAR], NAMES[0]),
        (["stars weekly"], None),
        (["stars weekly", Key.WORD], NAMES[2]),
        (["stars weekly", Key.DOWN], None),
        (["nothing", Key.ENTER], None),
    ],
)
def test_keys_lead_to_a_name(keys: list[Key | str], choice: str | None) -> None:
    assert after(*keys).choice == choice


def test_enter_chooses_and_nothing_changes_afterwards() -> None:
    chosen = after("stars", Key.ENTER)
    assert chosen.outcome is Outcome.CHOSEN
    assert press(press(chosen, Key.DOWN), "x") == chosen


def test_enter_without_a_match_keeps_the_list_open() -> None:
    assert after("nothing", Key.ENTER).outcome is Outcome.OPEN


def test_leaving() -> None:
    assert after(Key.DOWN, Key.LEAVE).outcome is Outcome.LEFT


def test_names_that_begin_with_the_typed_word_come_first() -> None:
    assert after("commits").matches == (NAMES[0], NAMES[1], NAMES[3])
    assert after("all").matches[0] == NAMES[3]


def test_control_characters_are_not_typed() -> None:
    assert after("a\x00b\x1b").typed == "ab"


@given(st.lists(st.one_of(st.sampled_from(list(Key)), st.text(max_size=3))), st.integers(1, 6))
def test_the_cursor_is_always_on_a_visible_match(keys: list[Key | str], page: int) -> None:
    picker = reduce(press, keys, Picker(NAMES, page=page))
    first, visible = picker.visible
    assert len(visible) <= page
    if picker.matches:
        assert visible[picker.cursor - first] == picker.choice
    else:
        assert picker.choice is None


@pytest.mark.parametrize(
    ("sent", "keys"),
    [
        ("abc", ["a", "b", "c"]),
        ("\x1b[A", [Key.UP]),
        ("\x1bOB\x1b[B", [Key.DOWN, Key.DOWN]),
        ("\x1b", [Key.LEAVE]),
        ("\x03", [Key.LEAVE]),
        ("x\r", ["x", Key.ENTER]),
        ("\x1b[5~\x1b[6~", [Key.PAGE_UP, Key.PAGE_DOWN]),
        ("\x1b[1;5Cä", ["ä"]),
        ("\x1b[", []),
        ("\x7f\x15\x17", [Key.BACKSPACE, Key.CLEAR, Key.WORD]),
        ("\x01", []),
    ],
)
def test_keys_of_a_terminal(sent: str, keys: list[Key | str]) -> None:
    assert list(decode(sent)) == keys


@given(st.text(alphabet="\x1b[OAB5~a\r;1ä"))
def test_decoding_any_bytes_ends(sent: str) -> None:
    assert len(list(decode(sent))) <= len(sent)


def shown(picker: Picker, sql: str, width: int = 60, height: int = 14) -> list[str]:
    console = Console(width=width, height=height, color_system=None)
    with console.capture() as captured:
        console.print(screen(picker, lambda _: Text(sql), height))
    return captured.get().splitlines()


def test_the_screen_shows_what_is_typed_the_matches_and_the_sql() -> None:
    lines = shown(after("daily", Key.DOWN, page=3), "SELECT 1\nFROM x")
    assert lines[0].rstrip() == "> daily▏"
    assert [line.rstrip() for line in lines[1:4]] == [
        "  commits_to_all_daily",
        "❯ stars_to_all_daily",
        "  all_commits_to_project_daily",
    ]
    assert "3 of 4" in lines[4]
    assert [line.rstrip() for line in lines[5:]] == ["SELECT 1", "FROM x"]


def test_the_screen_fits_the_terminal() -> None:
    lines = shown(after(page=3), "\n".join(f"line {n} " + "x" * 100 for n in range(100)))
    assert len(lines) <= 14
    assert all(len(line) <= 60 for line in lines)


def test_the_screen_says_when_nothing_matches() -> None:
    assert "no model has such a name" in "\n".join(shown(after("zzz"), "SELECT 1"))
