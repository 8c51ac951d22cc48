from __future__ import annotations

import itertools
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest

from edgeseg.calibration import checkpoint, collector, consistency, counting, instrumented_graph
from edgeseg.calibration.checkpoint import PARTIAL_FILE
from edgeseg.calibration.collector import collect
from edgeseg.calibration.counting import histograms_from_values
from edgeseg.calibration.images import CalibrationConfig, choose_images, images_sha256
from edgeseg.calibration.observers import FirstAxis, RangeObserver, RangeObservers
from edgeseg.calibration.table import CalibrationTable, Method, table_for, write_table
from edgeseg.errors import CalibrationError
from edgeseg.runtime.contract import RawDetections
from edgeseg.runtime.host.processors import Cpus
from edgeseg.runtime.model import Model, SizedBackend
from edgeseg.vision.images.reader import read_image
from edgeseg.vision.letterbox import letterbox_batch
from tests.runtime.fake_bundle import BOXES, SHIFT_PX

from .measured_bundle import FEATURES, PIXELS, PROPOSAL, ROOT, TAPS, WEIGHTS, measured_bundle
from .pictures import write_pictures

if TYPE_CHECKING:
    from pathlib import Path

    from edgeseg.bundle.manifest import Bundle
    from edgeseg.spec import ModelSpec

pytest.importorskip("onnxruntime")


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return measured_bundle(tmp_path / "model")


@pytest.fixture
def config(tmp_path: Path) -> CalibrationConfig:
    folder = write_pictures(tmp_path / "val", 14)
    return CalibrationConfig(folder=folder, images=10, method=Method.MINMAX)


def inputs(bundle: Bundle, config: CalibrationConfig) -> np.ndarray:
    """All images as the runtime sees them, `uint8[N, H, W, 3]`."""
    spec = replace(bundle.spec, batch=1)
    frames = [read_image(config.folder / image.name) for image in choose_images(config)]
    return np.concatenate([letterbox_batch([frame], spec)[0] for frame in frames])


def in_range(table: CalibrationTable, key: str) -> tuple[float, float]:
    return table.ranges[key].low, table.ranges[key].high


def test_ranges_are_those_of_the_runtime_s_images(bundle: Bundle, config: CalibrationConfig) -> None:
    table = collect(bundle, [TAPS], config)
    images = inputs(bundle, config)
    features = images.astype(float) @ WEIGHTS.T
    brightest = images.mean((1, 2, 3)).max()
    assert in_range(table, "pixels") == (0, images.max())
    assert in_range(table, "features") == pytest.approx((features.min(), features.max()), rel=1e-5)
    assert in_range(table, "dead") == (0, 0.1)
    # The rows of padding hold a million times more.
    low, high = in_range(table, "proposal")
    assert low == 0
    assert high == pytest.approx(4 * brightest, rel=1e-5)
    shift = brightest / 255 * SHIFT_PX
    low, high = in_range(table, "detected")
    assert low == 0
    assert high == pytest.approx(max(BOXES.max(), BOXES[0, 2] + shift))


def test_each_image_is_measured_at_the_size_that_the_runtime_takes(
    tmp_path: Path, config: CalibrationConfig
) -> None:
    """A landscape input would pad upright pictures with the mean, which is brighter than they are."""
    upright = write_pictures(tmp_path / "upright", 14, size_hw=(60, 40))
    for path in upright.iterdir():
        cv2.imwrite(str(path), read_image(path) // 4)
    config = replace(config, folder=upright)
    landscape = measured_bundle(tmp_path / "landscape")
    turned = measured_bundle(tmp_path / "turned", input_size_hw=landscape.spec.input_size_hw[::-1])
    both = replace(landscape, other_sizes=(turned,))
    lines: list[str] = []
    table = collect(both, [TAPS, TAPS], config, progress=lines.append)
    padded = collect(landscape, [TAPS], config)

    brightest = max(int(read_image(path).max()) for path in upright.iterdir())
    low, high = in_range(table, "pixels")
    assert low == 0
    assert high == pytest.approx(brightest, abs=1)
    assert in_range(padded, "pixels")[1] == 124
    assert next(line for line in lines if line.startswith("calibrating")) == (
        "calibrating: image 1 of 10 at 96x64"
    )


def test_what_the_table_says_of_itself(bundle: Bundle, config: CalibrationConfig) -> None:
    table = collect(bundle, [TAPS], config)
    assert (table.method, table.images, table.seed, table.float_layers) == (Method.MINMAX, 10, 0, ())
    assert table.graph_sha256 == bundle.files["portable.onnx"].sha256
    assert table.images_sha256 == images_sha256(choose_images(config))
    assert set(table.ranges) == {"pixels", "features", "proposal", "detected", "dead"}
    write_table(table, bundle.path / "calibration.json")
    assert table_for(bundle) == table
    assert not (bundle.path / PARTIAL_FILE).exists()


def test_rows_of_padding_are_not_counted(
    bundle: Bundle, config: CalibrationConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = collected_counts(monkeypatch)
    collect(bundle, [TAPS], config)
    assert {key: histogram.total for key, histogram in counted().items()} == {
        "pixels": 10 * 64 * 96 * 3,
        "features": 10 * 64 * 96 * 2,
        "proposal": 10 * 4,
        "detected": 10 * len(BOXES) * 4,
        "dead": 10,
    }


@pytest.mark.parametrize("method", Method)
def test_a_batch_of_four_gives_the_same_ranges(
    tmp_path: Path, config: CalibrationConfig, method: Method, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = replace(config, method=method)
    # Ten images are two batches and a half; what fills the third must not count.
    observers = RangeObservers(observers=(PIXELS, FEATURES, PROPOSAL), present="present")
    single = collect(measured_bundle(tmp_path / "one"), [observers], config)
    counted = collected_counts(monkeypatch)
    four = collect(measured_bundle(tmp_path / "four", batch=4), [observers], config)
    assert four.ranges == single.ranges
    assert counted()["proposal"].total == 10 * 4


def test_several_passes_give_the_same_ranges(
    bundle: Bundle, config: CalibrationConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines: list[str] = []
    whole = collect(bundle, [TAPS], config, progress=lines.append)
    assert not any("pass" in line for line in lines)
    monkeypatch.setattr(instrumented_graph, "MAX_PASS_BYTES", 1)
    assert collect(bundle, [TAPS], config, progress=lines.append).ranges == whole.ranges
    assert any("image 10 of 10, pass 5 of 5, 1 s left" in line for line in lines)
    assert len(instrumented_graph.plan_passes(bundle, TAPS)) == 5


def test_a_pass_runs_only_what_it_needs(bundle: Bundle) -> None:
    model = instrumented_graph._instrumented(bundle, ["features"])
    assert [node.op_type for node in model.graph.node] == ["Cast", "Transpose", "Conv"]
    assert [tensor.name for tensor in model.graph.initializer] == ["weights"]


def test_progress_says_how_long_it_takes(bundle: Bundle, config: CalibrationConfig) -> None:
    lines: list[str] = []
    collect(bundle, [TAPS], config, progress=lines.append)
    shown = [line for line in lines if line.startswith("calibrating")]
    assert shown[0] == "calibrating: image 1 of 10"
    assert shown[-1] == "calibrating: image 10 of 10, 1 s left"


def test_a_bad_image_is_named_and_replaced(bundle: Bundle, config: CalibrationConfig) -> None:
    (config.folder / "03.png").write_bytes(b"no")
    (config.folder / "04.png").write_bytes(b"")
    notes: list[str] = []
    table = collect(bundle, [TAPS], replace(config, images=12), note=notes.append)
    assert table.images == 12
    assert sorted(line.split("/")[-1][:6] for line in notes) == ["03.png", "04.png"]


# What the runtime would be given


class Recorder:
    """A backend that keeps its input and finds nothing."""

    description = "nothing"

    def __init__(self, spec: ModelSpec) -> None:
        self.spec = spec
        self.batches: list[np.ndarray] = []

    def __call__(self, images: np.ndarray, score_threshold: float) -> RawDetections:
        self.batches.append(images.copy())
        rows, side = (self.spec.batch, self.spec.max_detections), self.spec.mask_size
        return RawDetections(
            counts=np.zeros(rows[0], np.int32),
            boxes_xyxy=np.zeros((*rows, 4), np.float32),
            scores=np.zeros(rows, np.float32),
            labels=np.zeros(rows, np.int32),
            masks=np.zeros((*rows, side, side), np.float32),
        )

    def close(self) -> None:
        pass


def given_by_runtime(bundle: Bundle, config: CalibrationConfig) -> list[np.ndarray]:
    """What the runtime gives the network of each input size for the chosen images, one below the other."""
    recorders = [Recorder(size.spec) for size in bundle.sizes]
    first, *others = [SizedBackend(recorder.spec, recorder) for recorder in recorders]
    Model(*first, other_sizes=others)(
        [read_image(config.folder / image.name) for image in choose_images(config)]
    )
    return [np.concatenate(recorder.batches) for recorder in recorders]


def given_by_calibration(
    bundle: Bundle, config: CalibrationConfig, monkeypatch: pytest.MonkeyPatch
) -> list[np.ndarray]:
    """The same of calibration."""
    given: dict[tuple[int, ...], list[np.ndarray]] = {size.spec.input_size_hw: [] for size in bundle.sizes}
    real = instrumented_graph.InstrumentedGraph.__call__

    def look(graph: Any, images: np.ndarray) -> Any:
        given[images.shape[1:3]].append(images.copy())
        return real(graph, images)

    monkeypatch.setattr(instrumented_graph.InstrumentedGraph, "__call__", look)
    observers = RangeObservers(observers=(PIXELS, PROPOSAL), present="present")
    collect(bundle, [observers] * len(bundle.sizes), config)
    return [np.concatenate(batches) for batches in given.values()]


def odd_pictures(folder: Path) -> Path:
    """Ten of sizes that fit no input evenly: odd, tiny, larger than it, upright, a single row."""
    sizes_hw = [
        (41, 59),
        (40, 60),
        (1, 7),
        (7, 1),
        (333, 91),
        (64, 96),
        (97, 131),
        (200, 301),
        (63, 95),
        (2, 3),
    ]
    for number, size_hw in enumerate(sizes_hw):
        (picture,) = write_pictures(folder / "one", 1, size_hw=size_hw).iterdir()
        picture.rename(folder / f"{number:02}.png")
    (folder / "one").rmdir()
    return folder


@pytest.mark.parametrize("batch", [1, 4], ids=["one by one", "in batches"])
def test_calibration_gives_the_network_what_the_runtime_gives_it(
    tmp_path: Path, config: CalibrationConfig, batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = measured_bundle(tmp_path / "model", batch=batch)
    config = replace(config, folder=odd_pictures(tmp_path / "odd"))
    (expected,) = given_by_runtime(bundle, config)
    (given,) = given_by_calibration(bundle, config, monkeypatch)

    assert given.dtype == expected.dtype == np.uint8
    assert given.shape == expected.shape == (-(-10 // batch) * batch, 64, 96, 3)
    np.testing.assert_array_equal(given[:10], expected[:10])
    # The runtime leaves what is missing of a batch black, which calibration must not count.
    assert all(np.array_equal(image, given[9]) for image in given[10:])


def test_each_input_size_is_given_what_the_runtime_gives_it(
    tmp_path: Path, config: CalibrationConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    landscape = measured_bundle(tmp_path / "landscape")
    turned = measured_bundle(tmp_path / "turned", input_size_hw=landscape.spec.input_size_hw[::-1])
    both = replace(landscape, other_sizes=(turned,))
    config = replace(config, folder=odd_pictures(tmp_path / "odd"))
    expected = given_by_runtime(both, config)

    assert [len(images) for images in expected] == [8, 2]
    for given, wanted in zip(given_by_calibration(both, config, monkeypatch), expected, strict=True):
        np.testing.assert_array_equal(given, wanted)


def test_a_graph_that_computes_otherwise_is_caught(
    bundle: Bundle, config: CalibrationConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = instrumented_graph.InstrumentedGraph.__call__
    monkeypatch.setattr(
        instrumented_graph.InstrumentedGraph, "__call__", lambda graph, images: real(graph, images // 2)
    )
    with pytest.raises(CalibrationError, match=r"must find what the runtime finds on \d+.png, and 1 of 5"):
        collect(bundle, [TAPS], config)


def raw(*rows: tuple[float, float, int]) -> RawDetections:
    """Detections at `x`, with a score and a label, of an image with room for five."""
    boxes, scores, labels = np.zeros((1, 5, 4), "f4"), np.zeros((1, 5), "f4"), np.zeros((1, 5), "i4")
    for row, (x, score, label) in enumerate(rows):
        boxes[0, row] = (x, x, x + 10, x + 10)
        scores[0, row], labels[0, row] = score, label
    counts, masks = np.array([len(rows)], "i4"), np.zeros((1, 5, 28, 28), "f4")
    return RawDetections(counts=counts, boxes_xyxy=boxes, scores=scores, labels=labels, masks=masks)


SEEN = ((10, 0.9, 1), (30, 0.4, 2))


@pytest.mark.parametrize(
    ("found", "agree"),
    [
        (SEEN, True),
        (((10.4, 0.904, 1), (30, 0.4, 2)), True),
        (((10.6, 0.9, 1), (30, 0.4, 2)), False),
        (((10, 0.894, 1), (30, 0.4, 2)), False),
        (((10, 0.9, 2), (30, 0.4, 2)), False),
        (SEEN[:1], False),
        ((), False),
        ((*SEEN, (50, 0.3, 1)), False),
        # At the threshold rounding decides.
        ((*SEEN, (50, 0.052, 1)), True),
    ],
)
def test_what_agrees(bundle: Bundle, found: tuple[tuple[float, float, int], ...], agree: bool) -> None:
    for one, other in itertools.permutations((raw(*found), raw(*SEEN))):
        if agree:
            consistency.check_detections(one, other, bundle.spec, "a.png")
        else:
            with pytest.raises(CalibrationError, match=r"finds on a.png, and \d of \d detections differ"):
                consistency.check_detections(one, other, bundle.spec, "a.png")


def test_rounding_decides_at_the_cut(bundle: Bundle) -> None:
    rows = [(10.0 * n, 0.9 - 0.1 * n, 1) for n in range(4)]
    one, other = raw(*rows, (70, 0.5, 1)), raw(*rows, (90, 0.502, 1))
    consistency.check_detections(one, other, bundle.spec, "a.png")
    with pytest.raises(CalibrationError, match="differ"):
        consistency.check_detections(raw((95, 0.9, 1), *rows[1:], (70, 0.5, 1)), other, bundle.spec, "a.png")


# Numbers that cannot be


def test_nan_names_the_value_and_the_image(bundle: Bundle, config: CalibrationConfig) -> None:
    dark = choose_images(config)[6]
    # As large as the input: padding would brighten it.
    picture = np.random.default_rng(0).integers(0, 16, (64, 96, 3), np.uint8)
    cv2.imwrite(str(config.folder / dark.name), picture)
    observers = RangeObservers(observers=(PIXELS, ROOT), present="present")
    with pytest.raises(CalibrationError, match=rf"^head.root \(root in the graph\) on {dark.name} holds NaN"):
        collect(bundle, [observers], config)


def test_a_model_that_finds_nothing(tmp_path: Path, config: CalibrationConfig) -> None:
    bundle = measured_bundle(tmp_path / "m", score_threshold=0.95)
    with pytest.raises(
        CalibrationError, match=r"found nothing in 10 images, so 1 values .* such as detected"
    ):
        collect(bundle, [TAPS], config)


@pytest.mark.parametrize(
    ("observer", "present", "reason"),
    [
        (replace(PIXELS, tensor="gone"), "present", "a value named 'gone'"),
        (PIXELS, "gone", "a value named 'gone'"),
        (replace(PIXELS, tensor="images"), "present", "'images' must be FLOAT to be measured, and is UINT8"),
        (PIXELS, "mean", "'mean' must be BOOL to be measured, and is FLOAT"),
        (replace(PROPOSAL, rows=FirstAxis.IMAGES), "present", r"must have 1 rows of images.*\[6, 1\]"),
        (replace(PIXELS, rows=FirstAxis.PROPOSALS), "present", "must have 6 rows of proposals"),
    ],
)
def test_taps_that_do_not_fit_the_graph(
    bundle: Bundle, config: CalibrationConfig, observer: RangeObserver, present: str, reason: str
) -> None:
    with pytest.raises(CalibrationError, match=reason):
        collect(bundle, [RangeObservers(observers=(observer,), present=present)], config)


def test_two_keys_of_one_value_and_an_output_of_the_graph(bundle: Bundle, config: CalibrationConfig) -> None:
    again = RangeObserver(key="again", tensor="pixels", rows=FirstAxis.IMAGES)
    masks = RangeObserver(key="masks", tensor="masks", rows=FirstAxis.IMAGES)
    table = collect(bundle, [RangeObservers(observers=(PIXELS, again, masks), present="present")], config)
    assert table.ranges["again"] == table.ranges["pixels"]
    assert 0.9 < table.ranges["masks"].high <= 1


def test_real_rows() -> None:
    values, present = np.arange(6.0, dtype=np.float32), np.array([[1, 1, 0], [1, 0, 0]], bool)
    for images, wanted in ((2, [0, 1, 3]), (1, [0, 1])):
        assert counting.valid_rows(values, FirstAxis.PROPOSALS, images, present).tolist() == wanted
    assert counting.valid_rows(values, FirstAxis.IMAGES, 4, None).tolist() == [0, 1, 2, 3]
    assert counting.valid_rows(values, FirstAxis.DETECTIONS, 1, present) is values


# Interrupted


def collected_counts(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Give a function that tells what was counted in the end."""
    seen: list[Any] = []
    real = collector._check_all_observed

    def look(counted: Any, images: int) -> None:
        seen.append(counted)
        real(counted, images)

    monkeypatch.setattr(collector, "_check_all_observed", look)
    return lambda: seen[-1].histograms


def interrupt(
    bundle: Bundle, config: CalibrationConfig, after: int, error: BaseException, **more: Any
) -> None:
    """Break a calibration off in the middle of a batch."""
    real, calls = histograms_from_values, itertools.count()

    def count(*arguments: Any) -> Any:
        counted = real(*arguments)
        if next(calls) == after:
            raise error
        return counted

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(collector, "histograms_from_values", count)
        with pytest.raises(type(error)):
            collect(bundle, [TAPS], config, **more)


@pytest.mark.parametrize("passes", [1, 5])
@pytest.mark.parametrize("batch", [1, 4])
@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError("disk gone"), MemoryError()], ids=repr)
def test_resuming_gives_the_same_table(
    tmp_path: Path,
    config: CalibrationConfig,
    monkeypatch: pytest.MonkeyPatch,
    passes: int,
    batch: int,
    error: BaseException,
) -> None:
    bundle = measured_bundle(tmp_path / "m", batch=batch)
    if passes > 1:
        monkeypatch.setattr(instrumented_graph, "MAX_PASS_BYTES", 1)
    config = replace(config, method=Method.ENTROPY)
    straight = collect(bundle, [TAPS], config)
    steps = passes * -(-10 // batch)
    notes: list[str] = []
    interrupt(bundle, config, steps // 2, error, note=notes.append)
    assert (bundle.path / PARTIAL_FILE).exists()
    if isinstance(error, KeyboardInterrupt):
        assert notes == [f"stopped after {steps // 2} of {steps} steps; go on with --resume"]
    lines: list[str] = []
    resumed = collect(bundle, [TAPS], replace(config, resume=True), progress=lines.append)
    assert resumed == straight
    assert sum(line.startswith("calibrating") for line in lines) == steps - steps // 2
    assert not (bundle.path / PARTIAL_FILE).exists()


def test_resuming_with_another_method_needs_no_new_run(bundle: Bundle, config: CalibrationConfig) -> None:
    interrupt(bundle, config, 9, KeyboardInterrupt())
    table = collect(bundle, [TAPS], replace(config, resume=True, method=Method.PERCENTILE))
    assert table == collect(bundle, [TAPS], replace(config, method=Method.PERCENTILE))


def test_nothing_to_resume_is_told(bundle: Bundle, config: CalibrationConfig) -> None:
    notes: list[str] = []
    table = collect(bundle, [TAPS], replace(config, resume=True), note=notes.append)
    assert table.images == 10
    assert notes[0].startswith("nothing to resume: ")


def test_without_resume_an_earlier_state_is_replaced(bundle: Bundle, config: CalibrationConfig) -> None:
    straight = collect(bundle, [TAPS], config)
    interrupt(bundle, config, 5, KeyboardInterrupt())
    assert collect(bundle, [TAPS], config) == straight


def test_the_state_is_written_now_and_then(
    bundle: Bundle, config: CalibrationConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[int] = []
    real = checkpoint.write_progress

    def write(path: Any, identity: Any, counted: checkpoint.CalibrationProgress) -> None:
        written.append(counted.batches)
        real(path, identity, counted)

    monkeypatch.setattr(collector, "write_progress", write)
    monkeypatch.setattr(collector, "SAVE_EVERY_S", 0)
    collect(bundle, [TAPS], config)
    assert written == list(range(11))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("seed", r"the seed is another \(0 then, 1 now\)"),
        ("number", r"the number of images is another \(10 then, 11 now\)"),
        ("image", "the image list is another"),
        ("taps", "the list of values is another"),
        ("graph", "the graph is another"),
    ],
)
def test_another_calibration_is_not_resumed(
    tmp_path: Path, bundle: Bundle, config: CalibrationConfig, change: str, reason: str
) -> None:
    interrupt(bundle, config, 5, KeyboardInterrupt())
    observers, resume = TAPS, replace(config, resume=True)
    if change == "seed":
        resume = replace(resume, seed=1)
    if change == "number":
        resume = replace(resume, images=11)
    if change == "image":
        name = choose_images(config)[0].name
        cv2.imwrite(str(config.folder / name), read_image(config.folder / name) // 2)
    if change == "taps":
        observers = RangeObservers(observers=TAPS.observers[:3], present="present")
    if change == "graph":
        other = measured_bundle(tmp_path / "other", max_candidates=7)
        other.path.joinpath(PARTIAL_FILE).write_bytes(bundle.path.joinpath(PARTIAL_FILE).read_bytes())
        record = replace(other.files["portable.onnx"], sha256="f" * 64)
        bundle = replace(other, files={"portable.onnx": record})
    with pytest.raises(
        CalibrationError, match=rf"cannot resume from .*: {reason}.*start again without --resume"
    ):
        collect(bundle, [observers], resume)


@pytest.mark.parametrize("keep", [0, 100, 0.5, 0.999])
def test_a_truncated_state(bundle: Bundle, config: CalibrationConfig, keep: float) -> None:
    interrupt(bundle, config, 5, KeyboardInterrupt())
    path = bundle.path / PARTIAL_FILE
    content = path.read_bytes()
    path.write_bytes(content[: int(keep if keep >= 1 else keep * len(content))])
    with pytest.raises(CalibrationError, match=r"truncated or damaged .*; start again without --resume"):
        collect(bundle, [TAPS], replace(config, resume=True))


def test_a_damaged_state(bundle: Bundle, config: CalibrationConfig) -> None:
    interrupt(bundle, config, 5, KeyboardInterrupt())
    path = bundle.path / PARTIAL_FILE
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 255
    path.write_bytes(content)
    with pytest.raises(CalibrationError, match="truncated or damaged"):
        collect(bundle, [TAPS], replace(config, resume=True))


def test_a_disk_that_fills_does_not_end_a_calibration(
    bundle: Bundle, config: CalibrationConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    straight = collect(bundle, [TAPS], config)
    real, calls = checkpoint.write_progress, itertools.count()

    def write(*arguments: Any) -> None:
        if next(calls):
            msg = "cannot write calibration.partial.npz: No space left on device"
            raise CalibrationError(msg)
        real(*arguments)

    monkeypatch.setattr(collector, "write_progress", write)
    monkeypatch.setattr(collector, "SAVE_EVERY_S", 0)
    notes: list[str] = []
    assert collect(bundle, [TAPS], config, note=notes.append) == straight
    assert "No space left on device; an interruption would lose" in notes[0]


def test_a_bundle_that_cannot_be_written_to_is_told_at_once(
    bundle: Bundle, config: CalibrationConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_arguments: Any) -> None:
        msg = "cannot write calibration.partial.npz: Permission denied"
        raise CalibrationError(msg)

    monkeypatch.setattr(collector, "write_progress", refuse)
    lines: list[str] = []
    with pytest.raises(CalibrationError, match="Permission denied"):
        collect(bundle, [TAPS], config, progress=lines.append)
    assert not any(line.startswith("calibrating") for line in lines)


def test_a_camera_of_12_bits_has_the_ranges_of_8_bits(bundle: Bundle, config: CalibrationConfig) -> None:
    straight = collect(bundle, [TAPS], config)
    for path in config.folder.iterdir():
        cv2.imwrite(str(path), read_image(path).astype(np.uint16) << 4)

    guessed = collect(bundle, [TAPS], config)
    given = collect(bundle, [TAPS], replace(config, bit_depth=12))
    darker = collect(bundle, [TAPS], replace(config, bit_depth=13))

    assert guessed.ranges == given.ranges == straight.ranges
    assert in_range(darker, "pixels")[1] == in_range(straight, "pixels")[1] // 2


def test_counting_takes_no_more_threads_than_a_container_has(
    bundle: Bundle, config: CalibrationConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[int] = []

    class Pool(ThreadPoolExecutor):
        def __init__(self, workers: int) -> None:
            taken.append(workers)
            super().__init__(workers)

    monkeypatch.setattr(counting, "ThreadPoolExecutor", Pool)
    monkeypatch.setattr(
        counting, "usable_cpus", lambda: Cpus(present=64, allowed=tuple(range(64)), quota=1.5)
    )
    collect(bundle, [TAPS], config)

    assert set(taken) == {2}
