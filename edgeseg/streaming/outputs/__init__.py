"""Files that a run writes, and the window that shows its pictures."""
