"""Checkpoints: what is in a file, found out without running any code in it."""

from __future__ import annotations

from .reader import Checkpoint, read_checkpoint

__all__ = ["Checkpoint", "read_checkpoint"]
