"""The two ways of reading a metric-hub repository, and the quirks that separate them."""

from __future__ import annotations

from enum import StrEnum


class Mode(StrEnum):
    """`compat` gives what metric-hub's consumers get today; `strict` gives what its documentation promises."""

    COMPAT = "compat"
    STRICT = "strict"

    @property
    def is_compat(self) -> bool:
        """Tell whether quirks are reproduced (and reported) instead of corrected."""
        return self is Mode.COMPAT


class Quirk(StrEnum):
    """Diagnostic codes of behaviour that compat reproduces; the text says what happened instead."""

    FIRST_LINE = "mh-first-line-stripped"
    UNKNOWN_KEY = "mh-unknown-key"
    COERCED = "mh-coerced-value"
    RENAMED = "mh-renamed-by-name-key"
    RESERVED = "mh-reserved-key"
    LOWER_CASED = "mh-lower-cased-key"
    DIRECTION_FLIPPED = "mh-direction-flipped"
    FALSY_IGNORED = "mh-falsy-override-ignored"
    STATISTICS_REPLACED = "mh-statistics-replaced"
    WILDCARD_RENAMES = "mh-wildcard-renames-metric"
    WILDCARD_UNMATCHED = "mh-wildcard-unmatched"
    OUTCOME_DROPPED = "mh-outcome-dropped"
    PHANTOM_PLATFORM = "mh-phantom-platform"
    PARAMETERS_LOST = "mh-parameters-lost"
    ENTRY_IGNORED = "mh-incomplete-entry-ignored"
    DATASET_PLACEHOLDER = "mh-dataset-placeholder"
    SLUG_PLACEHOLDER = "mh-slug-placeholder"
    JOIN_WITHOUT_ALIAS = "mh-join-without-alias"
    NO_JOIN_KEYWORD = "mh-no-join-keyword"
    BRANCHES_REVERSED = "mh-branches-precedence"
