"""One module per warehouse, the same names in each."""
