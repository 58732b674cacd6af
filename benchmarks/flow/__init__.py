"""Benchmarks of flow-matching transformers."""
