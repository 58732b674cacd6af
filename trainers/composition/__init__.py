"""Combining several styles in one picture."""
