"""A whole training, beside a plain loop."""
