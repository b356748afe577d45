"""What each key of a definition means: the words for docs/reference/definitions.md, checked against the readers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tallystick.definitions.collect_settings import read_collect
from tallystick.definitions.document import Document
from tallystick.definitions.fields import Fields
from tallystick.definitions.query_file import QueryFiles
from tallystick.definitions.read_entity import read_entity
from tallystick.definitions.read_metric import read_metric
from tallystick.definitions.read_source import read_dimension, read_segment, read_source
from tallystick.definitions.tally_toml import read_settings

Keys = dict[str, str]
"""A key, with its synonyms after a comma → what it means."""

ABOUT: Keys = {
    "friendly_name, display_name, label": "A name for people.",
    "description": "What it means; the first line is shown in lists.",
    "owner, owners": "Who answers for it: text or a list.",
    "tags": "Words to group by.",
    "unit": 'The unit of values, such as `"EUR"`.',
    "direction": 'Which way is good: `"up"`, `"down"` or `"neutral"`.',
    "bigger_is_better": "The same as a yes or no.",
    "level": 'How much care it has had: `"gold"`, `"silver"` or `"bronze"`.',
    "status": '`"draft"`, `"active"`, `"deprecated"` or `"archived"`.',
    "deprecated": '`true` is `status = "deprecated"`.',
    "verified": "Somebody has checked it.",
}
VIEWS: Keys = {
    "grains, grain, time_aggregations": "Calendar grains: `5m`, `15m`, `hour`, `6h`, `day`, `week`, `month`, `quarter`, "
    "`half`, `year`.",
    "rolling": 'Rolling windows, sampled every day: days as numbers, or text such as `"12 weeks"`.',
    "all_time, over_all_time": "`true` for one value over the whole history.",
    "entities, entity, entity_types": "The kinds of things a value is computed for; `all` is everything.",
}


@dataclass(frozen=True)
class Table:
    """A table of a definition file: where it is written, what it is, its keys, and the keys its reader knows."""

    heading: str
    text: str
    keys: Keys
    known: Callable[[], set[str]]


def known_to(read: Callable[[Fields], object], *path: str) -> Callable[[], set[str]]:
    """Return a function that runs a reader on an empty table and returns the keys it asked for."""

    def run() -> set[str]:
        fields = Fields(Document("", "", {}), path, {}, [])
        read(fields)
        return fields.known

    return run


_QUERIES = QueryFiles(Path("nowhere"))


def _known_to_project() -> set[str]:
    document = Document("", "", {"project": {}})
    fields = Fields(document, (), document.data, [])
    asked: set[str] = set()
    original = Fields.refuse_unknown

    def listen(self: Fields, *, within: str) -> None:
        if within == "[project]":
            asked.update(self.known)
        original(self, within=within)

    Fields.refuse_unknown = listen  # type: ignore[method-assign]
    try:
        read_settings(fields, "name")
    finally:
        Fields.refuse_unknown = original  # type: ignore[method-assign]
    return asked


TABLES = (
    Table(
        "`[project]` in `tally.toml`",
        "What holds for the whole project. `[defaults]` beside it takes the keys `grains`, `rolling`, `all_time` and "
        "`entities` for metrics that name none, and `[warehouse]` the keys `engine`, `path`, `schema`, `storage`, `allow` and `max_cost`.",
        {
            "name": "The project's name; its folder's unless written.",
            "description": "What it is about.",
            "time_zone, timezone": "Where days start; UTC unless written.",
            "week_start": '`"monday"` or `"sunday"`.',
            "as_of": "A fixed clock: the moment that counts as now.",
            "start": "Where history starts; the first row unless written.",
            "dialect": "The SQL dialect definitions are written in; the warehouse's unless written.",
            "lookback": "How many buckets before the last covered one a build computes again, of each grain; 3 unless written.",
            "compat": "A tool whose behaviour is repeated where it differs, such as `oso`.",
            "allow_functions": "Names or patterns (`mozfun.*`) of functions the guard lets through beyond the known ones.",
        },
        _known_to_project,
    ),
    Table(
        "`[collect]` in `tally.toml`",
        "How `tally collect` reads, for every metric of the project.",
        {
            "lookback": "How many collected buckets are read again each time, for rows that come late; 2 unless written. "
            "Buckets that still settle are read again in any case.",
            "sweep": "How many buckets are read again once a week, for rows that came later still; 0 unless written.",
            "first": "With how many buckets a series begins in a project without `start`; 30 unless written.",
            "chunk": "How many buckets one query reads at most; 1000 unless written.",
            "values_limit": "How many values of a dimension are collected, the last for all others; all unless written.",
            "timeout": 'How long one query may take; `"10 minutes"` unless written.',
            "max_rows": "How many rows one answer may have; 100000 unless written. A larger one fails and changes nothing.",
        },
        known_to(read_collect, "collect"),
    ),
    Table(
        "`[sources.NAME]`",
        "Rows with roles. Exactly one of `table`, `sql`, `file` (or `from_expression`) says where they are.",
        {
            "table": "The name of a table or view.",
            "sql": "A query; it may read other sources by name.",
            "file": "A Parquet, CSV or JSON file, or an `.sql` file with a query.",
            "from_expression": "A table or query in metric-hub's spelling.",
            "time": "Column or expression of a row's time.",
            "date": "`true` where a row is a whole day.",
            "submission_date_column": "The same as `time` with `date = true` (metric-hub).",
            "time_zone, timezone": "Where days start, if not where the project says.",
            "partition": "The column rows are partitioned by.",
            "settle": 'How long rows may arrive late: a bucket is final this long after its end. `"2 days"`, `"6h"`.',
            "fresh": "How often rows come at least: while the latest is older, what follows it is not collected. "
            '`"1 hour"`.',
            "entities": "Which column holds the key of which entity; a list means columns named `<entity>_id`.",
            "client_id_column": "The key of the entity `client` (metric-hub).",
            "group_id_column": "The key of the entity `group` (metric-hub).",
            "filters": "Named conditions that `where` may name: SQL, a table `{ column = …, op = …, value = … }`, or a list.",
            "columns": "Computed or described columns, see below.",
            "dimensions": 'What values may be broken down by: names of columns, or `name = "sql"`.',
            "warehouse": "Which warehouse it is in, where there are several.",
            "collect": "How its metrics are collected where `[collect]` does not do: a table of `lookback`, `sweep`, "
            "`first`, `chunk`, `values_limit`.",
        }
        | ABOUT,
        known_to(lambda fields: read_source(fields, _QUERIES), "sources", "x"),
    ),
    Table(
        "`[entities.NAME]`",
        "A kind of thing with a key, and what it rolls up to.",
        {
            "key": "The name of its key column in models and mappings; `<name>_id` unless written.",
            "rolls_up_to": "The entity it belongs to, a list, or a table with a mapping for each.",
            "through": "The source or table that maps keys to keys, or "
            "`{ table = …, child = …, parent = …, valid_from = …, valid_to = … }`.",
        }
        | ABOUT,
        known_to(read_entity, "entities", "x"),
    ),
    Table(
        "`[metrics.NAME]`",
        "A number. What it is follows from the keys: `expr` with a source is an aggregate, `expr` without one a formula "
        "over metrics, `sql` or `ref` a whole query.",
        {
            "expr, expression, select_expression": "An SQL aggregate over the rows of the source, or a formula.",
            "source, data_source": "The source whose rows are aggregated.",
            "where": "A filter's name, an SQL condition or a table `{ column = …, op = …, value = … }`; several in a list must "
            "all hold.",
            "event": "An event: its source and condition.",
            "aggregation": "Short for an expression: `count`, `sum`, `avg`, `min`, `max`, `count_distinct`, "
            "`approx_count_distinct`, `median`, `quantile`, `first`, `last`.",
            "column": "The column of `aggregation`.",
            "quantile": 'The share of values below the one that `aggregation = "quantile"` is after, such as `0.95`.',
            "per_distinct": "An entity: the value divided by how many different ones there are in the same rows; where an "
            "`event` is counted, in all rows of its source.",
            "per_unit": "An entity: rows become one value for each of its things and bucket first, and a statistic over "
            "these after.",
            "cap": "The most a thing may count.",
            "winsorize": "A pair of shares, `[0.01, 0.99]`: values beyond these quantiles of a bucket move to them.",
            "threshold": "A thing counts 1 where its value reaches this, else 0.",
            "participation": "`true`: a thing counts 1 where it has rows.",
            "across": 'The statistic over things: `"sum"` (unless written), `"avg"`, `"min"`, `"max"`, `"median"`.',
            "numerator": "One side of a ratio: the name of a metric or a formula, or a table with `source`, "
            "`aggregation`, `column`, `quantile`, `expr`, `event`, `where`.",
            "denominator": "The other side; the value is NULL where it is 0.",
            "sql": "A whole query with macros.",
            "ref": "A file with one, relative to `metrics/`.",
            "sources": "The tables in a query that hold the key of the lowest entity.",
            "vars": "Values a query reads as `@name`.",
            "dialect": "The SQL dialect of this definition.",
            "incremental": "`false` computes a query over its whole history each time.",
            "cron": "How often a query's windows are sampled (OSO).",
            "by": "Dimensions for which models are built, too.",
            "intermediate, is_intermediate": "Built, but not listed among results.",
            "enabled": "`false` leaves it out.",
            "collect": "How it is collected where `[collect]` and its sources do not do: `lookback`, `sweep`, `first`, "
            "`chunk`, `values_limit`.",
            "type": "metric-hub's shape of a value; accepted and of no consequence.",
        }
        | VIEWS
        | ABOUT,
        known_to(lambda fields: read_metric(fields, _QUERIES), "metrics", "x"),
    ),
    Table(
        "`[events.NAME]`, `[segments.NAME]`, `[filters.NAME]`",
        "A named condition on a source.",
        {
            "source, data_source": "The source.",
            "where, sql, expr": "The condition: SQL, a table `{ column = …, op = …, value = … }`, or a list that must all hold.",
        }
        | ABOUT,
        known_to(lambda fields: read_segment(fields, "event"), "events", "x"),
    ),
    Table(
        "`[dimensions.NAME]`",
        "A named expression over the rows of a source.",
        {"source, data_source": "The source.", "sql, expr, expression, select_expression": "The expression."} | ABOUT,
        known_to(read_dimension, "dimensions", "x"),
    ),
)


def lines() -> Iterator[str]:
    """Yield the page; raise ValueError if the words and the readers do not agree."""
    for table in TABLES:
        written = {key for keys in table.keys for key in keys.split(", ")}
        if difference := written ^ table.known():
            raise ValueError(f"{table.heading}: {', '.join(sorted(difference))} in the reader or the words only")
        yield f"## {table.heading}\n\n{table.text}\n"
        yield "| key | meaning |\n|---|---|"
        for keys, meaning in table.keys.items():
            first, *others = (f"`{key}`" for key in keys.split(", "))
            synonyms = f" (or {', '.join(others)})" if others else ""
            yield f"| {first}{synonyms} | {meaning} |"
        yield ""
