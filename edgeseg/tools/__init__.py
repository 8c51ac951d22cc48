"""The command line, with one module per command and no computation of its own."""
