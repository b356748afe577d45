"""Projects in fixture files give exactly the findings written beside them, and keep exactly the metrics that are fine."""

from __future__ import annotations

from pathlib import Path

import pytest

from definitions.cases import Case, all_cases


@pytest.mark.parametrize("case", [pytest.param(case, id=f"{file}: {case.title}") for file, case in all_cases()])
def test_findings(case: Case, tmp_path: Path) -> None:
    findings, metrics = case.actual(tmp_path)
    assert findings == case.findings
    assert metrics == case.metrics
