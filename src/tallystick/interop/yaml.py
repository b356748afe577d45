"""YAML as exports write it: mappings and lists in blocks, text quoted wherever YAML could read it as something else."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence

_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_./-]*( [A-Za-z0-9_./-]+)*")
_WORDS = frozenset({"true", "false", "yes", "no", "on", "off", "null", "y", "n"})


def to_yaml(value: Mapping[str, object]) -> str:
    """Return a mapping as a YAML document."""
    return "\n".join(_block(value, 0)) + "\n"


def _block(value: object, depth: int) -> Iterator[str]:
    pad = "  " * depth
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _entry(f"{pad}{_scalar(str(key))}:", item, depth + 1)
    elif isinstance(value, Sequence) and not isinstance(value, str):
        for item in value:
            if isinstance(item, Mapping) and item:
                first, *others = _block(item, depth + 1)
                yield f"{pad}- {first.lstrip()}"
                yield from others
            else:
                yield from _entry(f"{pad}-", item, depth + 1)


def _entry(head: str, item: object, depth: int) -> Iterator[str]:
    if isinstance(item, (Mapping, list, tuple)):
        if not item:
            yield f"{head} {'{}' if isinstance(item, Mapping) else '[]'}"
            return
        yield head
        yield from _block(item, depth)
    else:
        yield f"{head} {_scalar(item)}"


def _scalar(item: object) -> str:
    if item is None or isinstance(item, bool | int | float):
        return json.dumps(item)
    text = str(item)
    if _PLAIN.fullmatch(text) and text.lower() not in _WORDS:
        return text
    return json.dumps(text, ensure_ascii=False)
