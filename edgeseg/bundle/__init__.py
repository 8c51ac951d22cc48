"""Bundles: the folder that `edgeseg export` writes, its engines, and their compatibility with a machine."""
