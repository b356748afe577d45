"""Families brought up to date in the warehouse: one reading of the source, every model of its metrics, one transaction."""
