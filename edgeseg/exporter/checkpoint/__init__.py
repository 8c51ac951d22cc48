"""Checkpoints, read without running any code in them."""

from __future__ import annotations

from .reader import Checkpoint, read_checkpoint

__all__ = ["Checkpoint", "read_checkpoint"]
