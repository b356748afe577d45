"""How effort grows with size: ratios of processor time in one process, so that a slow machine decides nothing."""

from __future__ import annotations

import time
from collections.abc import Callable


def growth(small: Callable[[], object], large: Callable[[], object], times: int = 3) -> float:
    """Return how many times more processor time the larger piece of work takes, each at its best of some times."""
    return _best(large, times) / _best(small, times)


def _best(work: Callable[[], object], times: int) -> float:
    spent = []
    for _ in range(times):
        started = time.process_time()
        work()
        spent.append(time.process_time() - started)
    return min(spent)
