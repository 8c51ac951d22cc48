"""Scenes that training never used."""

from __future__ import annotations

from .conveyor import ConveyorFrame, ConveyorScene

# Training only uses seeds below this.
FIRST_UNSEEN_SEED = 1_000_000


def unseen_frames(count: int) -> list[ConveyorFrame]:
    """Render one frame of each of `count` scenes that training never used."""
    return [ConveyorScene(seed=FIRST_UNSEEN_SEED + i).frame(17 * i % 200) for i in range(count)]
