"""Everything a source is asked for, computed from one reading of it (performance spec §3).

The direct query of a model says what its value is; this package derives the same values from daily counters: calendar
buckets by merging, rolling windows by running sums of what enters and leaves, distinct counts by presence.
"""
