"""Read-outs of experiments: statistics over units, from rows or from sums a warehouse made (spec metric_hub §10)."""
