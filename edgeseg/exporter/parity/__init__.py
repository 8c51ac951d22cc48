"""The check that a graph finds what PyTorch finds."""
