from __future__ import annotations

import cv2
import numpy as np
import pytest

from edgeseg.errors import InputError
from edgeseg.spec import Preprocess
from edgeseg.vision.letterbox import Letterbox

PAD = Preprocess().pad_bgr
SIZES_HW = [
    (480, 640),
    (1080, 1920),
    (1920, 1080),
    (100, 5000),
    (5000, 100),
    (1, 1),
    (20, 65500),
    (5000, 1),
    (1, 5000),
    (800, 1344),
    (799, 1343),
    (801, 1345),
    (333, 77),
    (2, 3),
]
INPUTS_HW = [(800, 1344), (320, 320), (1344, 800), (32, 32)]


def fitted(frame: np.ndarray, input_hw: tuple[int, int]) -> np.ndarray:
    # Left from the frame before: every pixel must be overwritten.
    slot = np.full((*input_hw, 3), 77, np.uint8)
    Letterbox(frame_size_hw=frame.shape[:2], input_size_hw=input_hw).fit(frame, slot, PAD)
    return slot


def to_input(boxes: np.ndarray, letterbox: Letterbox) -> np.ndarray:
    """The way there, in double precision: frame pixels to input pixels."""
    (height, width), (resized_h, resized_w) = letterbox.frame_size_hw, letterbox.resized_hw
    scale = np.array((resized_w / width, resized_h / height) * 2)
    return np.asarray(boxes * scale, np.float32)


def random_sizes(count: int) -> list[tuple[int, int]]:
    rng = np.random.default_rng(5)
    return [(int(h), int(w)) for h, w in np.exp(rng.uniform(0, np.log(9000), (count, 2))).astype(int) + 1]


@pytest.mark.parametrize("input_hw", INPUTS_HW)
@pytest.mark.parametrize("size_hw", SIZES_HW)
def test_the_frame_is_as_large_as_fits(size_hw: tuple[int, int], input_hw: tuple[int, int]) -> None:
    height, width = Letterbox(frame_size_hw=size_hw, input_size_hw=input_hw).resized_hw
    assert 1 <= height <= input_hw[0]
    assert 1 <= width <= input_hw[1]
    assert height == input_hw[0] or width == input_hw[1]
    scale = min(input_hw[0] / size_hw[0], input_hw[1] / size_hw[1])
    # Whole pixels: half a pixel away at most, but for sides that would vanish.
    assert abs(height - max(1, size_hw[0] * scale)) <= 0.5
    assert abs(width - max(1, size_hw[1] * scale)) <= 0.5


def test_known_sizes() -> None:
    known = {
        (1080, 1920): (756, 1344),
        (480, 640): (800, 1067),
        (1920, 1080): (800, 450),
        (800, 1344): (800, 1344),
        (1, 1): (800, 800),
        (20, 65500): (1, 1344),
        (5000, 1): (800, 1),
    }
    found = {hw: Letterbox(frame_size_hw=hw, input_size_hw=(800, 1344)).resized_hw for hw in known}
    assert found == known


@pytest.mark.parametrize("size_hw", SIZES_HW)
def test_every_pixel_is_frame_or_padding(size_hw: tuple[int, int]) -> None:
    input_hw = (320, 448)
    frame = np.full((*size_hw, 3), (250, 5, 200), np.uint8)
    height, width = Letterbox(frame_size_hw=size_hw, input_size_hw=input_hw).resized_hw
    slot = fitted(frame, input_hw)
    assert (slot[:height, :width] == (250, 5, 200)).all()
    assert (slot[height:] == PAD).all()
    assert (slot[:, width:] == PAD).all()


def test_padding_is_the_mean_in_bgr() -> None:
    assert PAD == (104, 116, 124)
    assert Preprocess(mean_rgb=(1.2, 0.0, -0.5)).pad_bgr == (0, 0, 255)


def test_a_frame_of_the_exact_size_is_copied() -> None:
    frame = np.random.default_rng(1).integers(0, 256, (320, 448, 3), np.uint8)
    assert np.array_equal(fitted(frame, (320, 448)), frame)


def test_resizing_is_plain_bilinear() -> None:
    torch = pytest.importorskip("torch")
    frame = np.random.default_rng(2).integers(0, 256, (601, 407, 3), np.uint8)
    letterbox = Letterbox(frame_size_hw=(601, 407), input_size_hw=(320, 448))
    height, width = letterbox.resized_hw
    image = torch.from_numpy(frame).permute(2, 0, 1)[None].float()
    wanted = torch.nn.functional.interpolate(image, (height, width), mode="bilinear", align_corners=False)
    away = fitted(frame, (320, 448))[:height, :width] - wanted[0].permute(1, 2, 0).numpy()
    # Half a level of rounding, and what fixed-point weights add.
    assert np.abs(away).max() < 1.1
    antialiased = cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA)
    assert np.abs(antialiased - wanted[0].permute(1, 2, 0).numpy()).max() > 20


def test_only_its_slot_of_a_batch_is_written() -> None:
    batch = np.full((3, 64, 96, 3), 9, np.uint8)
    letterbox = Letterbox(frame_size_hw=(10, 30), input_size_hw=(64, 96))
    letterbox.fit(np.zeros((10, 30, 3), np.uint8), batch[1], PAD)
    assert (batch[[0, 2]] == 9).all()
    assert not (batch[1] == 9).any()


@pytest.mark.parametrize("flip", [np.s_[..., ::-1], np.s_[::-1], np.s_[:, ::-1], np.s_[::2, ::3]])
def test_a_frame_that_is_a_view(flip: tuple[slice, ...]) -> None:
    frame = np.random.default_rng(3).integers(0, 256, (120, 90, 3), np.uint8)[flip]
    assert np.array_equal(fitted(frame, (64, 96)), fitted(np.ascontiguousarray(frame), (64, 96)))


@pytest.mark.parametrize("input_hw", INPUTS_HW)
def test_the_whole_frame_maps_to_the_whole_frame_exactly(input_hw: tuple[int, int]) -> None:
    for height, width in [*SIZES_HW, *random_sizes(300)]:
        letterbox = Letterbox(frame_size_hw=(height, width), input_size_hw=input_hw)
        resized_h, resized_w = letterbox.resized_hw
        whole = letterbox.to_frame(np.array([(0, 0, resized_w, resized_h)], np.float32))
        assert whole.tolist() == [[0, 0, width, height]], (height, width)


@pytest.mark.parametrize("input_hw", INPUTS_HW)
def test_boxes_come_back(input_hw: tuple[int, int]) -> None:
    rng = np.random.default_rng(7)
    for height, width in [*SIZES_HW, *random_sizes(300)]:
        letterbox = Letterbox(frame_size_hw=(height, width), input_size_hw=input_hw)
        corners = np.sort(rng.uniform(0, 1, (20, 2, 2)) * (width, height), axis=1)
        boxes = corners.reshape(20, 4)
        back = letterbox.to_frame(to_input(boxes, letterbox))
        assert back.dtype == np.float32
        # A thousandth of a pixel, as far as single precision has it.
        allowed = max(1e-3, 2e-7 * max(height, width))
        assert np.abs(back - boxes).max() <= allowed, (height, width)


def test_a_box_shifted_by_a_pixel_does_not_come_back() -> None:
    letterbox = Letterbox(frame_size_hw=(480, 640), input_size_hw=(800, 1344))
    box = np.array([(10.0, 20.0, 300.0, 400.0)])
    assert np.abs(letterbox.to_frame(to_input(box, letterbox) + 1) - box).max() > 0.5


def test_boxes_are_clipped_to_the_frame() -> None:
    letterbox = Letterbox(frame_size_hw=(100, 200), input_size_hw=(64, 96))
    boxes = np.array([(-5, -5, 500, 500), (90, 60, 96, 64), (-9, -9, -1, -1)], np.float32)
    found = letterbox.to_frame(boxes)
    assert found[0].tolist() == [0, 0, 200, 100]
    assert found[1].tolist() == [187.5, 100, 200, 100]
    assert found[2].tolist() == [0, 0, 0, 0]


def test_no_boxes() -> None:
    letterbox = Letterbox(frame_size_hw=(100, 200), input_size_hw=(64, 96))
    assert letterbox.to_frame(np.zeros((0, 4), np.float32)).shape == (0, 4)


def test_the_boxes_given_are_left_alone() -> None:
    letterbox = Letterbox(frame_size_hw=(100, 200), input_size_hw=(64, 96))
    boxes = np.array([(-5, -5, 500, 500)], np.float32)
    letterbox.to_frame(boxes)
    assert boxes.tolist() == [[-5, -5, 500, 500]]


@pytest.mark.parametrize("size_hw", [(0, 5), (5, 0), (0, 0)])
def test_a_frame_without_pixels(size_hw: tuple[int, int]) -> None:
    with pytest.raises(InputError, match=f"at least one pixel, got {size_hw[0]}x{size_hw[1]}"):
        Letterbox(frame_size_hw=size_hw, input_size_hw=(64, 96))
