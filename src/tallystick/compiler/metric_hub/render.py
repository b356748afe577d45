"""Choose how a metrics query is written: the peer's text, or the corrected tree."""

from __future__ import annotations

from collections.abc import Sequence

from tallystick.compiler.metric_hub import legacy_sql
from tallystick.compiler.metric_hub.query import GroupBy, metrics_query, source_query
from tallystick.definitions.metric_hub.collection import Collection
from tallystick.errors import UsageError

BIGQUERY = "bigquery"


def render_metrics(  # noqa: PLR0913 - the peer's parameters, and two of ours
    collection: Collection,
    metrics: Sequence[str],
    platform: str,
    *,
    group_by: GroupBy = (),
    where: str | None = None,
    group_by_client_id: bool = True,
    group_by_submission_date: bool = True,
    dialect: str = BIGQUERY,
    dataset: str | None = None,
) -> str:
    """Return the SQL of one or several metrics (spec metric_hub §7.1).

    Compat in BigQuery without a dataset gives the text consumers get today, byte for byte. Strict mode, any other
    dialect and a given dataset give the corrected query.
    """
    if not metrics:
        raise UsageError("no metrics were asked for", hint="name at least one metric")
    query = metrics_query(
        collection,
        metrics,
        platform,
        group_by=group_by or (),
        where=where,
        group_by_client_id=group_by_client_id,
        group_by_submission_date=group_by_submission_date,
    )
    if collection.mode.is_compat and dialect == BIGQUERY and dataset is None:
        return legacy_sql.metrics_sql(query)
    from tallystick.compiler.metric_hub.tree import metrics_tree, to_sql

    return to_sql(metrics_tree(query, dataset=dataset), dialect)


def render_data_source(
    collection: Collection,
    name: str,
    platform: str,
    *,
    where: str | None = None,
    select_fields: bool = True,
    ignore_joins: bool = False,
    dialect: str = BIGQUERY,
    dataset: str | None = None,
) -> str:
    """Return the SQL of a data source (spec metric_hub §7.2)."""
    source = source_query(collection, name, platform, ignore_joins=ignore_joins)
    if collection.mode.is_compat and dialect == BIGQUERY and dataset is None:
        return legacy_sql.source_sql(source, where, select_fields=select_fields, ignore_joins=ignore_joins)
    from tallystick.compiler.metric_hub.tree import source_tree, to_sql

    return to_sql(source_tree(source, where, ignore_joins=ignore_joins, dataset=dataset), dialect)
