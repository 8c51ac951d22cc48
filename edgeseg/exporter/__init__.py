"""Checkpoint to graph, and the proof that the two agree. Needs the extra `export`."""
