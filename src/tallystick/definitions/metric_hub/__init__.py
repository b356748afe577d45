"""Mozilla's metric-hub as it stands: its files, its merging, its resolution (spec metric_hub §1-§6)."""
