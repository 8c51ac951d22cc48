"""Numbers of many calls, and what disturbs them."""
