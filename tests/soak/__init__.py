"""A soak: real queues whose processes are killed at random for a while, and what must hold afterwards."""
