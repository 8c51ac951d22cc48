"""Reading files that others made, and writing files that appear whole or not at all."""
