from __future__ import annotations

import json
import math
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import edgeseg
from edgeseg.errors import ArtifactError, ConfigError, InputError
from edgeseg.runtime.contract import Backend, RawDetections
from edgeseg.runtime.model import Model, check_frame, load
from edgeseg.vision.detections import Detections
from tests.altered import sealed

from .fake_bundle import BOXES, LABELS, NAMES, SCORES, SHIFT_PX, SIZE_HW, make_bundle, make_spec

pytest.importorskip("onnxruntime")

if TYPE_CHECKING:
    from collections.abc import Iterator

HEIGHT, WIDTH = SIZE_HW


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_bundle(tmp_path / "bundle")


@pytest.fixture
def model(folder: Path) -> Iterator[Model]:
    with load(folder, threads=1) as model:
        yield model


@pytest.fixture
def model_of_4(tmp_path: Path) -> Iterator[Model]:
    with load(make_bundle(tmp_path / "four", batch=4), threads=1) as model:
        yield model


def gray(value: int, size_hw: tuple[int, int] = SIZE_HW) -> np.ndarray:
    return np.full((*size_hw, 3), value, np.uint8)


def lefts(found: list[Detections]) -> list[float]:
    return [float(one.boxes_xyxy[0, 0]) for one in found]


def expected_lefts(*values: int) -> object:
    return pytest.approx([4 + SHIFT_PX * value / 255 for value in values], abs=0.01)


def test_one_frame_gives_detections(model: Model) -> None:
    found = model(gray(0))
    assert isinstance(found, Detections)
    assert found.frame_size_hw == SIZE_HW
    assert found.class_names == NAMES
    assert found.names == ["bolt", "nut", "washer"]
    np.testing.assert_allclose(found.scores, SCORES[:3])
    np.testing.assert_allclose(found.boxes_xyxy, BOXES[:3], atol=1e-4)
    assert found.dense_masks().shape == (3, *SIZE_HW)


def test_a_list_gives_a_list(model: Model) -> None:
    found = model([gray(51)])
    assert isinstance(found, list)
    assert lefts(found) == expected_lefts(51)


def test_an_empty_list(model: Model) -> None:
    assert model([]) == []


@pytest.mark.parametrize("kind", [list, tuple, deque])
def test_a_list_longer_than_the_batch_keeps_its_order(model_of_4: Model, kind: Any) -> None:
    values = [0, 255, 10, 60, 200, 30, 90, 120, 5]
    assert lefts(model_of_4(kind([gray(value) for value in values]))) == expected_lefts(*values)


def test_one_frame_in_a_batch_of_4(model_of_4: Model) -> None:
    found = model_of_4(gray(102))
    assert isinstance(found, Detections)
    assert lefts([found]) == expected_lefts(102)


def test_the_same_frame_alone_and_in_a_batch(model: Model, model_of_4: Model) -> None:
    rng = np.random.default_rng(3)
    frames = [rng.integers(0, 256, (h, w, 3), np.uint8) for h, w in ((48, 80), (97, 31), (64, 96), (5, 300))]
    for alone, together in zip([model(frame) for frame in frames], model_of_4(frames), strict=True):
        np.testing.assert_allclose(alone.boxes_xyxy, together.boxes_xyxy, atol=1e-3)
        assert np.array_equal(alone.dense_masks(), together.dense_masks())


@pytest.mark.parametrize(
    "size_hw", [(480, 640), (641, 333), (1, 1), (20, 3001), (5000, 1), (7, 13), (128, 192)]
)
def test_frames_of_any_size(model: Model, size_hw: tuple[int, int]) -> None:
    height, width = size_hw
    found = model(gray(0, size_hw))
    assert found.frame_size_hw == size_hw
    assert len(found) == 3
    assert (found.boxes_xyxy >= 0).all()
    assert (found.boxes_xyxy <= (width, height, width, height)).all()
    # Box 2 is the whole input, so it is the whole frame.
    np.testing.assert_allclose(found.boxes_xyxy[2], (0, 0, width, height), rtol=1e-6)
    assert found.dense_masks().shape == (3, height, width)
    assert found.draw(gray(0, size_hw)).shape == (height, width, 3)


def test_boxes_are_in_pixels_of_the_frame(model: Model) -> None:
    # Twice the input's size: everything twice as far.
    found = model(gray(0, (2 * HEIGHT, 2 * WIDTH)))
    np.testing.assert_allclose(found.boxes_xyxy, 2 * BOXES[:3], atol=1e-3)


def test_a_frame_that_is_a_view(model: Model) -> None:
    frame = np.random.default_rng(2).integers(0, 256, (80, 70, 3), np.uint8)
    for view in (frame[..., ::-1], frame[::2, ::2], frame.transpose(1, 0, 2)):
        copied = model(np.ascontiguousarray(view))
        np.testing.assert_allclose(model(view).boxes_xyxy, copied.boxes_xyxy)


def test_the_frame_is_left_alone(model: Model) -> None:
    frame = np.random.default_rng(4).integers(0, 256, (*SIZE_HW, 3), np.uint8)
    frame.flags.writeable = False
    before = frame.copy()
    model(frame).draw(frame)
    assert np.array_equal(frame, before)


def test_results_outlive_the_model(folder: Path) -> None:
    with load(folder, threads=1) as model:
        found = model(gray(0))
        model(gray(255), 0.0)
    np.testing.assert_allclose(found.boxes_xyxy, BOXES[:3], atol=1e-4)


@pytest.mark.parametrize(("threshold", "count"), [(0, 5), (0.2, 4), (0.5, 3), (0.8, 1), (0.9, 0), (1, 0)])
def test_threshold(model: Model, threshold: float, count: int) -> None:
    found = model(gray(9), threshold)
    assert len(found) == count
    assert (found.scores > threshold).all()


@pytest.mark.parametrize("threshold", [math.nan, -1.0, 2.0, -1e-9, math.inf])
def test_threshold_out_of_range(model: Model, threshold: float) -> None:
    with pytest.raises(ConfigError, match=f"score_threshold .* within 0 and 1, got {threshold}"):
        model(gray(0), threshold)


@pytest.mark.parametrize(
    ("frame", "named"),
    [
        (np.zeros((4, 5), np.uint8), r"uint8\[4, 5\]; .*COLOR_GRAY2BGR"),
        (np.zeros((4, 5, 1), np.uint8), r"uint8\[4, 5, 1\]; .*COLOR_GRAY2BGR"),
        (np.zeros((4, 5, 4), np.uint8), r"uint8\[4, 5, 4\]; .*COLOR_BGRA2BGR"),
        (np.zeros((4, 5, 3), np.float32), r"float32\[4, 5, 3\]; scale .*astype"),
        (np.zeros((4, 5, 3), np.int64), r"int64\[4, 5, 3\]; scale .*astype"),
        (np.zeros((2, 4, 5, 3), np.uint8), r"uint8\[2, 4, 5, 3\]; .*list of frames"),
        (np.zeros((3, 4, 5), np.uint8), r"uint8\[3, 4, 5\]; .*transpose\(1, 2, 0\)"),
        (np.zeros((0, 5, 3), np.uint8), r"uint8\[0, 5, 3\]"),
        (np.zeros((4, 0, 3), np.uint8), r"uint8\[4, 0, 3\]"),
        (np.zeros(3, np.uint8), r"uint8\[3\]"),
        (None, r"got NoneType; cv2\.imread gives None"),
        ("image.jpg", r"got str; .*read_image"),
        pytest.param(Path("image.jpg"), r"got \w+Path; .*read_image", id="a path"),
        (7, "got int"),
    ],
)
def test_what_is_not_a_frame_gets_advice(model: Model, frame: Any, named: str) -> None:
    for call in (check_frame, model, lambda frame: model([gray(0), frame])):
        with pytest.raises(InputError, match=named):
            call(frame)


def test_load_is_at_the_top_and_takes_a_string(folder: Path) -> None:
    with edgeseg.load(str(folder), backend="onnxruntime", precision="fp32", threads=2) as model:
        assert isinstance(model, edgeseg.Model)
        assert model.spec.class_names == NAMES
        assert model.description.startswith("ONNX Runtime ")


@pytest.mark.parametrize(
    ("setting", "named"),
    [
        ({"backend": "tensorflow"}, r"backend .* onnxruntime.*, got 'tensorflow'"),
        ({"precision": "int3"}, r"precision .*fp32.*, got 'int3'"),
        ({"threads": 0}, "threads .* got 0"),
        ({"threads": -2}, "threads .* got -2"),
    ],
)
def test_settings_that_cannot_work(folder: Path, setting: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        load(folder, **setting)


def test_no_bundle(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"no bundle at .*nowhere.*edgeseg export"):
        load(tmp_path / "nowhere")


def test_a_file_for_a_bundle(folder: Path) -> None:
    with pytest.raises(ArtifactError, match=r"no bundle at .*portable\.onnx"):
        load(folder / "portable.onnx")


def test_a_missing_graph(folder: Path) -> None:
    (folder / "portable.onnx").unlink()
    with pytest.raises(ArtifactError, match=r"portable\.onnx is missing"):
        load(folder)


def test_a_truncated_graph(folder: Path) -> None:
    graph = folder / "portable.onnx"
    size = graph.stat().st_size
    graph.write_bytes(graph.read_bytes()[:-1])
    with pytest.raises(ArtifactError, match=rf"portable\.onnx has {size - 1} bytes and must have {size}"):
        load(folder)


def test_one_altered_bit(folder: Path) -> None:
    graph = folder / "portable.onnx"
    content = bytearray(graph.read_bytes())
    content[len(content) // 2] ^= 1
    graph.write_bytes(content)
    with pytest.raises(ArtifactError, match=r"portable\.onnx was altered"):
        load(folder)


def edit_manifest(folder: Path, **changes: Any) -> None:
    manifest = folder / "model.json"
    data = json.loads(manifest.read_text(encoding="utf-8"))
    manifest.write_text(json.dumps(sealed({**data, **changes})), encoding="utf-8")


def test_an_unknown_key(folder: Path) -> None:
    edit_manifest(folder, colour="red")
    with pytest.raises(ArtifactError, match=r"model\.json.*colour"):
        load(folder)


def test_a_later_format(folder: Path) -> None:
    edit_manifest(folder, format=99)
    with pytest.raises(ArtifactError, match=r"format 99"):
        load(folder)


def test_a_manifest_that_is_not_json(folder: Path) -> None:
    (folder / "model.json").write_text("{", encoding="utf-8")
    with pytest.raises(ArtifactError, match=r"model\.json is not valid JSON"):
        load(folder)


def test_a_bundle_without_the_portable_graph(folder: Path) -> None:
    (folder / "portable.onnx").unlink()
    edit_manifest(folder, files={})
    with pytest.raises(ArtifactError, match=r"has no portable\.onnx"):
        load(folder)


def test_close(folder: Path) -> None:
    model = load(folder, threads=1)
    model.close()
    model.close()
    with pytest.raises(ArtifactError, match="closed"):
        model(gray(0))


def test_the_with_block_closes(folder: Path) -> None:
    with load(folder, threads=1) as model:
        assert len(model(gray(0))) == 3
    with pytest.raises(ArtifactError, match="closed"):
        model(gray(0))


class Spoilt(Backend):
    """A backend whose first box has a side that is not a number."""

    description = "a spoilt graph on paper"

    def __init__(self, side: float) -> None:
        self.side = side

    def __call__(self, images: np.ndarray, score_threshold: float) -> RawDetections:
        boxes = BOXES[None].copy()
        boxes[0, 0, 2] = self.side
        return RawDetections(
            counts=np.array([1], np.int32),
            boxes_xyxy=boxes,
            scores=SCORES[None],
            labels=LABELS[None],
            masks=np.ones((1, 5, 28, 28), np.float32),
        )

    def close(self) -> None:
        pass


@pytest.mark.parametrize("side", [math.nan, math.inf, -math.inf])
def test_a_graph_that_gives_no_numbers(side: float) -> None:
    with pytest.raises(ArtifactError, match="not finite on a spoilt graph"):
        Model(make_spec(), Spoilt(side))(gray(0))
    assert len(Model(make_spec(), Spoilt(30.0))(gray(0))) == 1


def test_several_threads(model_of_4: Model) -> None:
    values = list(range(0, 256, 16))
    with ThreadPoolExecutor(4) as pool:
        sizes = [(30 + value % 7, 50 + value % 11) for value in values]
        found = list(pool.map(lambda value, hw: model_of_4(gray(value, hw)), values, sizes))
    assert [one.frame_size_hw for one in found] == sizes
    for value, one in zip(values, found, strict=True):
        alone = model_of_4([gray(value, one.frame_size_hw)])[0]
        np.testing.assert_allclose(one.boxes_xyxy, alone.boxes_xyxy, atol=1e-4)
