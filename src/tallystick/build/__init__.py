"""Models written into the warehouse, incrementally."""
