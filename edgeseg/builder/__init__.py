"""From a bundle to an engine for a machine, without torch."""
