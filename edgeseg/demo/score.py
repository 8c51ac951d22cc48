"""Scenes that training never used."""

from __future__ import annotations

from .conveyor import ConveyorFrame, ConveyorScene

# Training draws its seeds from below.
FIRST_UNSEEN_SEED = 1_000_000


def unseen_frames(count: int) -> list[ConveyorFrame]:
    """Render a frame each of `count` scenes that training never used."""
    return [ConveyorScene(seed=FIRST_UNSEEN_SEED + i).frame(17 * i % 200) for i in range(count)]
