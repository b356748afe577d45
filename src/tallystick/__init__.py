"""Define a number once; every table, chart and report shows that same number."""
