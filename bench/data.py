"""Synthetic events: time-ordered, skewed types, repositories and users, and many-to-many memberships."""

from __future__ import annotations

from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa

DAYS = 731
FIRST_DAY = "2024-01-01"
REPOSITORIES = 100_000
USERS = 500_000
TYPES = (
    "COMMIT_CODE",
    "STARRED",
    "ISSUE_OPENED",
    "PULL_REQUEST_OPENED",
    "FORKED",
    "ISSUE_CLOSED",
    "PULL_REQUEST_MERGED",
    "RELEASE_PUBLISHED",
)


def generate(rows: int, path: Path, *, extra_days: int = 0, seed: int = 1) -> None:
    """Write a DuckDB file with `events` over two years (and more days if asked) and the two membership tables."""
    random = np.random.default_rng(seed)

    def zipf(size: int, exponent: float, count: int) -> np.ndarray:
        weights = np.cumsum(1 / np.arange(1, size + 1) ** exponent)
        return np.searchsorted(weights / weights[-1], random.random(count))

    count = int(rows * (DAYS + extra_days) / DAYS)
    seconds = np.sort(random.integers(0, (DAYS + extra_days) * 86_400, count))
    kind = zipf(len(TYPES), 1.0, count)
    home = zipf(REPOSITORIES, 1.05, USERS * 3).reshape(USERS, 3)
    user = zipf(USERS, 0.8, count)
    repository = zipf(REPOSITORIES, 1.05, count)
    at_home = (random.random(count) < 0.7) & (kind != 1)
    repository[at_home] = home[user[at_home], random.integers(0, 3, at_home.sum())]
    repository = random.permutation(REPOSITORIES)[repository]
    events = pa.table(
        {
            "seconds": seconds,
            "kind": kind,
            "user": user,
            "repository": repository,
            "amount": random.integers(1, 5, count),
        }
    )
    projects = _pairs(random, REPOSITORIES, 20_000, REPOSITORIES // 10)
    collections = _pairs(random, 20_000, 200, 10_000)
    with duckdb.connect(str(path)) as connection:
        connection.register("incoming", events)
        connection.execute(
            f"CREATE TABLE events AS SELECT TIMESTAMP '{FIRST_DAY}' + to_seconds(seconds) AS time, "
            f"({list(TYPES)})[kind + 1] AS event_type, repository::BIGINT AS to_artifact_id, "
            '"user"::BIGINT AS from_artifact_id, amount::BIGINT AS amount FROM incoming'
        )
        for name, pairs, columns in (
            ("artifacts_by_project", projects, ("artifact_id", "project_id")),
            ("projects_by_collection", collections, ("project_id", "collection_id")),
        ):
            connection.register("pairs", pa.table({columns[0]: pairs[:, 0], columns[1]: pairs[:, 1]}))
            connection.execute(f"CREATE TABLE {name} AS SELECT DISTINCT * FROM pairs")


def _pairs(random: np.random.Generator, children: int, parents: int, extra: int) -> np.ndarray:
    every = np.stack([np.arange(children), random.integers(0, parents, children)], 1)
    more = np.stack([random.integers(0, children, extra), random.integers(0, parents, extra)], 1)
    return np.concatenate([every, more])
