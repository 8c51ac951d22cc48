"""The little of CUDA that the runtime needs, by whatever package is installed."""
