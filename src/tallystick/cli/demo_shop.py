"""`tally demo shop`: a made-up shop, its rows made on the spot and every metric collected."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

from tallystick.cli.output import Format, Row, note, write_line, write_rows
from tallystick.cli.sparkline import sparkline

if TYPE_CHECKING:
    from tallystick.service.demo_shop import Latest

COLUMNS = ("metric", "kind", "grain", "of", "bucket", "value", "unit", "change", "history")
WIDTH = 30


def show(folder: Path | None, form: Format) -> bool:
    """Make the shop, collect it and print what came of it; return whether everything could be collected."""
    from tallystick.service import demo, demo_shop

    started = perf_counter()
    folder = folder or demo.default_folder("shop")
    demo.copy_project(folder, demo_shop.BUNDLED)
    rows = demo_shop.make_rows(folder)
    name, latest, _ = demo_shop.collect(folder)
    if form is Format.TABLE:
        days = [one.bucket for one in latest if one.bucket is not None]
        write_line(f"{name}, {max(map(str, days))[:10]}: the latest day that is complete" if days else name)
        write_rows([_texts(one) for one in latest], ("metric", "kind", "value", "week", "history"))
    else:
        write_rows([describe(one) for one in latest], COLUMNS, form)
    for one in latest:
        if one.failed is not None:
            note(f"error: {one.metric.name}: {one.failed}")
    for line in _what_next(f"{rows:,} rows, {len(latest)} metrics, {perf_counter() - started:.1f} s", folder):
        note(line)
    return all(one.failed is None for one in latest)


def describe(one: Latest) -> Row:
    """Return the newest values of a metric as a row of plain values."""
    return {
        "metric": one.metric.name,
        "kind": one.metric.kind,
        "grain": one.grain,
        "of": one.of,
        "bucket": one.bucket,
        "value": one.value,
        "unit": one.metric.about.unit,
        "change": one.change,
        "history": list(one.values),
    }


def _texts(one: Latest) -> Row:
    return {
        "metric": one.metric.name + (f" ({one.of})" if one.of else ""),
        "kind": one.metric.kind,
        "value": one.value,
        "week": None if one.change is None else f"{one.change:>+7.1%}",
        "history": sparkline(_thinned(one.values)),
    }


def _thinned(values: Sequence[float | None]) -> Sequence[float | None]:
    """Return the newest values where there are more than fit: an hourly series shows its last day and a bit."""
    return values[-WIDTH:]


def _what_next(done: str, folder: Path) -> Iterator[str]:
    from tallystick.cli.demo import activation

    where = shlex.quote(str(folder))
    yield f"Collected {done}. The project is in {where}. Next, try:"
    for line in (
        *activation(),
        f"cd {where}",
        "tally list",
        "tally source preview orders",
        "tally show purchase_conversion",
        "tally runs revenue",
    ):
        yield f"  {line}"
