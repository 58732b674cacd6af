"""Combines several styles in one picture."""
