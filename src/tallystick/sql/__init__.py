"""Expressions, macros, calendars and the guard: pure functions from text to SQL trees."""
