"""Reading files from other programs safely, and writing files that appear complete or not at all."""
