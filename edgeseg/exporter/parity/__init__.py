"""Check that a graph gives the same detections as PyTorch."""
