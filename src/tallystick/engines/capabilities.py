"""What an engine can promise beyond running SQL; callers choose their way by it instead of asking for a name."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """Promises of one engine.

    `transactions`: writes of several statements become visible together. Without it a table is published by one
    atomic swap, and state is written after it, so that a build which is killed in between only does work again.
    `one_pass`: families of models can be built from one reading (the SQL of `compiler/one_pass` is written for it).
    `deletes`: single rows of a table can be deleted; without it a table is written anew.
    `enforces_read_only`: the engine itself refuses writes over a connection opened for reading.
    `looks_beside`: a view finds a bare name in its own schema first, also for whoever opens a file called like it.
    """

    transactions: bool = True
    one_pass: bool = False
    enforces_read_only: bool = True
    deletes: bool = True
    looks_beside: bool = False
