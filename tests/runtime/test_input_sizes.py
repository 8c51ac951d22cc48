"""Several input sizes: which one a frame is computed at, what it finds there, and what is said of it."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

import numpy as np
import pytest

import edgeseg
from edgeseg.bundle.manifest import open_bundle
from edgeseg.errors import ArtifactError
from edgeseg.runtime.input_sizes import (
    ScaleRemark,
    advised_sizes,
    best_input,
    resize_limits,
    scale_share,
    size_advice,
)
from edgeseg.runtime.model import load
from edgeseg.vision.frames import Frame
from tests.altered import sealed

from .fake_bundle import BOXES, SHIFT_PX, SIZE_HW, make_bundle

if TYPE_CHECKING:
    from pathlib import Path

LANDSCAPE, UPRIGHT, SQUARE = (480, 640), (640, 480), (480, 480)
TURNED_HW = SIZE_HW[::-1]


@pytest.mark.parametrize(
    ("frame_hw", "sizes_hw", "expected"),
    [
        ((1080, 1920), [LANDSCAPE, UPRIGHT], 0),
        ((1920, 1080), [LANDSCAPE, UPRIGHT], 1),
        ((1920, 1080), [LANDSCAPE], 0),
        # As large in all three: the smallest pads least.
        ((300, 300), [LANDSCAPE, UPRIGHT, SQUARE], 2),
        # As large in both, and both are as small: the first.
        ((300, 300), [LANDSCAPE, UPRIGHT], 0),
        ((1, 1), [LANDSCAPE, SQUARE], 1),
    ],
    ids=["landscape", "upright", "only one", "square", "tie", "one pixel"],
)
def test_a_frame_is_computed_where_it_is_largest(
    frame_hw: tuple[int, int], sizes_hw: list[tuple[int, int]], expected: int
) -> None:
    assert best_input(frame_hw, sizes_hw) == expected


@pytest.mark.parametrize(
    ("frame_hw", "sizes_hw", "expected"),
    [
        # min(480 / 480, 640 / 640) in torchvision, 480 / 640 in the letterbox.
        ((640, 480), [LANDSCAPE], 0.75),
        ((640, 480), [LANDSCAPE, UPRIGHT], 1.0),
        ((480, 640), [LANDSCAPE], 1.0),
        ((256, 256), [LANDSCAPE], 1.0),
        # 1344 / 1920 of torchvision's 0.7 is 800 / 1920.
        ((1920, 1080), [(800, 1344)], 800 / 1344),
    ],
)
def test_scale_beside_torchvision_s(
    frame_hw: tuple[int, int], sizes_hw: list[tuple[int, int]], expected: float
) -> None:
    assert scale_share(frame_hw, sizes_hw) == pytest.approx(expected)


def test_scale_is_that_of_torchvision_s_own_resizing() -> None:
    torch = pytest.importorskip("torch")
    transform = pytest.importorskip("torchvision.models.detection.transform")
    sizes_hw = [LANDSCAPE]
    shortest, longest = resize_limits(sizes_hw)
    resize = transform.GeneralizedRCNNTransform(shortest, longest, [0.0] * 3, [1.0] * 3)
    for height, width in ((700, 300), (300, 700), (333, 333), (641, 480)):
        resized, _ = resize([torch.zeros(3, height, width)])
        letterboxed = min(480 / height, 640 / width)
        ours = letterboxed / scale_share((height, width), sizes_hw)
        assert resized.image_sizes[0][0] == pytest.approx(ours * height, abs=1)


def test_images_name_the_sizes_that_they_ask_for() -> None:
    frames = [LANDSCAPE] * 6 + [UPRIGHT] * 3 + [(200, 200)]
    assert advised_sizes(frames, [LANDSCAPE]) == (LANDSCAPE, UPRIGHT, SQUARE)
    assert advised_sizes(frames, [LANDSCAPE, UPRIGHT]) == (LANDSCAPE, UPRIGHT, SQUARE)
    # Rare ones are not worth an export.
    assert advised_sizes([LANDSCAPE] * 19 + [UPRIGHT], [LANDSCAPE]) == (LANDSCAPE,)
    # What no frame uses is not named.
    assert advised_sizes([(1080, 1920)], [(800, 1344)]) == ((768, 1344),)
    assert advised_sizes([], [LANDSCAPE]) == (LANDSCAPE,)


def test_advice_on_sizes() -> None:
    frames = [LANDSCAPE] * 6 + [UPRIGHT] * 3 + [(200, 200)]
    assert size_advice([LANDSCAPE], [LANDSCAPE], "photos") == ""
    assert size_advice(frames, [LANDSCAPE], "photos") == (
        "4 of 10 images in photos are computed with more padding than in torchvision and down to 0.75 of its "
        "scale, which costs accuracy; export with `--size 480 640 --size 640 480 --size 480 480` to compute "
        "them as torchvision does"
    )


@pytest.mark.parametrize("frame_hw", [(520, 696), (256, 256), (1024, 1024), (347, 260), (333, 500)])
def test_advised_sizes_are_what_torchvision_pads_to(frame_hw: tuple[int, int]) -> None:
    torch = pytest.importorskip("torch")
    transform = pytest.importorskip("torchvision.models.detection.transform")
    resize = transform.GeneralizedRCNNTransform(512, 640, [0.0] * 3, [1.0] * 3)
    padded = tuple(resize([torch.zeros(3, *frame_hw)])[0].tensors.shape[2:])
    advised = advised_sizes([frame_hw], [(512, 640)])
    assert advised == (padded,)
    assert best_input(frame_hw, [(512, 640), padded]) == 1


def test_a_source_is_remarked_on_once() -> None:
    notes: list[str] = []
    remark = ScaleRemark([LANDSCAPE], notes.append)
    for source, size_hw in ((0, LANDSCAPE), (1, UPRIGHT), (1, UPRIGHT), (0, (500, 500)), (2, UPRIGHT)):
        image = np.zeros((*size_hw, 3), np.uint8)
        remark(Frame(name=f"camera {source}", image=image, image_id=1, source=source))
    assert notes == [
        f"camera {source}, 640x480 (height x width), is computed at 0.75 of torchvision's scale, so small "
        "objects may be missed; export with `--size 480 640 --size 640 480`"
        for source in (1, 2)
    ]


@pytest.mark.parametrize("batch", [1, 4])
def test_mixed_frames_keep_their_order_and_their_scale(tmp_path: Path, batch: int) -> None:
    folder = make_bundle(tmp_path / "model", other_sizes=[TURNED_HW], batch=batch)
    levels = [0, 51, 102, 153, 204]
    shapes = [TURNED_HW, SIZE_HW, TURNED_HW, TURNED_HW, SIZE_HW]
    frames = [np.full((*size_hw, 3), level, np.uint8) for size_hw, level in zip(shapes, levels, strict=True)]
    with load(folder, threads=1) as model:
        assert model.sizes_hw == (SIZE_HW, TURNED_HW)
        found = model(frames, score_threshold=0.8)
    # At the scale of 1 box 0 lies where the graph has it; shrunk into the other size it would not.
    for level, size_hw, one in zip(levels, shapes, found, strict=True):
        assert one.frame_size_hw == size_hw
        left = min(BOXES[0, 0] + SHIFT_PX * level / 255, size_hw[1])
        assert one.boxes_xyxy[0, 0] == pytest.approx(left, abs=0.01)
        assert one.boxes_xyxy[0, 1] == pytest.approx(BOXES[0, 1], abs=0.01)


def test_one_size_shrinks_what_the_other_does_not(tmp_path: Path) -> None:
    frame = np.zeros((*TURNED_HW, 3), np.uint8)
    with load(make_bundle(tmp_path / "one"), threads=1) as model:
        assert model(frame).boxes_xyxy[0, 1] == pytest.approx(BOXES[0, 1] * 96 / 64, abs=0.05)


def test_every_size_is_verified(tmp_path: Path) -> None:
    folder = make_bundle(tmp_path / "model", other_sizes=[TURNED_HW])
    graph = folder / "sizes" / "96x64" / "portable.onnx"
    assert [each.spec.input_size_hw for each in open_bundle(folder).sizes] == [SIZE_HW, TURNED_HW]
    graph.write_bytes(graph.read_bytes()[:-1])
    with pytest.raises(ArtifactError, match=r"96x64/portable\.onnx has .* truncated or altered"):
        open_bundle(folder)


def test_a_further_size_of_another_model_is_refused(tmp_path: Path) -> None:
    folder = make_bundle(tmp_path / "model", other_sizes=[TURNED_HW])
    other = make_bundle(tmp_path / "other", input_size_hw=TURNED_HW, checkpoint_sha256="1" * 64)
    place = folder / "sizes" / "96x64"
    for path in other.iterdir():
        path.replace(place / path.name)
    # Whoever alters a bundle can alter its hashes too.
    manifest = folder / "model.json"
    content = json.loads(manifest.read_text())
    altered = place / "model.json"
    content["files"]["sizes/96x64/model.json"] = {
        "size": altered.stat().st_size,
        "sha256": hashlib.sha256(altered.read_bytes()).hexdigest(),
    }
    manifest.write_text(json.dumps(sealed(content)))
    with pytest.raises(ArtifactError, match=r"must be the model of .* at another input size"):
        open_bundle(folder)


def test_a_model_frees_every_size(tmp_path: Path) -> None:
    model = edgeseg.load(make_bundle(tmp_path / "model", other_sizes=[TURNED_HW]), threads=1)
    model.close()
    for size_hw in (SIZE_HW, TURNED_HW):
        with pytest.raises(ArtifactError, match="closed"):
            model(np.zeros((*size_hw, 3), np.uint8))
