"""What people see of a frame: tracks, counts and redactions drawn over it."""
