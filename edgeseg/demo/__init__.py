"""A synthetic conveyor line and a small model trained on it, to try everything without a camera or data."""
