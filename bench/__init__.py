"""Benchmarks: the same models built by Tallystick and by others, interleaved, equal before a timing counts."""
