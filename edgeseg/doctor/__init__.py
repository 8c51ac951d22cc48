"""The report on this machine and the packages on it."""
