"""Use cases: what a door may ask for."""
