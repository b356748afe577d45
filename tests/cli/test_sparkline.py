from __future__ import annotations

import pytest

from tallystick.cli.sparkline import sparkline


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ([], ""),
        ([None, None], "  "),
        ([1, 2, 3, 4, 5, 6, 7, 8], "▁▂▃▄▅▆▇█"),
        ([8, None, 1], "█ ▁"),
        ([5, 5], "▅▅"),
        ([0], "▅"),
        ([-1.5, 0.0, 1.5], "▁▅█"),
    ],
)
def test_sparkline(values: list[float | None], text: str) -> None:
    assert sparkline(values) == text
