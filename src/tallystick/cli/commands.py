"""The commands by name; the module of a command is imported when it is called, so that `tally --help` stays quick."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple

from typer.core import TyperGroup
from typer.main import get_command

from tallystick.definitions.diagnostics import nearest
from tallystick.errors import UnknownNameError

if TYPE_CHECKING:
    from typer.core import TyperCommand


class Entry(NamedTuple):
    """Where a command lives (its module has an `app: typer.Typer`) and what it does in one line."""

    module: str
    summary: str


COMMANDS = {
    "demo": Entry("tallystick.cli.demo", "Build the bundled project of real data and show its metrics."),
    "init": Entry("tallystick.cli.init", "Write a new project, or one guessed from a file or table."),
    "source": Entry("tallystick.cli.source", "Look at sources: what they hold, how fresh they are, and who uses them."),
    "check": Entry("tallystick.cli.check", "Report everything that is wrong with a project, with file:line:column."),
    "list": Entry("tallystick.cli.list", "List the metrics of a project, one per line."),
    "show": Entry("tallystick.cli.show", "Show where a name is defined, what it means and what it becomes."),
    "models": Entry("tallystick.cli.models", "List the models a project compiles to, by name."),
    "render": Entry("tallystick.cli.render", "Print the SQL of a metric, in any dialect."),
    "query": Entry("tallystick.cli.query", "Compute a metric from the rows of its source and print its values."),
    "build": Entry("tallystick.cli.build", "Write models into the warehouse, incrementally."),
    "read": Entry("tallystick.cli.read", "Print rows of a built model, or totals of them, without computing it again."),
    "collect": Entry("tallystick.cli.collect", "Read the series of metrics into the store, bucket by bucket."),
    "runs": Entry(
        "tallystick.cli.runs",
        "List what the collector did, newest first: windows, rows, bytes, seconds, the hash of the SQL, and errors.",
    ),
    "metric-hub": Entry("tallystick.cli.metric_hub", "Read experiments and monitoring projects of a metric-hub clone."),
    "export": Entry(
        "tallystick.cli.export",
        "Write a project as models for another tool, what the service holds as a file, or a metric-hub clone.",
    ),
}


class LazyGroup(TyperGroup):
    """A group that knows its commands' names and summaries without importing them."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names in the order people meet them."""
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> TyperCommand:
        """Import and return one command; raise UnknownNameError with the nearest name if there is none."""
        del ctx
        if cmd_name not in COMMANDS:
            raise UnknownNameError(f"there is no command '{cmd_name}'", hint=nearest(cmd_name, COMMANDS))
        command: Any = get_command(import_module(COMMANDS[cmd_name].module).app)
        command.name = cmd_name
        return command  # type: ignore[no-any-return]

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the list of commands for `--help` from their summaries."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.summary) for name, entry in COMMANDS.items()])
