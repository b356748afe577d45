"""Write the parts of the documentation that follow from the code, or with --check tell whether they are up to date."""

from __future__ import annotations

import argparse
import difflib
import sys
from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperGroup
from typer.main import get_command

import definition_keys
from tallystick.cli.commands import COMMANDS
from tallystick.cli.main import app
from tallystick.errors import TallystickError

ROOT = Path(__file__).resolve().parents[1]
WIDTH = 100
NOTICE = "<!-- Written by scripts/generate_docs.py from the code; change that and run `make docs`. -->\n"


def command_reference() -> str:
    """Return the help of every command as one page."""
    sections = [NOTICE, "# Commands\n", _section("tally", get_command(app))]
    for name, entry in COMMANDS.items():
        sections += list(_sections(f"tally {name}", get_command(import_module(entry.module).app)))
    return "\n".join(sections)


def _sections(path: str, command: Any) -> Iterator[str]:
    yield _section(path, command)
    if isinstance(command, TyperGroup):
        for name, below in command.commands.items():
            yield from _sections(f"{path} {name}", below)


def _section(path: str, command: Any) -> str:
    settings = {**command.context_settings, "terminal_width": WIDTH, "max_content_width": WIDTH}
    context = typer.Context(command, info_name=path, **settings)
    return f"## `{path}`\n\n```text\n{command.get_help(context).strip()}\n```\n"


def definition_reference() -> str:
    """Return the keys of every table of a definition file as one page."""
    introduction = (
        "# Definition files\n\nDefinitions are TOML in `tally.toml` and below `definitions/`, in any number of files. "
        "They are strict: an unknown key is an error with the nearest known name. An SQL file below `metrics/` is a "
        "metric, too; it takes the keys of one in a header between two lines of `-- ---`.\n"
    )
    return "\n".join([NOTICE, introduction, *definition_keys.lines()])


def pages() -> Mapping[Path, str]:
    """Return every generated page by its path."""
    return {
        ROOT / "docs/reference/commands.md": command_reference(),
        ROOT / "docs/reference/definitions.md": definition_reference(),
    }


def outdated(found: Mapping[Path, str]) -> list[str]:
    """Return how the files on disk differ from what the code says, as lines of a diff."""
    lines: list[str] = []
    for path, text in found.items():
        old = path.read_text(encoding="utf-8") if path.exists() else ""
        name = str(path.relative_to(ROOT))
        lines += difflib.unified_diff(old.splitlines(), text.splitlines(), name, "the code", lineterm="")
    return lines


def main() -> int:
    """Write or compare, and return the exit code."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--check", action="store_true", help="compare only; end with 1 if something is outdated")
    if not arguments.parse_args().check:
        for path, text in pages().items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        return 0
    difference = outdated(pages())
    if difference:
        print("\n".join(difference))
        print("error: the documentation is not what the code says, run `make docs`", file=sys.stderr)
    return int(bool(difference))


if __name__ == "__main__":
    try:
        sys.exit(main())
    except TallystickError as error:
        sys.exit(f"error: {error}")
