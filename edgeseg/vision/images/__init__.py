"""Reading image files strictly and within a memory limit."""
