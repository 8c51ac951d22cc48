"""Measuring a bundle beside PyTorch and beside what users have today, in one run."""
