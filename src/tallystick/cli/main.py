"""The entry point of `tally`: errors become one line on stderr, outcomes become exit codes."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from io import StringIO
from typing import Annotated

import typer
from typer.main import get_command

from tallystick.cli.commands import LazyGroup
from tallystick.cli.options import new_app
from tallystick.errors import DefinitionError, TallystickError

INTERRUPTED = 130
BROKEN_PIPE = 141
USAGE = 2

app = new_app(cls=LazyGroup)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"tally {version('tallystick')}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def tally(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and end.")
    ] = False,
) -> None:
    """Define a number once; every table, chart and report shows that same number."""
    del version  # its callback has already run
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


def main() -> None:
    """Run the command line and end the process with its exit code: 0 fine, 1 findings or failure, 2 wrong use."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code; results go to stdout, everything else to stderr."""
    if sys.stdout is None:
        # Closed by whoever started this: what is written goes nowhere.
        sys.stdout = StringIO()
    try:
        outcome = get_command(app).main(list(arguments), prog_name="tally", standalone_mode=False)
        sys.stdout.flush()
    except (BrokenPipeError, SystemExit):  # Typer's only exit of its own is the one for a broken pipe
        _silence_stdout()
        return BROKEN_PIPE
    except TallystickError as error:
        place = f"{error.at}: " if error.at and str(error.at) else ""
        # Mistakes in files become findings; one that arrives here was made in the arguments.
        code = USAGE if isinstance(error, DefinitionError) else error.exit_code
        return _fail(place + error.message, error.hint, code)
    except typer.TyperException as error:
        return _fail(error.format_message(), _where_to_look(error), error.exit_code)
    except (typer.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except OSError as error:
        return _fail(_describe(error), None, 1)
    return outcome if isinstance(outcome, int) else 0


def _fail(message: str, hint: str | None, code: int) -> int:
    sys.stderr.write(f"error: {message}" + (f" ({hint})" if hint else "") + "\n")
    return code


def _where_to_look(error: typer.TyperException) -> str:
    context = getattr(error, "ctx", None)
    return f"see {context.command_path if context else 'tally'} --help"


def _describe(error: OSError) -> str:
    reason = error.strerror or str(error)
    return f"{error.filename}: {reason}" if error.filename else reason


def _silence_stdout() -> None:
    # The reader has gone; without this the interpreter complains once more while closing stdout.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    main()
