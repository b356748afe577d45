"""The text of models, case by case: each file says what is asked of the demo, then the SQL that answers.

Run this file as a program to write the answers again after a change that is meant; read the difference before you keep it.
"""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from tallystick.service.demo import BUNDLED
from tallystick.service.workspace import load

FOLDER = Path(__file__).parent.parent / "fixtures" / "render"
CASES = sorted(FOLDER.glob("*.sql"))


def rendered(question: str) -> str:
    """Return the SQL for `metric key=value …`."""
    metric, *pairs = shlex.split(question.removeprefix("-- "))
    options: dict = dict(pair.split("=", 1) for pair in pairs)
    if "by" in options:
        options["by"] = options["by"].split(",")
    return load(BUNDLED).render(metric, **options)


def parts(path: Path) -> tuple[str, str]:
    question, _, answer = path.read_text(encoding="utf-8").partition("\n")
    return question, answer.strip()


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_text_is_as_written(path: Path) -> None:
    question, answer = parts(path)
    assert rendered(question) == answer


if __name__ == "__main__":
    for case in CASES:
        case.write_text(f"{parts(case)[0]}\n{rendered(parts(case)[0])}\n", encoding="utf-8")
