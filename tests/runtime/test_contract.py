"""Results that no model can have are refused, whatever computed them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from edgeseg.errors import ArtifactError
from edgeseg.runtime.contract import Backend, RawDetections
from edgeseg.runtime.model import Model

from .fake_bundle import BOXES, LABELS, SCORES, SIZE_HW, disc, make_spec

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

FRAME = np.zeros((*SIZE_HW, 3), np.uint8)
ROWS = len(SCORES)


def good() -> RawDetections:
    return RawDetections(
        counts=np.array([ROWS], np.int32),
        boxes_xyxy=BOXES[None].copy(),
        scores=SCORES[None].copy(),
        labels=LABELS[None].copy(),
        masks=np.repeat(disc()[None, None], ROWS, 1),
    )


class Computes(Backend):
    description = "a backend"

    def __init__(self, raw: RawDetections) -> None:
        self.raw = raw

    def __call__(self, images: NDArray[np.uint8], score_threshold: float) -> RawDetections:
        return self.raw

    def close(self) -> None: ...


def altered(name: str, change: Callable[[Any], Any]) -> RawDetections:
    raw = good()
    array = getattr(raw, name)
    made = change(array)
    return replace(raw, **{name: array if made is None else made})


def put(place: Any, value: float) -> Callable[[Any], None]:
    def change(array: Any) -> None:
        array[place] = value

    return change


def test_good_results_pass() -> None:
    assert len(Model(make_spec(), Computes(good()))(FRAME)) == ROWS


@pytest.mark.parametrize(
    ("name", "change", "sentence"),
    [
        ("masks", put((0, 1, 3, 3), np.nan), "mask that is not within 0 and 1"),
        ("masks", put((0, 1, 3, 3), np.inf), "mask that is not within 0 and 1"),
        ("masks", put((0, 1, 3, 3), -1), "mask that is not within 0 and 1"),
        ("masks", put((0, 1, 3, 3), 1e30), "mask that is not within 0 and 1"),
        ("boxes_xyxy", put((0, 0, 2), np.nan), "box that is not finite"),
        ("boxes_xyxy", put((0, 0, 2), 1e30), "box outside of its input of 64x96"),
        ("boxes_xyxy", put((0, 0, 0), -1e30), "box outside"),
        ("boxes_xyxy", put((0, 0, 2), 99), "box outside"),
        ("boxes_xyxy", put((0, 0, 3), 67), "box outside"),
        ("boxes_xyxy", put((0, 0, 0), 90), "box of a negative size"),
        ("scores", put((0, 0), 7), "score that is not within 0 and 1"),
        ("scores", put((0, 0), np.nan), "score that is not within 0 and 1"),
        ("labels", put((0, 0), 4), "label beyond its 3 classes"),
        ("labels", put((0, 0), 0), "label beyond"),
        ("labels", put((0, 0), -1), "label beyond"),
        ("labels", put((0, 0), 2**31 - 1), "label beyond"),
        ("counts", put(0, -1), "count of detections beyond 0 to 5"),
        ("counts", put(0, 6), "count of detections"),
        pytest.param(
            "counts",
            lambda array: array.astype(np.float32),
            "counts of the form float32",
            id="counts that are floats",
        ),
        pytest.param(
            "counts", lambda array: array[None], "counts of the form", id="counts with an axis more"
        ),
        pytest.param(
            "boxes_xyxy", lambda array: array[..., :3], "boxes of the form", id="boxes of three sides"
        ),
        pytest.param(
            "boxes_xyxy",
            lambda array: array.astype(object),
            "boxes of the form object",
            id="boxes of objects",
        ),
        pytest.param("scores", lambda array: array[:, :2], "scores of the form", id="too few scores"),
        pytest.param(
            "labels",
            lambda array: array.astype(np.float32),
            "labels of the form",
            id="labels that are floats",
        ),
        pytest.param("masks", lambda array: array[..., :9], "masks of the form", id="masks too narrow"),
        pytest.param(
            "masks",
            lambda array: None if array is None else array.tolist(),
            "masks of the form list",
            id="masks in a list",
        ),
    ],
)
def test_what_cannot_be_is_refused(name: str, change: Callable[[Any], Any], sentence: str) -> None:
    model = Model(make_spec(), Computes(altered(name, change)))

    with pytest.raises(ArtifactError, match=f"the graph gave .*{sentence}.* on a backend"):
        model(FRAME)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("boxes_xyxy", put((0, 2, 2), 96.5)),
        ("scores", put((0, 0), 1.0001)),
        ("masks", put((0, 0, 0, 0), -1e-4)),
    ],
)
def test_what_rounding_leaves_passes(name: str, change: Callable[[Any], Any]) -> None:
    Model(make_spec(), Computes(altered(name, change)))(FRAME)


def test_what_stands_behind_the_count_is_not_looked_at() -> None:
    raw = good()
    raw.counts[0] = 2
    raw.boxes_xyxy[0, 2:] = np.nan
    raw.masks[0, 2:] = np.nan

    assert len(Model(make_spec(), Computes(raw))(FRAME)) == 2
