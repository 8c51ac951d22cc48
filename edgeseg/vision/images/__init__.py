"""Reading image files strictly and within a limit of memory."""
