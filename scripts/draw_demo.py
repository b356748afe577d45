"""Draw docs/demo.svg: what `tally demo` really shows on a terminal, with its colours."""

from __future__ import annotations

import io
import re
import tempfile
from pathlib import Path
from time import perf_counter

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.text import Text

from tallystick.cli.demo import summary_table, title_of, what_next
from tallystick.service.demo import copy_project, summarise
from tallystick.service.workspace import load

PICTURE = Path(__file__).resolve().parents[1] / "docs" / "demo.svg"
WIDTH = 92


def main() -> None:
    """Run the demo in a folder of its own and write the picture."""
    with tempfile.TemporaryDirectory() as name:
        started = perf_counter()
        folder = Path(name) / "demo"
        copy_project(folder)
        with load(folder) as workspace:
            report = workspace.build()
            summaries = summarise(workspace)
            title = title_of(workspace.project.settings.name, summaries)
        rows = sum(model.rows or 0 for model in report.models)
    done = f"{len(report.models)} models, {rows:,} values, {perf_counter() - started:.1f} s"
    console = Console(record=True, width=WIDTH, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    console.print(Text("$ tally demo --dir demo", style="bold"))
    console.print(summary_table(title, summaries))
    for line in what_next(done, Path("demo")):
        console.print(Text(line, style="dim"))
    console.print()
    # The pictures of others load a font from a server; ours makes do with what the reader has.
    template = re.sub(r"@font-face \{\{.*?\}\}\s*", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)
    PICTURE.write_text(console.export_svg(title="tally demo", code_format=template, unique_id="demo"), encoding="utf-8")


if __name__ == "__main__":
    main()
