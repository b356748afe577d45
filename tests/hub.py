"""A small metric-hub repository, and what metric-hub's own parser says about the part that is copied here."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path

FIXTURES = Path(__file__).parent / "fixtures" / "metric_hub"
BASE = {
    "definitions/firefox_desktop.toml": """
[metrics.m1]
select_expression = '{{agg_sum("x")}}'
data_source = "d1"
owner = "a@b.c"
deprecated = true
[metrics.m2]
select_expression = "COUNT(*)"
data_source = "d2"
[data_sources.d1]
from_expression = "t1"
client_id_column = "cid"
[data_sources.d2]
from_expression = "t2"
[data_sources.d2.joins.d1]
""",
    "definitions/functions.toml": """
[functions.agg_sum]
definition = "COALESCE(SUM({select_expr}), 0)"
[functions.agg_any]
definition = "COALESCE(LOGICAL_OR({select_expr}), FALSE)"
""",
}
"""A repository of two metrics, for tests that write files beside it."""


def rows(name: str) -> Iterator[dict]:
    with gzip.open(FIXTURES / "expected" / f"{name}.jsonl.gz", "rt", encoding="utf-8") as lines:
        yield from map(json.loads, lines)


def expected(name: str):
    return json.loads((FIXTURES / "expected" / f"{name}.json").read_text(encoding="utf-8"))
