"""Stores frozen bases with packed weights or with blocks in main memory, and loads them tensor by tensor."""
