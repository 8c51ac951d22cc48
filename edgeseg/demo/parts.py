"""Outlines and relief of the parts on the conveyor, as signed distances on a pixel grid."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Callable

PART_NAMES: tuple[str, ...] = ("washer", "bolt", "nut", "gear", "bracket")
"""Class names; the part with label `i` is `PART_NAMES[i - 1]`, label 0 is the background."""

Field = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Relief:
    """A part seen from above, before material and light.

    Attributes:
        distance: `float32[H, W]` in pixels, negative inside the part, positive outside and in its holes.
        height: `float32[H, W]` in pixels above the belt; meaningful only inside the part.
        grain: `float32[H, W]`, the coordinate in pixels across which the surface is brushed or turned.
    """

    distance: Field
    height: Field
    grain: Field


def relief(name: str, x: Field, y: Field, radius_px: float, rng: np.random.Generator) -> Relief:
    """Model one part in its own coordinates.

    Args:
        name: One of `PART_NAMES`.
        x: `float32[H, W]`, the part's long axis in pixels, 0 at its centre.
        y: `float32[H, W]`, the other axis.
        radius_px: Distance from the centre to the farthest point of the part, in pixels.
        rng: Draws the proportions (hole size, number of teeth, ...).

    Returns:
        The relief on the grid of `x` and `y`.

    Raises:
        KeyError: `name` is not a part.
    """
    return _BUILDERS[name](x, y, radius_px, rng)


def _disc(x: Field, y: Field, radius: float) -> Field:
    return np.hypot(x, y) - np.float32(radius)


def _box(x: Field, y: Field, half_x: float, half_y: float, corner: float = 0.0) -> Field:
    dx, dy = np.abs(x) - np.float32(half_x - corner), np.abs(y) - np.float32(half_y - corner)
    outside = np.hypot(np.maximum(dx, 0), np.maximum(dy, 0))
    return outside + np.minimum(np.maximum(dx, dy), 0) - np.float32(corner)


def _hexagon(x: Field, y: Field, apothem: float) -> Field:
    root = np.float32(np.sqrt(3.0) / 2)
    sides = (np.abs(y), np.abs(root * x + 0.5 * y), np.abs(root * x - 0.5 * y))
    return np.maximum(np.maximum(sides[0], sides[1]), sides[2]) - np.float32(apothem)


def _rounded(distance: Field, width: float, top: float) -> Field:
    rise = np.clip(-distance / np.float32(width), 0, 1)
    return np.asarray(np.float32(top) * np.sqrt(1 - (1 - rise) ** 2), dtype=np.float32)


def _washer(x: Field, y: Field, radius: float, rng: np.random.Generator) -> Relief:
    bore = radius * rng.uniform(0.42, 0.58)
    r = np.hypot(x, y)
    distance = np.maximum(r - np.float32(radius), np.float32(bore) - r)
    return Relief(distance=distance, height=_rounded(distance, 0.09 * radius + 1, 0.08 * radius + 1), grain=r)


def _bolt(x: Field, y: Field, radius: float, rng: np.random.Generator) -> Relief:
    shank = radius * rng.uniform(0.15, 0.19)
    head_half, head_length = shank * rng.uniform(1.75, 2.0), radius * rng.uniform(0.26, 0.34)
    pitch = max(3.2, 0.075 * radius)
    threaded = x > np.float32(radius * rng.uniform(-0.45, 0.0))
    wave = np.where(threaded, np.sin(np.float32(2 * np.pi / pitch) * (x + 0.35 * y)), np.float32(0))
    tip = np.maximum(x - np.float32(radius - 0.6 * shank), 0) * np.float32(0.5)
    shaft = np.maximum(
        np.abs(y) - np.float32(shank) + tip - np.float32(0.5) * wave, np.abs(x) - np.float32(radius)
    )
    head = _box(x + np.float32(radius - head_length / 2), y, head_length / 2, head_half, 0.2 * head_length)
    cylinder = np.sqrt(np.maximum(np.float32(shank**2) - y**2, 0)) + np.float32(0.55) * wave
    facets = np.minimum(np.float32(1.0), (np.float32(head_half) - np.abs(y)) / np.float32(0.5 * head_half))
    cap = np.minimum(
        _rounded(head, 0.3 * head_length, head_half), np.float32(head_half) * (0.25 + 0.75 * facets)
    )
    height = np.where(head < 0, np.maximum(cap, 0), cylinder)
    return Relief(distance=np.minimum(shaft, head), height=height, grain=x)


def _nut(x: Field, y: Field, radius: float, rng: np.random.Generator) -> Relief:
    apothem = radius * np.sqrt(3.0) / 2
    r = np.hypot(x, y)
    bore = radius * rng.uniform(0.42, 0.52)
    distance = np.maximum(_hexagon(x, y, apothem), np.float32(bore) - r)
    # The chamfer is a cone that cuts the six corners, as on a real nut.
    cone = np.float32(0.45 * radius) - np.maximum(r - np.float32(0.86 * radius), 0) * np.float32(1.6)
    countersink = np.float32(0.45 * radius) - np.maximum(np.float32(bore * 1.18) - r, 0) * np.float32(1.4)
    height = np.minimum(np.minimum(_rounded(distance, 2.0, 0.45 * radius), cone), countersink)
    return Relief(distance=distance, height=height, grain=r)


def _gear(x: Field, y: Field, radius: float, rng: np.random.Generator) -> Relief:
    teeth = int(rng.integers(12, 21))
    depth = radius * rng.uniform(0.11, 0.15)
    r, angle = np.hypot(x, y), np.arctan2(y, x)
    tooth = np.clip(np.float32(1.8) * np.sin(np.float32(teeth) * angle), -1, 1)
    rim = (r - np.float32(radius - depth / 2) - np.float32(depth / 2) * tooth) * np.float32(0.75)
    bore, hub = radius * rng.uniform(0.15, 0.21), radius * rng.uniform(0.32, 0.38)
    keyway = _box(x - np.float32(bore), y, 0.35 * bore, 0.32 * bore)
    distance = np.maximum(rim, -np.minimum(_disc(x, y, bore), keyway))
    count = int(rng.choice([0, 4, 5, 6]))
    if count:
        sector = np.mod(angle, np.float32(2 * np.pi / count)) - np.float32(np.pi / count)
        ring = np.float32(0.55 * radius)
        distance = np.maximum(distance, -_disc(r * np.cos(sector) - ring, r * np.sin(sector), 0.12 * radius))
    web = np.clip(np.minimum(r - np.float32(hub), np.float32(0.74 * radius) - r) / 2 + 0.5, 0, 1)
    height = np.asarray(
        _rounded(distance, 0.06 * radius + 1, 0.14 * radius) - 0.07 * radius * web, dtype=np.float32
    )
    return Relief(distance=distance, height=height, grain=r)


def _bracket(x: Field, y: Field, radius: float, rng: np.random.Generator) -> Relief:
    arm = radius * rng.uniform(0.2, 0.25)
    long, short = 0.86 * radius, radius * rng.uniform(0.5, 0.66)
    ox, oy = np.float32(arm - long), np.float32(0.5 * short)
    foot = _box(x, y - oy, long, arm, 0.35 * arm)
    post = _box(x - ox, y - oy + np.float32(short - arm / 2), arm, short + arm / 2, 0.35 * arm)
    hole = rng.uniform(0.36, 0.5) * arm
    cut = np.minimum(
        _disc(x - np.float32(long - 1.1 * arm), y - oy, hole),
        _disc(x - ox, y - oy + np.float32(2 * short - 1.2 * arm), hole),
    )
    cut = np.minimum(cut, _box(x + np.float32(0.1 * arm), y - oy, 1.1 * arm, 0.8 * hole, 0.8 * hole))
    distance = np.maximum(np.minimum(foot, post), -cut)
    # A gusset embossed across the inner corner keeps the two legs from looking like flat paper.
    rib = np.clip(
        np.float32(0.16 * arm) - np.abs((x - ox) - (y - oy) - np.float32(0.9 * arm)) * np.float32(0.5),
        0,
        None,
    )
    height = _rounded(distance, 2.2, 0.28 * arm + 1.2) + np.float32(1.6) * rib
    return Relief(distance=distance, height=height, grain=y)


_BUILDERS: dict[str, Callable[[Field, Field, float, np.random.Generator], Relief]] = {
    "washer": _washer,
    "bolt": _bolt,
    "nut": _nut,
    "gear": _gear,
    "bracket": _bracket,
}
