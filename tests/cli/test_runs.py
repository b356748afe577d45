"""Bytes as `tally runs` writes them."""

from __future__ import annotations

import pytest

from tallystick.cli.runs import size


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (None, None),
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1536, "1.5 KiB"),
        (2**20 - 1, "1.0 MiB"),
        (3 * 2**30, "3.0 GiB"),
        (5 * 2**50, "5120.0 TiB"),
    ],
)
def test_size(count: int | None, text: str | None) -> None:
    assert size(count) == text
