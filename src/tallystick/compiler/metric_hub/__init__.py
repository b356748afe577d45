"""SQL for metric-hub definitions: the text its consumers get today, and a corrected tree (spec metric_hub §7)."""
