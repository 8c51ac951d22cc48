"""The ways to run a model that a benchmark compares."""
