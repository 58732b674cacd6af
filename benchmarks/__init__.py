"""Measurements: each prints its table and writes it to a file."""
