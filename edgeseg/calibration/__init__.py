"""Which images and which ranges; its product is a data file."""
