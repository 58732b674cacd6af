"""Storage of a frozen base: packed weights, loading tensor by tensor, blocks in main memory."""
