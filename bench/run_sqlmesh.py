"""Run in SQLMesh's own environment: plan and apply a project of 21 SQL models; print the cost as JSON."""

from __future__ import annotations

import json
import logging
import resource
import sys
from datetime import date, timedelta
from pathlib import Path
from time import perf_counter

from sqlmesh import Context


def cpu() -> float:
    """Return CPU seconds used so far, children included."""
    both = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in both)


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    before, started = cpu(), perf_counter()
    last = date.fromisoformat(sys.argv[2])
    today = last + timedelta(days=1)
    context = Context(paths=[sys.argv[1]])
    context.plan(auto_apply=True, no_prompts=True, skip_tests=True, execution_time=today.isoformat())
    context.close()
    cost = {"cpu": cpu() - before, "wall": perf_counter() - started, "result": "21 SQL models"}
    # Not `ru_maxrss`, which counts what the parent held when it started this program, too.
    cost["mb"] = int(Path("/proc/self/status").read_text(encoding="utf-8").partition("VmHWM:")[2].split()[0]) / 1024
    print(json.dumps(cost))
