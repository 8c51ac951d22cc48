"""What every backend must do; subclass `BackendContract` in the tests of each."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
import pytest

from edgeseg.bundle.manifest import open_bundle
from edgeseg.errors import ArtifactError, InputError

from .fake_bundle import BOXES, LABELS, SCORES, SHIFT_PX, disc, make_bundle

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from edgeseg.bundle.manifest import Bundle
    from edgeseg.runtime.contract import Backend, RawDetections

FIELDS = ("counts", "boxes_xyxy", "scores", "labels", "masks")


def plain(bundle: Bundle, *values: int) -> np.ndarray:
    """A batch of images of one gray value each."""
    height, width = bundle.spec.input_size_hw
    grays = np.array(values, np.uint8).reshape(-1, 1, 1, 1)
    return np.broadcast_to(grays, (len(values), height, width, 3)).copy()


def same(a: RawDetections, b: RawDetections) -> bool:
    return all(np.array_equal(getattr(a, name), getattr(b, name)) for name in FIELDS)


def first_left(raw: RawDetections) -> list[float]:
    """Left side of box 0 of each image: how bright the backend found it."""
    return [float(left) for left in raw.boxes_xyxy[:, 0, 0]]


def expected_left(*values: int) -> object:
    return pytest.approx([4 + SHIFT_PX * value / 255 for value in values], abs=0.05)


class BackendContract:
    """The cases of every backend; a subclass says how to open one."""

    def open(self, bundle: Bundle) -> Backend:
        raise NotImplementedError

    @pytest.fixture
    def bundle(self, tmp_path: Path) -> Bundle:
        return open_bundle(make_bundle(tmp_path / "one"))

    @pytest.fixture
    def bundle_of_3(self, tmp_path: Path) -> Bundle:
        return open_bundle(make_bundle(tmp_path / "three", batch=3))

    @pytest.fixture
    def backend(self, bundle: Bundle) -> Iterator[Backend]:
        backend = self.open(bundle)
        yield backend
        backend.close()

    def test_types_and_shapes(self, bundle: Bundle, backend: Backend) -> None:
        raw = backend(plain(bundle, 0), 0.05)
        found = {name: (getattr(raw, name).dtype, getattr(raw, name).shape) for name in FIELDS}
        assert found == {
            "counts": (np.int32, (1,)),
            "boxes_xyxy": (np.float32, (1, 5, 4)),
            "scores": (np.float32, (1, 5)),
            "labels": (np.int32, (1, 5)),
            "masks": (np.float32, (1, 5, 28, 28)),
        }

    def test_values(self, bundle: Bundle, backend: Backend) -> None:
        raw = backend(plain(bundle, 0), 0.05)
        assert raw.counts.tolist() == [5]
        np.testing.assert_allclose(raw.boxes_xyxy[0], BOXES, atol=0.05)
        np.testing.assert_allclose(raw.scores[0], SCORES, atol=1e-3)
        np.testing.assert_array_equal(raw.labels[0], LABELS)
        np.testing.assert_allclose(raw.masks[0], np.broadcast_to(disc(), (5, 28, 28)), atol=1e-3)

    @pytest.mark.parametrize(("threshold", "count"), [(0.05, 5), (0.5, 3), (0.65, 2), (0.95, 0), (1.0, 0)])
    def test_threshold_cuts_and_rows_beyond_are_zero(
        self, bundle: Bundle, backend: Backend, threshold: float, count: int
    ) -> None:
        raw = backend(plain(bundle, 200), threshold)
        assert raw.counts.tolist() == [count]
        for name in FIELDS[1:]:
            assert not getattr(raw, name)[0, count:].any(), name
        assert (raw.scores[0, :count] > threshold).all()

    def test_every_image_of_a_batch_has_its_own_result(self, bundle_of_3: Bundle) -> None:
        backend = self.open(bundle_of_3)
        raw = backend(plain(bundle_of_3, 0, 255, 51), 0.5)
        backend.close()
        assert raw.counts.tolist() == [3, 3, 3]
        assert first_left(raw) == expected_left(0, 255, 51)

    def test_a_call_does_not_overwrite_the_results_of_the_last(
        self, bundle: Bundle, backend: Backend
    ) -> None:
        first = backend(plain(bundle, 0), 0.05)
        kept = {name: getattr(first, name).copy() for name in FIELDS}
        second = backend(plain(bundle, 255), 0.65)
        assert not same(first, second)
        for name, value in kept.items():
            np.testing.assert_array_equal(getattr(first, name), value)

    def test_the_images_are_left_alone_and_may_be_written_to_afterwards(
        self, bundle: Bundle, backend: Backend
    ) -> None:
        images = plain(bundle, 100)
        raw = backend(images, 0.5)
        assert (images == 100).all()
        images[:] = 0
        assert first_left(raw) == expected_left(100)

    def test_images_that_are_a_view(self, bundle: Bundle, backend: Backend) -> None:
        images = np.random.default_rng(1).integers(0, 256, plain(bundle, 0).shape, np.uint8)
        mirrored = images[:, :, ::-1]
        assert same(backend(mirrored, 0.5), backend(np.ascontiguousarray(mirrored), 0.5))

    @pytest.mark.parametrize(
        "shape",
        [(64, 96, 3), (2, 64, 96, 3), (1, 96, 64, 3), (1, 3, 64, 96), (1, 64, 96, 4), (0, 64, 96, 3)],
    )
    def test_wrong_shape(self, backend: Backend, shape: tuple[int, ...]) -> None:
        listed = str(list(shape)).replace("[", r"\[").replace("]", r"\]")
        with pytest.raises(InputError, match=rf"uint8\[1, 64, 96, 3\], got uint8{listed}"):
            backend(np.zeros(shape, np.uint8), 0.5)

    @pytest.mark.parametrize("kind", ["float32", "int8", "bool"])
    def test_wrong_type(self, backend: Backend, kind: str) -> None:
        with pytest.raises(InputError, match=f"got {kind}"):
            backend(np.zeros((1, 64, 96, 3), kind), 0.5)

    def test_works_on_after_a_refused_call(self, bundle: Bundle, backend: Backend) -> None:
        with pytest.raises(InputError, match="float64"):
            backend(np.zeros((1, 64, 96, 3), "float64"), 0.5)
        assert backend(plain(bundle, 0), 0.5).counts.tolist() == [3]

    def test_use_after_close(self, bundle: Bundle) -> None:
        backend = self.open(bundle)
        backend.close()
        with pytest.raises(ArtifactError, match="closed"):
            backend(plain(bundle, 0), 0.5)

    def test_close_twice(self, bundle: Bundle) -> None:
        backend = self.open(bundle)
        backend.close()
        backend.close()

    def test_results_outlive_the_backend(self, bundle: Bundle) -> None:
        backend = self.open(bundle)
        raw = backend(plain(bundle, 255), 0.5)
        backend.close()
        assert first_left(raw) == expected_left(255)

    def test_two_at_once(self, bundle: Bundle, bundle_of_3: Bundle) -> None:
        one, three = self.open(bundle), self.open(bundle_of_3)
        assert first_left(three(plain(bundle_of_3, 10, 20, 30), 0.5)) == expected_left(10, 20, 30)
        assert first_left(one(plain(bundle, 40), 0.5)) == expected_left(40)
        one.close()
        assert first_left(three(plain(bundle_of_3, 30, 20, 10), 0.5)) == expected_left(30, 20, 10)
        three.close()

    def test_several_threads(self, bundle: Bundle, backend: Backend) -> None:
        values = list(range(0, 256, 8))
        with ThreadPoolExecutor(4) as pool:
            raws = list(pool.map(lambda value: backend(plain(bundle, value), value / 256), values))
        for value, raw in zip(values, raws, strict=True):
            count = int((value / 256 < SCORES).sum())
            assert raw.counts.tolist() == [count]
            if count:
                assert first_left(raw) == expected_left(value)

    def test_description_names_what_computes(self, backend: Backend) -> None:
        assert " on " in backend.description
