"""The process in which one row of a benchmark is measured."""
