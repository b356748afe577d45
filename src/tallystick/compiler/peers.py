"""Peers: definitions that read the tables of other metrics (spec oso §5.1, §7.4)."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches

from sqlglot import exp

from tallystick.compiler.definition_context import DefinitionContext, Peer
from tallystick.compiler.model import Model, TimeView
from tallystick.errors import DefinitionError, Location, MacroError
from tallystick.sql.grain import OVER_ALL_TIME, Grain, parse_grain, parse_window

MOST_NEAR, MOST_KNOWN = 3, 8
"""How many metrics a hint names that are spelled alike, or of all there are."""


def peer_model(arguments: Mapping[str, object], entity: str, context: DefinitionContext, at: Location) -> Model:
    """Return the model that `@metrics_peer_ref(name, …)` means.

    Raises MacroError for an unknown or disabled peer, or a model it does not have, listing those that exist.
    """
    peer = _peer(str(arguments["name"]), context, at)
    wanted = str(arguments.get("entity_type") or entity)
    view = _view(arguments, at)
    if view is None:
        raise MacroError(
            f"@metrics_peer_ref({peer.key}) does not say which table of '{peer.key}' it means",
            at=at,
            hint="add time_aggregation := @time_aggregation, or window := @rolling_window, unit := @rolling_unit; "
            + _existing(peer, wanted),
        )
    if (wanted, view) not in peer.models:
        missing = Model(peer.name, wanted, view).name
        raise MacroError(f"the peer '{peer.key}' has no table {missing}", at=at, hint=_existing(peer, wanted))
    return Model(peer.name, wanted, view)


def peer_table(model: Model, context: DefinitionContext) -> exp.Table:
    """Return the table of a peer's model."""
    return exp.table_(model.name, db=context.schema)


def _peer(key: str, context: DefinitionContext, at: Location) -> Peer:
    peer = context.peers.get(key)
    if peer is None:
        raise MacroError(f"there is no metric '{key}' to read", at=at, hint=_near(key, context))
    if not peer.enabled:
        raise MacroError(f"the metric '{key}' is disabled and has no tables", at=at, hint=f"enable '{key}'")
    return peer


def _near(key: str, context: DefinitionContext) -> str | None:
    """Return a hint with the metrics that may have been meant, else those there are."""
    known = sorted(name for name, peer in context.peers.items() if peer.enabled)
    close = get_close_matches(key, known, n=MOST_NEAR, cutoff=0.6)
    if close:
        return f"did you mean {' or '.join(repr(name) for name in close)}?"
    more = ", …" if len(known) > MOST_KNOWN else ""
    return f"known: {', '.join(known[:MOST_KNOWN])}{more}" if known else None


def _view(arguments: Mapping[str, object], at: Location) -> TimeView | None:
    window, unit, grain = (arguments.get(key) for key in ("window", "unit", "time_aggregation"))
    try:
        if window is not None:
            return TimeView(window=parse_window(f"{window} {unit or 'day'}"))
        if grain is None:
            return None
        return TimeView() if str(grain) == OVER_ALL_TIME else TimeView(grain=parse_grain(str(grain)))
    except DefinitionError as error:
        raise MacroError(error.message, at=at, hint=error.hint) from None


def _existing(peer: Peer, entity: str) -> str:
    mine = sorted((view for of, view in peer.models if of == entity), key=_view_order)
    if mine:
        return f"'{peer.key}' to {entity} exists {', '.join(view.suffix for view in mine)}"
    entities = sorted({of for of, _ in peer.models})
    return f"'{peer.key}' exists for {', '.join(entities)}" if entities else f"'{peer.key}' has no tables at all"


def _view_order(view: TimeView) -> tuple[int, int, str]:
    if view.window is not None:
        return 0, view.window.days, ""
    return (1, list(Grain).index(view.grain), "") if view.grain is not None else (2, 0, "")


def misalignment(model: Model, time: TimeView, context: DefinitionContext, *, relative: bool) -> str | None:
    """Return why the rows of a peer's model cannot line up with a model over `time`, if they cannot."""
    theirs, mine = model.time.grain, time.grain
    if theirs is not None and mine is not None and theirs != mine and not _nests(theirs, mine):
        return f"{theirs} buckets do not fit into {mine} buckets"
    peer = next((p for p in context.peers.values() if p.name == model.metric), None)
    if relative and context.is_oso and peer is not None and peer.cron not in (None, "@daily"):
        return f"'{peer.key}' has rows on the ticks of {peer.cron} only, so days a window apart rarely meet one"
    return None


def _nests(inner: Grain, outer: Grain) -> bool:
    order = list(Grain)
    return inner is not Grain.WEEK and order.index(inner) <= order.index(outer)
