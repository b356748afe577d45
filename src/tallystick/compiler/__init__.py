"""Definitions to plans (pure data), plans to SQL trees."""
