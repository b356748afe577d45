"""Compare the SQL made for a metric-hub clone with SQL its own parser made, and print the verdict per variant.

    python scripts/compare_metric_hub.py CLONE EXPECTED.jsonl[.gz] VARIANTS.json

EXPECTED has one object per line: platform, metric, sql {variant: text}, errors {variant: message}. Exit status 1
if anything differs or is missing.
"""

from __future__ import annotations

import argparse
import gzip
import json
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import sqlglot
from sqlglot.errors import SqlglotError

from tallystick import metric_hub
from tallystick.errors import TallystickError

Verdicts = dict[str, Counter[str]]
FINE = frozenset({"byte-equal", "whitespace-equal", "tree-equal", "error-reported"})


def verdict(got: str | None, want: str) -> str:
    """Name how close a query is to the one expected."""
    if got is None:
        return "missing"
    if got == want:
        return "byte-equal"
    if re.sub(r"\s+", " ", got).strip() == re.sub(r"\s+", " ", want).strip():
        return "whitespace-equal"
    try:
        trees = [sqlglot.parse_one(sql, read="bigquery").sql("bigquery", normalize=True) for sql in (got, want)]
    except SqlglotError:
        return "different"
    return "tree-equal" if trees[0] == trees[1] else "different"


def compare(
    hub: metric_hub.Collection, expected: Iterable[Mapping[str, Any]], variants: Mapping[str, Mapping[str, Any]]
) -> Verdicts:
    """Count the verdicts of every metric in every variant."""
    found: Verdicts = defaultdict(Counter)
    for row in expected:
        for variant, options in variants.items():
            got: str | None = None
            with suppress(TallystickError):
                got = hub.get_metrics_sql([row["metric"]], row["platform"], **options)
            if variant in row["sql"]:
                found[variant][verdict(got, row["sql"][variant])] += 1
            elif variant in row.get("errors", {}):
                found[variant]["error-reported" if got is None else "error-not-reported"] += 1
    return found


def main(clone: str, expected: str, variants: str) -> int:
    """Print the verdicts; return the exit status."""
    opener = gzip.open if expected.endswith(".gz") else open
    with opener(expected, "rt", encoding="utf-8") as lines:
        verdicts = compare(
            metric_hub.load(clone), map(json.loads, lines), json.loads(Path(variants).read_text(encoding="utf-8"))
        )
    for variant, counts in verdicts.items():
        print(variant, dict(counts))
    return 0 if all(set(counts) <= FINE for counts in verdicts.values()) else 1


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("clone", "expected", "variants"):
        parser.add_argument(name, metavar=name.upper())
    sys.exit(main(**vars(parser.parse_args())))
