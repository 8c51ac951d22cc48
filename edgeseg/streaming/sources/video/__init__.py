"""Video files: their frames, and what their containers state."""
