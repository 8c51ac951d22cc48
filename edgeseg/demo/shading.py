"""Light on a part: material, Lambert and highlight terms, and the shadow it casts."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from .parts import PART_NAMES, Relief, relief

SHADOW_REACH_PX = 14
"""Pixels a sprite is larger than its part on every side, so that the soft shadow fits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """How a surface answers light.

    Attributes:
        colour_bgr: Diffuse colour, 0 to 255.
        gloss: Strength of the highlight and of the reflected ceiling, 0 (paint) to 1 (polished).
        grain: Depth of the brushed or turned pattern, as a fraction of the brightness.
    """

    colour_bgr: tuple[int, int, int]
    gloss: float
    grain: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Light:
    """The lamp over the belt.

    Attributes:
        direction: Unit vector to the lamp, x right, y down, z towards the camera.
        ambient: Light that comes from everywhere, as a fraction of the lamp.
    """

    direction: tuple[float, float, float]
    ambient: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Sprite:
    """A part rendered once, to be pasted wherever the belt has carried it.

    Attributes:
        colour: `float32[S, S, 3]` BGR, 0 to 255.
        alpha: `float32[S, S]`, coverage of the pixel by the part, 0 to 1.
        solid: `bool[S, S]`, the pixels that count as the part: coverage of at least one half.
        shadow: `float32[S, S]`, fraction of the light the part takes from what lies below it.
    """

    colour: NDArray[np.float32]
    alpha: NDArray[np.float32]
    solid: NDArray[np.bool_]
    shadow: NDArray[np.float32]


STEEL = Material(colour_bgr=(158, 154, 150), gloss=0.8, grain=0.10)
ZINC = Material(colour_bgr=(188, 182, 170), gloss=0.55, grain=0.06)
BRASS = Material(colour_bgr=(72, 148, 190), gloss=0.8, grain=0.09)
COPPER = Material(colour_bgr=(78, 108, 178), gloss=0.7, grain=0.09)
OXIDE = Material(colour_bgr=(66, 62, 60), gloss=0.45, grain=0.07)
ORANGE = Material(colour_bgr=(40, 108, 208), gloss=0.2, grain=0.02)
BLUE = Material(colour_bgr=(158, 96, 44), gloss=0.2, grain=0.02)

FINISHES: dict[str, tuple[Material, ...]] = {
    "washer": (STEEL, ZINC, BRASS, COPPER),
    "bolt": (STEEL, ZINC, OXIDE, BRASS),
    "nut": (STEEL, ZINC, BRASS, OXIDE),
    "gear": (STEEL, BRASS, OXIDE),
    "bracket": (ZINC, ORANGE, BLUE, STEEL),
}


def render_part(
    label: int, radius_px: float, angle_rad: float, light: Light, rng: np.random.Generator
) -> Sprite:
    """Render one part under the lamp.

    Args:
        label: 1-based index into `PART_NAMES`.
        radius_px: Distance from the centre to the farthest point of the part, in pixels.
        angle_rad: Rotation of the part, clockwise in the image.
        light: The lamp; it stays where it is when the part turns.
        rng: Draws proportions, material and stains.

    Returns:
        A square sprite with the part's centre in its middle pixel.
    """
    name = PART_NAMES[label - 1]
    half = int(np.ceil(radius_px)) + SHADOW_REACH_PX
    down, right = np.mgrid[-half : half + 1, -half : half + 1].astype(np.float32)
    cos, sin = np.float32(np.cos(angle_rad)), np.float32(np.sin(angle_rad))
    shape = relief(name, cos * right + sin * down, cos * down - sin * right, radius_px, rng)
    finishes = FINISHES[name]
    material = finishes[int(rng.integers(len(finishes)))]
    alpha = _coverage(shape.distance)
    return Sprite(
        colour=_colour(shape, material, light, rng),
        alpha=alpha,
        solid=alpha >= 0.5,
        shadow=_shadow(alpha, shape, light),
    )


def _coverage(distance: NDArray[np.float32]) -> NDArray[np.float32]:
    slope_y, slope_x = np.gradient(distance)
    # Unions and teeth are not exact distances; dividing by the slope keeps the edge one pixel wide.
    return np.asarray(
        np.clip(0.5 - distance / np.maximum(np.hypot(slope_x, slope_y), 0.5), 0, 1), dtype=np.float32
    )


def _shadow(alpha: NDArray[np.float32], shape: Relief, light: Light) -> NDArray[np.float32]:
    tall = float(np.clip(shape.height[alpha > 0.5].max(initial=1.0), 2.0, 9.0))
    lx, ly, lz = light.direction
    shift = np.array([[1, 0, -tall * lx / lz], [0, 1, -tall * ly / lz]], dtype=np.float32)
    size = (alpha.shape[1], alpha.shape[0])
    cast = cv2.GaussianBlur(cv2.warpAffine(alpha, shift, size), (0, 0), 1.2 + 0.22 * tall)
    contact = cv2.GaussianBlur(alpha, (0, 0), 1.5)
    return np.asarray(np.clip(0.55 * cast + 0.25 * contact, 0, 0.8), dtype=np.float32)


def _colour(shape: Relief, material: Material, light: Light, rng: np.random.Generator) -> NDArray[np.float32]:
    height = cv2.GaussianBlur(shape.height.astype(np.float32), (0, 0), 0.7)
    slope_y, slope_x = np.gradient(height)
    lean = 1 / np.sqrt(1 + slope_x**2 + slope_y**2)
    nx, ny = -slope_x * lean, -slope_y * lean
    lx, ly, lz = light.direction
    lambert = np.maximum(nx * lx + ny * ly + lean * lz, 0)
    half = np.array([lx, ly, lz + 1]) / np.linalg.norm([lx, ly, lz + 1])
    highlight = np.maximum(nx * half[0] + ny * half[1] + lean * half[2], 0) ** 40
    # Metal mirrors the hall: bright lamps above, dark floor below, so brightness follows the normal's tilt.
    hall = 0.5 + 0.5 * np.sin(2.6 * (nx * lx + ny * ly) + 1.1 * ny + rng.uniform(-0.4, 0.4))
    tint = (1 + rng.normal(0, 0.018, 3)) * (1 + rng.normal(0, 0.08))
    body = (light.ambient + (1 - light.ambient) * lambert) * (1 - 0.35 * material.gloss)
    body = (body + 0.5 * material.gloss * hall) * _finish(shape, material, rng)
    edge = 1 - 0.35 * np.exp(-np.maximum(-shape.distance, 0) / 1.5)
    base = np.asarray(material.colour_bgr, dtype=np.float32) * tint
    lit = (body * edge)[..., None] * base + (150 * material.gloss * highlight)[..., None]
    return np.asarray(lit, dtype=np.float32)


def _finish(shape: Relief, material: Material, rng: np.random.Generator) -> NDArray[np.float32]:
    lines = rng.normal(0, 1, 512).astype(np.float32)
    lines = lines + np.roll(lines, 1) + rng.normal(0, 0.5)
    brushed = np.interp(shape.grain * 1.3, np.arange(-256, 256), lines).astype(np.float32)
    size = shape.distance.shape
    blotches = cv2.resize(
        rng.normal(0, 1, (7, 7)).astype(np.float32), size[::-1], interpolation=cv2.INTER_CUBIC
    )
    speckle = rng.normal(0, 1, size).astype(np.float32)
    return np.asarray(
        1 + 0.5 * material.grain * brushed + 0.05 * blotches + 0.025 * speckle, dtype=np.float32
    )
