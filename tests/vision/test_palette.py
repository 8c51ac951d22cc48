"""Colours that can be told apart, and ink that can be read on them."""

from __future__ import annotations

import numpy as np
import pytest

from edgeseg.vision.palette import color_from_number, text_color_on


def luminance(color: tuple[int, ...]) -> float:
    share = np.array(color) / 255
    linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    return float(linear @ (0.0722, 0.7152, 0.2126))


def test_ink_stands_out_from_its_ground() -> None:
    for number in range(1, 97):
        ground = color_from_number(number)
        dark, light = sorted((luminance(ground), luminance(text_color_on(ground))))
        assert (light + 0.05) / (dark + 0.05) >= 4.5


# Of Machado, Oliveira and Fernandes 2009, for people who lack the cones for red, green and blue; linear RGB.
SIGHT = {
    "all": np.eye(3),
    "no red": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "no green": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.01182, 0.04294, 0.968881],
    ],
    "no blue": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.3039],
    ],
}
XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])


def cielab(colors: list[tuple[int, ...]], sight: np.ndarray) -> np.ndarray:
    share = np.array(colors)[:, ::-1] / 255
    linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    x, y, z = np.cbrt((linear @ np.transpose(sight)).clip(1e-3, 1) @ XYZ.T / XYZ.sum(1)).T
    return np.stack((116 * y, 500 * (x - y), 200 * (y - z)), 1)


@pytest.mark.parametrize("sight", SIGHT)
def test_neighbouring_colours_can_be_told_apart(sight: str) -> None:
    lab = cielab([color_from_number(number) for number in range(1, 25)], np.array(SIGHT[sight]))
    away = np.linalg.norm(lab[:, None] - lab, axis=2) + 1000 * np.eye(24)

    assert away[:8, :8].min() > 20
    assert min(away[row, row + 1] for row in range(23)) > 15
