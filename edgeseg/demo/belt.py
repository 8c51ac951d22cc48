"""The conveyor without parts: a belt that repeats along its length, side rails, lamp fall-off."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.float32]

BELT_COLOURS_BGR: tuple[tuple[int, int, int], ...] = (
    (58, 66, 52),
    (62, 60, 58),
    (84, 70, 52),
    (46, 45, 46),
    (70, 84, 72),
)


def rail_px(height: int) -> int:
    """Height of each side rail in pixels, for a frame of `height` pixels."""
    return max(8, round(0.07 * height))


def belt_tile(size_hw: tuple[int, int], rng: np.random.Generator) -> Image:
    """Paint one repeat of the belt.

    Args:
        size_hw: `(height, length)` of the repeat, in pixels.
        rng: Draws colour, wear, stains and the place of the seam.

    Returns:
        `float32[H, L, 3]` BGR, 0 to 255; its left edge continues its right edge.
    """
    height, length = size_hw
    weave = rng.normal(0, 1, (height, length)).astype(np.float32)
    fabric = cv2.blur(weave, (1, 3), borderType=cv2.BORDER_REFLECT) * 5 + cv2.blur(weave, (5, 1)) * 5
    streaks = cv2.GaussianBlur(rng.normal(0, 1, (height, 1)).astype(np.float32), (0, 0), 1.5) * 7
    rows, columns = np.mgrid[:height, :length].astype(np.float32)
    ribs = (
        2.2
        * np.sin(rows * np.float32(2 * np.pi / 6))
        * np.sin(columns * np.float32(2 * np.pi * (length // 6) / length))
    )
    tone = fabric + streaks + ribs + _clouds(height, length, rng)
    colour = np.asarray(BELT_COLOURS_BGR[int(rng.integers(len(BELT_COLOURS_BGR)))], dtype=np.float32)
    tile = (colour * np.float32(rng.uniform(0.85, 1.25)))[None, None] * (1 + tone[..., None] / 60)
    _add_stains(tile, rng)
    _add_seam(tile, rows, columns, rng)
    return np.ascontiguousarray(tile, dtype=np.float32)


def backdrop_light(size_hw: tuple[int, int], rng: np.random.Generator) -> Image:
    """Lamp fall-off over the frame.

    Args:
        size_hw: `(height, width)` of the frame, in pixels.
        rng: Draws the place and warmth of the lamp.

    Returns:
        `float32[H, W, 3]` factors around 1; the lamp's hot spot is brighter, the corners darker.
    """
    height, width = size_hw
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    x, y = columns / width - rng.uniform(0.25, 0.7), rows / height - rng.uniform(0.25, 0.65)
    fall = rng.uniform(0.75, 0.95) + rng.uniform(0.4, 0.6) * np.exp(-(x**2 + y**2) / rng.uniform(0.18, 0.4))
    warmth = np.array([rng.uniform(0.92, 1.04), 1.0, rng.uniform(0.97, 1.06)], dtype=np.float32)
    return np.asarray(fall[..., None] * warmth, dtype=np.float32)


def paint_rails(size_hw: tuple[int, int], rng: np.random.Generator) -> Image:
    """Build the layer of both side rails.

    Args:
        size_hw: `(height, width)` of the frame, in pixels.
        rng: Draws the rails' brightness and brushed pattern.

    Returns:
        `float32[H, W, 4]`: BGR 0 to 255, and in the last channel 1 on a rail, between 0 and 1 where a rail
        shades the belt (colour black), 0 elsewhere.
    """
    height, width = size_hw
    rail = rail_px(height)
    layer = np.zeros((height, width, 4), dtype=np.float32)
    across = np.linspace(-1, 1, rail, dtype=np.float32)[:, None]
    brushed = cv2.blur(rng.normal(0, 1, (rail, width)).astype(np.float32), (31, 1)) * 0.25
    profile = (0.55 + 0.4 * np.exp(-((across + 0.35) ** 2) / 0.08) - 0.25 * across**2) * (1 + brushed)
    steel = (
        profile[..., None] * np.array([172, 168, 162], dtype=np.float32) * np.float32(rng.uniform(0.75, 1.05))
    )
    pitch = 4 * rail
    for centre in range(int(rng.integers(pitch)), width, pitch):
        spot = (centre, rail // 2)
        steel = np.ascontiguousarray(steel, dtype=np.float32)
        cv2.circle(steel, spot, max(2, rail // 6), (70, 70, 72), -1, cv2.LINE_AA)
        cv2.circle(steel, (spot[0] - 1, spot[1] - 1), max(1, rail // 9), (150, 148, 145), -1, cv2.LINE_AA)
    layer[:rail, :, :3], layer[-rail:, :, :3] = steel, steel
    layer[:rail, :, 3], layer[-rail:, :, 3] = 1, 1
    soft = rail // 2
    fade = np.linspace(0.55, 0, soft, dtype=np.float32)[:, None]
    layer[rail : rail + soft, :, 3] = fade
    layer[-rail - soft // 2 : -rail, :, 3] = fade[::-2][-(soft // 2) :]
    return layer


def _clouds(height: int, length: int, rng: np.random.Generator) -> Image:
    coarse = rng.normal(0, 1, (8, 24)).astype(np.float32)
    wrapped = np.concatenate([coarse, coarse[:, :1]], axis=1)
    smooth = cv2.resize(wrapped, (length, height), interpolation=cv2.INTER_LINEAR)
    return np.asarray(smooth * 3.5, dtype=np.float32)


def _add_stains(tile: Image, rng: np.random.Generator) -> None:
    height, length = tile.shape[:2]
    dirt = np.zeros((height, length), dtype=np.float32)
    for _ in range(int(rng.integers(6, 16))):
        centre = (int(rng.integers(60, length - 60)), int(rng.integers(height)))
        axes = (int(rng.integers(3, 40)), int(rng.integers(2, 14)))
        cv2.ellipse(
            dirt, centre, axes, float(rng.uniform(0, 180)), 0, 360, float(rng.uniform(-0.25, 0.4)), -1
        )
    for _ in range(int(rng.integers(8, 20))):
        x, y = int(rng.integers(80, length - 80)), int(rng.integers(height))
        end = (x + int(rng.integers(-60, 60)), y + int(rng.integers(-12, 12)))
        cv2.line(dirt, (x, y), end, float(rng.uniform(-0.5, -0.1)), 1, cv2.LINE_AA)
    tile *= 1 - cv2.GaussianBlur(dirt, (0, 0), 1.4)[..., None]


def _add_seam(tile: Image, rows: Image, columns: Image, rng: np.random.Generator) -> None:
    length = tile.shape[1]
    at = columns - rng.uniform(0.3, 0.6) * length - np.float32(rng.uniform(-0.2, 0.2)) * (rows - rows.mean())
    groove = np.exp(-((at / 1.6) ** 2)) * 0.55 - np.exp(-(((at - 3) / 1.6) ** 2)) * 0.25
    stitch = np.exp(-(((np.abs(at) - 9) / 1.3) ** 2)) * (np.mod(rows, 12) < 7) * 0.5
    tile *= (1 - groove + stitch)[..., None].astype(np.float32)
