"""Build an engine for a machine from a bundle, without torch."""
