"""A static documentation site for a metric-hub clone: every definition, its SQL and where each field came from.

Plain HTML without anything loaded from elsewhere (spec metric_hub §12.3, whose defects are not repeated).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from html import escape
from pathlib import Path
from types import MappingProxyType

from tallystick.compiler.metric_hub.query import metric_sql
from tallystick.compiler.metric_hub.render import render_data_source, render_metrics
from tallystick.definitions.metric_hub import nouns as n
from tallystick.definitions.metric_hub.collection import Collection
from tallystick.definitions.metric_hub.references import dedent
from tallystick.definitions.metric_hub.repository import Repository
from tallystick.definitions.metric_hub.structured import select_expression_of
from tallystick.errors import TallystickError

_STYLE = """
body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1c1b22}
nav a{margin-right:1rem}h2{border-bottom:1px solid #ddd;margin-top:2.5rem}
pre{background:#f5f5f7;padding:.8rem;overflow:auto;border-radius:.4rem;font-size:.85rem}
dl{display:grid;grid-template-columns:max-content 1fr;gap:.2rem 1rem}dt{color:#5b5b66}dd{margin:0}
.badge{border-radius:1rem;padding:0 .6rem;font-size:.8rem;background:#eee}.deprecated{background:#ffd7d7}
.place{color:#5b5b66;font-size:.8rem}input{width:100%;padding:.5rem;font-size:1rem}
@media (prefers-color-scheme:dark){body{background:#1c1b22;color:#fbfbfe}pre{background:#2b2a33}a{color:#8bf}.badge{color:#111}}
"""
_FILTER = """
const box=document.getElementById('find');
box&&box.addEventListener('input',()=>{const q=box.value.toLowerCase();
for(const s of document.querySelectorAll('section[data-name]'))s.hidden=!s.dataset.name.includes(q)});
"""


def site(repository: Repository) -> Mapping[str, str]:
    """Return the pages of the site by path."""
    shared = repository.shared
    platforms = [name for name, spec in shared.definitions.items() if spec.metrics or spec.data_sources]
    pages = {"index.html": _index(repository, platforms)}
    for platform in platforms:
        pages[f"{platform}.html"] = _platform(repository, platform)
    pages["functions.html"] = _page("Functions", _functions(shared), platforms)
    for tool, collection in repository.tools.items():
        if collection.outcomes:
            pages[f"{tool}-outcomes.html"] = _page(f"Outcomes of {tool}", _outcomes(collection), platforms)
    return MappingProxyType(pages)


def write_site(repository: Repository, folder: Path) -> int:
    """Write the site into a folder and return the number of pages."""
    pages = site(repository)
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in pages.items():
        (folder / name).write_text(text, encoding="utf-8")
    return len(pages)


def _page(title: str, body: Iterable[str], platforms: Iterable[str]) -> str:
    links = "".join(f'<a href="{escape(p)}.html">{escape(p)}</a>' for p in platforms)
    return (
        "<!doctype html><html lang=en><meta charset=utf-8>"
        '<meta name=viewport content="width=device-width,initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style>"
        f'<nav><a href="index.html">Overview</a>{links}<a href="functions.html">functions</a></nav>'
        f"<h1>{escape(title)}</h1>{''.join(body)}<script>{_FILTER}</script></html>"
    )


def _index(repository: Repository, platforms: list[str]) -> str:
    def rows() -> Iterator[str]:
        yield "<table><tr><th>platform<th>metrics<th>data sources<th>segments<th>dimensions"
        for name in platforms:
            spec = repository.shared.definitions[name]
            counts = (spec.metrics, spec.data_sources, spec.segments, spec.dimensions)
            cells = "".join(f"<td>{len(table)}" for table in counts)
            yield f'<tr><td><a href="{escape(name)}.html">{escape(name)}</a>{cells}'
        yield "</table>"
        for tool, collection in repository.tools.items():
            facts = f"{len(collection.configs)} configs, {len(collection.outcomes)} outcomes"
            link = f' <a href="{escape(tool)}-outcomes.html">outcomes</a>' if collection.outcomes else ""
            yield f"<p>{escape(tool)}: {facts}{link}"

    return _page("Metrics", rows(), platforms)


def _platform(repository: Repository, platform: str) -> str:
    shared = repository.shared
    spec = shared.definitions[platform]
    platforms = [name for name, other in shared.definitions.items() if other.metrics or other.data_sources]

    def body() -> Iterator[str]:
        yield '<input id=find type=search placeholder="Find by name" aria-label="Find by name">'
        yield "<h2>Metrics</h2>"
        for metric in spec.metrics.values():
            yield _metric(repository, platform, metric)
        yield "<h2>Data sources</h2>"
        for source in spec.data_sources.values():
            yield _source(shared, platform, source)
        for title, table in (
            ("Segments", spec.segments),
            ("Segment data sources", spec.segment_data_sources),
            ("Dimensions", spec.dimensions),
        ):
            if table:
                yield f"<h2>{title}</h2>"
                yield from (_plain(definition) for definition in table.values())
        default = next((c.defaults[platform] for c in repository.tools.values() if platform in c.defaults), None)
        if default is not None:
            yield from _default(default)

    return _page(platform, body(), platforms)


def _section(name: str, title: str, parts: Iterable[str]) -> str:
    key = escape(f"{name} {title}".lower(), quote=True)
    return (
        f'<section id="{escape(name, quote=True)}" data-name="{key}"><h3>{escape(title)}</h3>{"".join(parts)}</section>'
    )


def _facts(pairs: Iterable[tuple[str, object]]) -> str:
    rows = "".join(f"<dt>{escape(key)}<dd>{escape(str(value))}" for key, value in pairs if value)
    return f"<dl>{rows}</dl>" if rows else ""


def _sql(title: str, sql: str) -> str:
    return f"<details><summary>{escape(title)}</summary><pre>{escape(sql)}</pre></details>"


def _metric(repository: Repository, platform: str, metric: n.MetricDefinition) -> str:
    def parts() -> Iterator[str]:
        if metric.deprecated:
            yield '<span class="badge deprecated">deprecated</span> '
        if metric.level:
            yield f'<span class="badge">{escape(metric.level)}</span> '
        yield f"<p>{escape(dedent(metric.description) or '')}"
        yield _facts(
            [
                ("name", metric.name),
                ("data source", metric.data_source),
                ("depends on", ", ".join(metric.depends_on or ())),
                ("owner", ", ".join(metric.owners)),
                ("type", metric.type),
                ("better", "higher" if metric.bigger_is_better else "lower"),
                ("defined in", metric.place),
                *_overrides(repository, platform, metric),
            ]
        )
        yield from _metric_queries(repository.shared, platform, metric)

    return _section(metric.name, metric.friendly_name or metric.name, parts())


def _overrides(repository: Repository, platform: str, metric: n.MetricDefinition) -> Iterator[tuple[str, object]]:
    """Yield what tools change about a metric, with the line that does it."""
    for tool, collection in repository.own.items():
        spec = collection.definitions.get(platform)
        if spec is not None and metric.name in spec.metrics:
            changed = spec.metrics[metric.name]
            yield f"changed in {tool}", f"{', '.join(changed.places) or 'mentioned'} ({changed.place})"


def _metric_queries(collection: Collection, platform: str, metric: n.MetricDefinition) -> Iterator[str]:
    if metric.depends_on:
        return
    raw = select_expression_of(metric)
    yield _sql("Expression", raw or "")
    try:
        expanded = metric_sql(collection, metric)
        if expanded != raw:
            yield _sql("Expression, macros expanded", expanded)
        yield _sql("Query", render_metrics(collection, [metric.name], platform))
    except TallystickError as problem:
        yield f"<p>{escape(problem.message)}"


def _source(collection: Collection, platform: str, source: n.DataSourceDefinition) -> str:
    def parts() -> Iterator[str]:
        yield f"<p>{escape(dedent(source.description) or '')}"
        yield _facts(
            [
                ("name", source.name),
                ("client", source.client_id_column or "client_id"),
                ("date", source.submission_date_column or "submission_date"),
                ("default dataset", source.default_dataset),
                ("joins", ", ".join(source.joins or ())),
                ("defined in", source.place),
            ]
        )
        try:
            yield _sql("Query", render_data_source(collection, source.name, platform))
        except TallystickError as problem:
            yield f"<p>{escape(problem.message)}"

    return _section(source.name, source.friendly_name or source.name, parts())


def _plain(definition: n.Definition) -> str:
    expression = getattr(definition, "select_expression", None) or getattr(definition, "from_expression", None)
    facts = _facts(
        [
            ("name", definition.name),
            ("data source", getattr(definition, "data_source", None)),
            ("defined in", definition.place),
        ]
    )
    text = f"<p>{escape(dedent(getattr(definition, 'description', None)) or '')}"
    title = getattr(definition, "friendly_name", None) or definition.name
    return _section(definition.name, title, [text, facts, _sql("Expression", str(expression or ""))])


def _default(default: n.Spec) -> Iterator[str]:
    yield "<h2>Computed for every experiment</h2>"
    for period, references in default.periods.items():
        yield f"<p>{escape(str(period))}: {escape(', '.join(reference.name for reference in references))}"


def _functions(collection: Collection) -> Iterator[str]:
    for function in collection.functions.values():
        text = f"<p>{escape(function.description or '')}"
        yield _section(
            function.name,
            function.friendly_name or function.name,
            [text, _facts([("name", function.name)]), _sql("Expands to", function("X"))],
        )


def _outcomes(collection: Collection) -> Iterator[str]:
    for (platform, slug), outcome in collection.outcomes.items():
        parts = [
            f"<p>{escape(dedent(outcome.description) or '')}",
            _facts(
                [("platform", platform), ("defined in", outcome.place), ("parameters", ", ".join(outcome.parameters))]
            ),
            *(
                f"<p><b>{escape(metric.name)}</b> {escape(dedent(metric.description) or '')}"
                for metric in outcome.metrics.values()
            ),
            *(
                _sql(f"Data source {source.name}", source.from_expression or "")
                for source in outcome.data_sources.values()
            ),
        ]
        yield _section(f"{platform}-{slug}", outcome.friendly_name or slug, parts)
