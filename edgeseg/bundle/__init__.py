"""A bundle: the folder that `edgeseg export` writes, the engines in it, and whether these fit a machine."""
