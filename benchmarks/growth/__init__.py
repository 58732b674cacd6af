"""How time and memory grow with rank, layers, resolution, batch, styles, pictures and runs."""
