"""Export of checkpoints to graphs, and the parity check of the two. Needs the extra `export`."""
