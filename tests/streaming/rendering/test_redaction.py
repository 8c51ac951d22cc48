"""Redaction: nothing of an instance can be made out, and nothing else changes."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest

from edgeseg.errors import ConfigError, InputError
from edgeseg.streaming.rendering.redaction import Redaction, labels_from_names, redact
from edgeseg.vision.detections import Detections
from edgeseg.vision.masks import MaskCrop
from tests.data import shared

SIZE_HW = (240, 320)
NOTHING = MaskCrop(pixels=np.zeros((0, 0), np.uint8), left=0, top=0)
MODES = list(Redaction)


def people(
    *boxes: tuple[float, float, float, float], masks: Any = None, size_hw: tuple[int, int] = SIZE_HW
) -> Detections:
    """Instances with the ellipse in their box for a mask."""
    count = len(boxes)
    return Detections(
        boxes_xyxy=np.array(boxes, np.float32).reshape(count, 4),
        scores=np.full(count, 0.3, np.float32),
        labels=np.ones(count, np.int32),
        masks=tuple(masks) if masks is not None else tuple(map(ellipse, boxes)),
        frame_size_hw=size_hw,
        class_names=("__background__", "person", "car"),
    )


def ellipse(box: tuple[float, float, float, float]) -> MaskCrop:
    left, top, right, bottom = map(int, box)
    pixels = np.zeros((bottom - top, right - left), np.uint8)
    middle = (pixels.shape[1] // 2, pixels.shape[0] // 2)
    cv2.ellipse(pixels, middle, (max(middle[0] - 1, 0), max(middle[1] - 1, 0)), 0, 0, 360, 1, -1)
    return MaskCrop(pixels=pixels, left=left, top=top)


def text(size_hw: tuple[int, int] = SIZE_HW) -> np.ndarray:
    """A frame full of letters."""
    frame = np.full((*size_hw, 3), 230, np.uint8)
    for row, top in enumerate(range(10, size_hw[0] + 20, 14)):
        cv2.putText(
            frame, f"{row} KA-EX 4711 secret " * 9, (-5 * row, top), 0, 0.45, (20, 30, 40), 1, cv2.LINE_AA
        )
    return frame


def grown(found: Detections, by: int) -> np.ndarray:
    kernel = np.ones((2 * by + 1, 2 * by + 1), np.uint8)
    return cv2.dilate(np.asarray(found.dense_masks().any(0), np.uint8), kernel).astype(bool)


def detail(frame: np.ndarray, where: np.ndarray) -> float:
    laplacian = cv2.Laplacian(cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY), cv2.CV_32F)
    return float(laplacian[where].var())


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    "box",
    [(20, 30, 280, 220), (100, 100, 160, 130), (150, 20, 180, 220), (0, 0, 90, 90), (300, 200, 320, 240)],
)
def test_detail_is_gone(box: tuple[float, float, float, float], mode: Redaction) -> None:
    found, frame = people(box), text()
    inner = cv2.erode(found.dense_masks()[0].astype(np.uint8), np.ones((5, 5), np.uint8)).astype(bool)

    redacted = redact(frame, found, mode)

    assert detail(redacted, inner) < 0.05 * detail(frame, inner)


def test_a_plain_blur_would_not_do() -> None:
    found, frame = people((20, 30, 280, 220)), text()
    mask = found.dense_masks()[0]
    blurred = np.where(mask[..., None], cv2.GaussianBlur(frame, (0, 0), 0.6), frame)

    assert detail(blurred, mask) > 0.05 * detail(frame, mask)


def test_two_texts_look_the_same_afterwards() -> None:
    found = people((20, 30, 280, 220))
    frame, other = text(), np.roll(text(), (5, 9), (0, 1))
    inner = cv2.erode(found.dense_masks()[0].astype(np.uint8), np.ones((9, 9), np.uint8)).astype(bool)

    before = np.abs(frame.astype(int) - other)[inner].mean()
    after = np.abs(redact(frame, found).astype(int) - redact(other, found))[inner].mean()

    assert after < 0.1 * before


@pytest.mark.parametrize("mode", MODES)
def test_outside_the_grown_mask_nothing_changes(mode: Redaction) -> None:
    found, frame = people((40, 40, 180, 180), (150, 20, 260, 120), (290, 200, 320, 240)), text()

    changed = (redact(frame, found, mode) != frame).any(-1)

    # 140 pixels grow by 5, a 28th.
    assert not changed[~grown(found, 5)].any()
    assert changed[200:, 290:].any()


@pytest.mark.parametrize("mode", MODES)
def test_the_edge_and_some_pixels_beyond_it_are_redacted(mode: Redaction) -> None:
    rng = np.random.default_rng(0)
    frame = rng.integers(0, 256, (*SIZE_HW, 3), np.uint8)
    found = people((40, 40, 180, 180))

    changed = (redact(frame, found, mode) != frame).any(-1)

    assert changed[grown(found, 4)].mean() > 0.99


@pytest.mark.parametrize("mode", [Redaction.BLUR, Redaction.PIXELATE])
def test_little_is_kept_of_an_instance(mode: Redaction) -> None:
    frame = np.random.default_rng(0).integers(0, 256, (*SIZE_HW, 3), np.uint8)
    box = (40, 40, 200, 200)
    solid = MaskCrop(pixels=np.ones((160, 160), np.uint8), left=40, top=40)

    inside = redact(frame, people(box, masks=[solid]), mode)[40:200, 40:200]

    assert inside.std() < 5
    if mode is Redaction.PIXELATE:
        assert len(np.unique(inside.reshape(-1, 3), axis=0)) <= 16


def test_fill_keeps_nothing() -> None:
    found = people((40, 40, 180, 180))

    assert (redact(text(), found, Redaction.FILL)[found.dense_masks()[0]] == 128).all()


def test_holes_are_filled() -> None:
    pixels = np.ones((100, 100), np.uint8)
    pixels[20:80, 20:80] = 0
    found = people((50, 50, 150, 150), masks=[MaskCrop(pixels=pixels, left=50, top=50)])

    assert (redact(text(), found, Redaction.FILL)[50:150, 50:150] == 128).all()


@pytest.mark.parametrize("few", [0, 20])
def test_the_box_where_the_mask_is_empty_or_nearly_so(few: int) -> None:
    pixels = np.zeros((100, 100), np.uint8)
    pixels[:1, :few] = 1
    masks = [MaskCrop(pixels=pixels, left=50, top=50)]
    for found in (people((50, 50, 150, 150), masks=masks), people((50, 50, 150, 150), masks=[NOTHING])):
        assert (redact(text(), found, Redaction.FILL)[47:153, 47:153] == 128).all()


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    "box",
    [(-50, -50, 30, 30), (310, 230, 400, 300), (-10, -10, 500, 500), (5, 5, 5, 5), (319.5, 239.5, 320, 240)],
)
def test_boxes_at_the_borders_without_a_mask(box: tuple[float, float, float, float], mode: Redaction) -> None:
    frame = text()
    found = people(box, masks=[NOTHING])
    left, top, right, bottom = np.clip(np.array(box).astype(int), 0, (320, 240, 320, 240))

    redacted = redact(frame, found, Redaction(mode))

    assert redacted.shape == frame.shape
    if mode is Redaction.FILL:
        assert (redacted[top:bottom, left:right] == 128).all()


def test_a_box_outside_the_frame_changes_nothing() -> None:
    frame = text()
    found = people((-90, -90, -10, -10), (400, 10, 500, 20), masks=[NOTHING, NOTHING])

    assert np.array_equal(redact(frame, found), frame)


@pytest.mark.parametrize("size_hw", [(1, 1), (1, 40), (40, 1), (5, 5), (1080, 1920)])
@pytest.mark.parametrize("mode", MODES)
def test_frames_of_any_size(size_hw: tuple[int, int], mode: Redaction) -> None:
    height, width = size_hw
    solid = MaskCrop(pixels=np.ones(size_hw, np.uint8), left=0, top=0)
    found = people(*[(0, 0, width, height)] * 3, masks=[solid] * 3, size_hw=size_hw)

    assert redact(text(size_hw), found, mode).shape == (*size_hw, 3)


def test_the_frame_stays_as_it_is() -> None:
    frame = text()
    before = frame.copy()
    frame.setflags(write=False)

    redacted = redact(frame, people((40, 40, 180, 180)))
    nothing = redact(frame, people())

    assert np.array_equal(frame, before)
    assert np.array_equal(nothing, frame)
    assert not np.shares_memory(redacted, frame)
    assert not np.shares_memory(nothing, frame)


def test_a_frame_of_another_size() -> None:
    with pytest.raises(InputError, match=r"240x320 frame .* on one of 100x100"):
        redact(text((100, 100)), people())


def test_a_person_in_a_real_picture() -> None:
    capture = cv2.VideoCapture(str(shared("data", "videos", "one-by-one-person-detection.mp4")))
    try:
        capture.set(cv2.CAP_PROP_POS_FRAMES, 100)
        read, picture = capture.read()
    finally:
        capture.release()
    assert read
    frame = np.asarray(picture, np.uint8)
    height, width = frame.shape[:2]
    found = people((width * 0.3, height * 0.1, width * 0.7, height * 0.9), size_hw=(height, width))
    mask = cv2.erode(found.dense_masks()[0].astype(np.uint8), np.ones((5, 5), np.uint8)).astype(bool)

    assert detail(redact(frame, found), mask) < 0.05 * detail(frame, mask)


def test_labels_from_names() -> None:
    classes = ("__background__", "person", "N/A", "Traffic Light", "N/A", "car")

    assert labels_from_names([], classes) == []
    assert labels_from_names(["car", " traffic light ", "PERSON", "car"], classes) == [1, 3, 5]


@pytest.mark.parametrize("name", ["persons", "__background__", "N/A", ""])
def test_a_name_of_no_class(name: str) -> None:
    with pytest.raises(ConfigError, match=f"'{name}' is no class .* one of: 'person', 'car'"):
        labels_from_names(["car", name], ("__background__", "person", "N/A", "car"))
