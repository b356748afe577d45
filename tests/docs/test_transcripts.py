"""What the README and the guides show is what happens: their files are written, their commands run, outputs compared.

In an expected output `…` stands for anything within a line, and on a line of its own for any lines. A last line `[1]` is
the exit code where it is not 0. `make demo` is `tally demo` after installing; other blocks are not run.
"""

from __future__ import annotations

import doctest
import io
import re
import shlex
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import pytest

from tallystick.cli.main import run

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"^```(?P<language>\w+)(?: file=(?P<file>\S+))?\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
PAGES = [
    page
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
    if any(block["language"] in ("console", "pycon") for block in BLOCK.finditer(page.read_text(encoding="utf-8")))
]


@dataclass(frozen=True)
class Command:
    line: str
    expected: str


def commands(text: str) -> Iterator[Command]:
    for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
        line, _, expected = part.partition("\n")
        yield Command(line, expected.rstrip("\n"))


def pattern(expected: str) -> re.Pattern[str]:
    return re.compile("".join(map(pattern_of_line, expected.split("\n"))) if expected else "")


def pattern_of_line(line: str) -> str:
    if line == "…":
        return r"(?:.*\n)*?"
    # Columns are as wide as their widest cell, which may be one that is elided.
    words = [re.escape(word).replace("…", ".*") for word in re.split(" {2,}", line)]
    return " {2,}".join(words) + r"\n"


def execute(line: str, monkeypatch: pytest.MonkeyPatch) -> str:
    program, *arguments = shlex.split(line)
    if program == "cd":
        monkeypatch.chdir(Path(arguments[0]).expanduser())
        return ""
    if (program, *arguments) == ("make", "demo"):
        program, arguments = "tally", ["demo"]
    assert program == "tally", f"a transcript can only show tally, cd and make demo, not {program}"
    output = io.StringIO()
    with redirect_stdout(output), redirect_stderr(output):
        code = run(arguments)
    return output.getvalue() + (f"[{code}]\n" if code else "")


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_page(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))  # nobody has activated an environment yet
    monkeypatch.chdir(tmp_path)
    ran = 0
    for block in BLOCK.finditer(page.read_text(encoding="utf-8")):
        if block["file"]:
            Path(block["file"]).write_text(block["text"], encoding="utf-8")
        if block["language"] == "console":
            for command in commands(block["text"]):
                actual = execute(command.line, monkeypatch)
                assert pattern(command.expected).fullmatch(actual), f"$ {command.line}\n{actual}"
                ran += 1
        if block["language"] == "pycon":
            test = doctest.DocTestParser().get_doctest(block["text"], {}, page.name, page.name, 0)
            failures = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(test).failed
            assert not failures
            ran += 1
    assert ran


def test_readme_and_guides_are_among_the_pages_that_are_run() -> None:
    assert {"README.md", "first-metric.md", "add-a-source.md", "entities.md", "incremental-builds.md"} <= {
        page.name for page in PAGES
    }


@pytest.mark.parametrize(
    ("expected", "actual", "fits"),
    [
        ("", "", True),
        ("", "x\n", False),
        ("a", "a\n", True),
        ("a", "ab\n", False),
        ("a … c", "a bb c\n", True),
        ("a … c", "a b\nc\n", False),
        ("a\n…\nz", "a\nb\nc\nz\n", True),
        ("a\n…", "a\n", True),
        ("a.c", "abc\n", False),
    ],
)
def test_comparison(expected: str, actual: str, fits: bool) -> None:
    assert bool(pattern(expected).fullmatch(actual)) is fits
