"""Passes: many series of one source read together, and the values of each put together from what came back."""
