"""What holds for every test."""

from __future__ import annotations

from hypothesis import settings

pytest_plugins = ["live_engines"]

# A deadline measures the machine, not the code; random cases that failed once are replayed from their blob.
settings.register_profile("house", deadline=None, print_blob=True)
settings.load_profile("house")
