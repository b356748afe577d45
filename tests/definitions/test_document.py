"""Places in documents: found late, right to the character, and kept when a definition is copied elsewhere."""

from __future__ import annotations

import pickle

import pytest

from tallystick.definitions.document import Document, FileOrigin, parse_toml
from tallystick.definitions.origin import Origin, place_of
from tallystick.errors import Location

TEXT = '[metrics.a]\nexpr = "sum(x)"\nwhere = [\n  "a = 1",\n]\nsql = """\nselect 1\n  from t"""\n'


def document() -> Document:
    found = parse_toml(TEXT, "shop.toml")
    assert isinstance(found, Document)
    return found


@pytest.fixture
def origin() -> FileOrigin:
    return FileOrigin(document(), ("metrics", "a"))


def test_places_of_fields(origin: FileOrigin) -> None:
    assert origin.location == Location("shop.toml", 1, 10)
    assert origin.of("expr") == Location("shop.toml", 2, 1)
    assert origin.of("where.0") == Location("shop.toml", 4, 3)
    assert origin.of("where.7") == Location("shop.toml", 3, 1)
    assert origin.of("nothing") == origin.of("") == origin.location
    assert place_of(origin, "nothing", "expr") == Location("shop.toml", 2, 1)


def test_places_inside_texts(origin: FileOrigin) -> None:
    assert origin.inside("expr", 1, 5) == Location("shop.toml", 2, 13)
    assert origin.inside("where.0", 1, 1) == Location("shop.toml", 4, 4)
    assert origin.inside("sql", 2, 3) == Location("shop.toml", 8, 3)
    assert origin.inside("sql", 99, 1) == Location("shop.toml", 6, 1)


def test_nothing_is_scanned_before_a_place_is_asked_for() -> None:
    found = document()
    FileOrigin(found, ("metrics", "a"))
    assert found._scan is None


def test_an_origin_survives_copying_to_another_process(origin: FileOrigin) -> None:
    copy = pickle.loads(pickle.dumps(origin))  # noqa: S301 - our own bytes
    assert type(copy) is Origin
    assert copy.location == origin.location
    assert copy.of("where.0") == origin.of("where.0")


def test_embedded_toml_keeps_the_places_of_the_file_around_it() -> None:
    found = parse_toml("a = 1\nb = ", "stars.sql", line=1, column=3)
    assert not isinstance(found, Document)
    assert (found.file, found.line) == ("stars.sql", 3)
    embedded = parse_toml("a = 1\nb = 2", "stars.sql", line=1, column=3)
    assert isinstance(embedded, Document)
    assert embedded.at(("b",)) == Location("stars.sql", 3, 4)
