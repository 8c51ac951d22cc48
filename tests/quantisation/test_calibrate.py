"""From a bundle and images to a table and an engine, and what must be refused on the way."""

from __future__ import annotations

import json
import pickle
import platform
import shutil
from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest

from edgeseg.builder.build import BuildConfig, build_engine
from edgeseg.bundle.engines import EngineOptions, Precision, Target, engine_path, machine_family
from edgeseg.bundle.manifest import CALIBRATION_FILE, open_bundle
from edgeseg.calibration.collector import collect
from edgeseg.calibration.table import CalibrationTable, Method, Range, read_table, write_table
from edgeseg.demo.conveyor import ConveyorScene
from edgeseg.demo.truth import coco_from_frames
from edgeseg.errors import ArtifactError, CalibrationError, ConfigError, InputError
from edgeseg.quantisation import calibrate as module
from edgeseg.quantisation.calibrate import AccuracyError, CalibrateConfig, calibrate
from edgeseg.quantisation.candidate import QuantisedModels
from edgeseg.quantisation.evaluator import AgreementEvaluator
from edgeseg.runtime.backends.onnxruntime import OnnxRuntimeBackend
from edgeseg.runtime.host.machine import Host, weight_bits
from edgeseg.runtime.model import Model, load
from edgeseg.vision.images.reader import read_image
from tests.built import built_once

if TYPE_CHECKING:
    from pathlib import Path

    from edgeseg.bundle.manifest import Bundle
    from edgeseg.quantisation.calibrate import CalibrationReport

COUNT = 12


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve frames of a belt."""
    folder = tmp_path_factory.mktemp("pictures")
    for number in range(COUNT):
        frame = ConveyorScene(seed=number).frame(10 * number)
        cv2.imwrite(str(folder / f"{number:06d}.png"), frame.image)
    return folder


@pytest.fixture(scope="module")
def first(
    conveyor: Bundle, pictures: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, CalibrationReport]:
    def run(folder: Path) -> None:
        shutil.copytree(conveyor.path, folder / "model")
        report = calibrate(CalibrateConfig(calib=pictures, model=folder / "model"))
        (folder / "report.pickle").write_bytes(pickle.dumps(report))

    folder = built_once(tmp_path_factory, "calibrated", run)
    return folder / "model", pickle.loads((folder / "report.pickle").read_bytes())


@pytest.fixture
def calibrated(first: tuple[Path, CalibrationReport], tmp_path: Path) -> Path:
    """A bundle with a table, the test's own."""
    folder = tmp_path / "model"
    shutil.copytree(first[0], folder)
    return folder


@pytest.fixture
def plain(conveyor: Bundle, tmp_path: Path) -> Path:
    """A bundle without a table, the test's own."""
    folder = tmp_path / "plain"
    shutil.copytree(conveyor.path, folder)
    return folder


@pytest.fixture(scope="module", name="annotations")
def annotations_of_pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What is in the pictures."""
    frames = [replace(ConveyorScene(seed=number).frame(10 * number), index=number) for number in range(COUNT)]
    path = tmp_path_factory.mktemp("annotations") / "instances.json"
    path.write_text(json.dumps(coco_from_frames(frames, file_pattern="{index:06d}.png")))
    return path


def narrowed(monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    """Let one range come out a hundred times too narrow."""

    def wrong(*args: Any, **kwargs: Any) -> CalibrationTable:
        table = collect(*args, **kwargs)
        right = table.ranges[key]
        ranges = {**table.ranges, key: Range(low=right.low / 100, high=right.high / 100)}
        return replace(table, ranges=ranges)

    monkeypatch.setattr(module, "collect", wrong)


def int8(model: Path, **settings: Any) -> BuildConfig:
    return BuildConfig(model=model, target=Target.ONNXRUNTIME, precision=Precision.INT8, **settings)


def test_a_table_has_a_range_for_all_that_is_rounded(first: tuple[Path, CalibrationReport]) -> None:
    folder, report = first
    table = read_table(folder / CALIBRATION_FILE)

    assert table.method is Method.ENTROPY
    assert table.images == report.images == COUNT
    assert sum(note.startswith(f"calibrating on all {COUNT} usable") for note in report.notes) == 1
    assert table.images == COUNT
    assert len(table.ranges) == report.ranges
    assert table.graph_sha256 == open_bundle(folder).files["portable.onnx"].sha256


def test_int8_agrees_with_fp32(first: tuple[Path, CalibrationReport]) -> None:
    _, report = first

    assert report.measured_on == "agreement with FP32"
    assert report.fp32 is not None
    assert report.int8 is not None
    assert report.fp32.box_ap > 99
    assert report.int8.drop_from(report.fp32) < 20
    assert report.int8.mask_ap > 70


def test_what_is_measured_is_what_is_built(
    first: tuple[Path, CalibrationReport], calibrated: Path, pictures: Path
) -> None:
    _, report = first
    bundle, table = open_bundle(calibrated), read_table(calibrated / CALIBRATION_FILE)
    bits = weight_bits(Host())

    assert report.weight_bits == bits
    for asked in {7, bits}:
        engine = build_engine(int8(calibrated, options=EngineOptions(weight_bits=asked), force=True)).engine
        frame = read_image(pictures / "000000.png")
        with (
            QuantisedModels(bundle, asked).model_with(table, ()) as tried,
            Model(bundle.spec, OnnxRuntimeBackend(engine.path, bundle.spec)) as built,
        ):
            np.testing.assert_array_equal(tried(frame, 0.05).scores, built(frame, 0.05).scores)


@pytest.mark.skipif(machine_family(platform.machine()) != "x86_64", reason="of x86 processors")
@pytest.mark.parametrize(("asked", "measured", "told"), [(None, 7, False), (7, 7, False), (8, 7, True)])
def test_without_vnni_8_bit_weights_are_not_measured(
    plain: Path,
    pictures: Path,
    monkeypatch: pytest.MonkeyPatch,
    without_vnni: None,
    asked: int | None,
    measured: int,
    told: bool,
) -> None:
    notes: list[str] = []
    made: list[int] = []

    def noted(bundle: Bundle, bits: int) -> QuantisedModels:
        made.append(bits)
        return QuantisedModels(bundle, bits)

    monkeypatch.setattr(module, "QuantisedModels", noted)
    monkeypatch.setattr(module, "collect", lambda *args, **rest: pytest.fail("images were measured"))
    # What FP32 finds is no matter here, and takes seconds.
    unscored = SimpleNamespace(score=lambda model: None)
    monkeypatch.setattr(module, "AgreementEvaluator", lambda *args, **rest: unscored)

    with pytest.raises(pytest.fail.Exception, match="images were measured"):
        calibrate(
            CalibrateConfig(calib=pictures, model=plain, images=COUNT, weight_bits=asked), note=notes.append
        )

    assert made == [measured]
    assert any("INT8 is measured with 7-bit weights instead of 8-bit" in note for note in notes) is told


def test_the_engine_is_built_and_taken(calibrated: Path) -> None:
    engine = build_engine(int8(calibrated)).engine

    assert engine.path == engine_path(calibrated, Target.ONNXRUNTIME, Precision.INT8)
    assert engine.record.file is not None
    assert engine.record.file.size < 0.4 * (calibrated / "portable.onnx").stat().st_size
    with load(calibrated) as model:
        assert model.description.endswith("INT8")
        frame = ConveyorScene(seed=99).frame(7).image
        assert len(model(frame, 0.05)) > 0


def test_an_engine_for_arm_has_signed_values_and_is_not_taken_here(calibrated: Path) -> None:
    onnx = pytest.importorskip("onnx")
    engine = build_engine(int8(calibrated, options=EngineOptions(machine="aarch64"))).engine
    types = {tensor.data_type for tensor in onnx.load(engine.path).graph.initializer}

    assert engine.record.options.machine == "aarch64"
    assert onnx.TensorProto.UINT8 not in types


def test_an_unknown_machine(calibrated: Path) -> None:
    with pytest.raises(ConfigError, match="for x86_64 or aarch64, got s390x"):
        build_engine(int8(calibrated, options=EngineOptions(machine="s390x")))


def test_what_is_there_is_kept_without_force(calibrated: Path, pictures: Path) -> None:
    build_engine(int8(calibrated))
    before = engine_path(calibrated, Target.ONNXRUNTIME, Precision.INT8).read_bytes()

    with pytest.raises(ConfigError, match=r"int8.json exists; pass --force"):
        build_engine(int8(calibrated))
    with pytest.raises(ConfigError, match=r"calibration.json exists; build from it without --calib, or"):
        calibrate(CalibrateConfig(calib=pictures, model=calibrated, images=COUNT))

    assert engine_path(calibrated, Target.ONNXRUNTIME, Precision.INT8).read_bytes() == before


def test_without_a_table_nothing_is_built(plain: Path) -> None:
    with pytest.raises(ArtifactError, match="edgeseg calibrate"):
        build_engine(int8(plain))

    assert not (plain / "engines").exists() or not any((plain / "engines").iterdir())


def test_a_table_of_another_graph_is_refused(calibrated: Path) -> None:
    table = read_table(calibrated / CALIBRATION_FILE)
    write_table(replace(table, graph_sha256="0" * 64), calibrated / CALIBRATION_FILE)

    with pytest.raises(ArtifactError, match="edgeseg calibrate"):
        build_engine(int8(calibrated))


def test_an_interrupted_build_leaves_the_old_engine(
    calibrated: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from edgeseg.builder import cpu_engine

    engine = build_engine(int8(calibrated)).engine
    before = engine.path.read_bytes()

    def interrupted(*args: Any, **options: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cpu_engine, "onnxruntime_graph", interrupted)
    with pytest.raises(KeyboardInterrupt):
        build_engine(int8(calibrated, force=True))

    assert engine.path.read_bytes() == before
    assert sorted(path.name for path in engine.path.parent.iterdir()) == [
        "onnxruntime-int8.json",
        "onnxruntime-int8.onnx",
    ]


def test_a_wrong_scale_on_one_layer_is_refused(
    plain: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    narrowed(monkeypatch, "backbone.fpn.layer_blocks.0.0")

    with pytest.raises(AccuracyError, match="must stay within 30 points of FP32 and lost") as failure:
        calibrate(CalibrateConfig(calib=pictures, model=plain, images=COUNT))

    assert failure.value.exit_code == 3
    report = failure.value.report
    assert report.fp32 is not None
    assert report.int8 is not None
    assert report.int8.drop_from(report.fp32) > 30
    assert not (plain / CALIBRATION_FILE).exists()


def test_a_wrong_scale_is_repaired_by_reverting_what_it_spoils(
    plain: Path, pictures: Path, annotations: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    narrowed(monkeypatch, "box_head.fc6.relu")
    blocks = {"box_head.fc6": ("box_head.fc6",), "box_head.fc7": ("box_head.fc7",)}
    from edgeseg.quantisation import sensitivity

    monkeypatch.setattr(sensitivity, "quantisable_blocks", lambda graph: blocks)

    report = calibrate(
        CalibrateConfig(
            calib=pictures,
            model=plain,
            images=COUNT,
            annotations=annotations,
            annotated_images=pictures,
            max_annotated=6,
            max_map_drop=10.0,
        )
    )

    assert report.budget is not None
    assert report.budget.met
    # It is fc7 that takes the spoilt value; fc6 gives it, and gives it unrounded to a layer in float.
    assert [step.reverted for step in report.budget.steps] == ["", "box_head.fc7"]
    assert report.budget.steps[0].box_drop > 10
    assert report.float_layers == ("box_head.fc7",)
    assert read_table(plain / CALIBRATION_FILE).float_layers == report.float_layers


def test_a_budget_that_cannot_be_met_writes_nothing(
    plain: Path, pictures: Path, annotations: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from edgeseg.quantisation import sensitivity

    monkeypatch.setattr(sensitivity, "quantisable_blocks", lambda graph: {})

    with pytest.raises(AccuracyError, match="must lose at most 0 points of AP and loses"):
        calibrate(
            CalibrateConfig(
                calib=pictures,
                model=plain,
                images=COUNT,
                annotations=annotations,
                annotated_images=pictures,
                max_annotated=4,
                max_map_drop=0.0,
            )
        )

    assert not (plain / CALIBRATION_FILE).exists()


def test_a_budget_needs_annotations(pictures: Path) -> None:
    with pytest.raises(ConfigError, match="--annotations"):
        CalibrateConfig(calib=pictures, max_map_drop=0.5)


@pytest.mark.parametrize("points", [-1.0, float("nan")])
def test_a_budget_is_points(pictures: Path, points: float) -> None:
    with pytest.raises(ConfigError, match="0 or more points"):
        CalibrateConfig(calib=pictures, max_map_drop=points, annotations=pictures)


def test_annotations_of_other_images_are_told_before_the_long_part(
    plain: Path, pictures: Path, annotations: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "collect", lambda *args, **kwargs: pytest.fail("images were measured"))
    other = tmp_path / "other"
    other.mkdir()
    cv2.imwrite(str(other / "unknown.png"), np.zeros((8, 8, 3), np.uint8))

    with pytest.raises(InputError, match="do not match the images"):
        calibrate(
            CalibrateConfig(
                calib=pictures,
                model=plain,
                annotations=annotations,
                annotated_images=other,
            )
        )


def test_one_image_is_never_enough(pictures: Path) -> None:
    with pytest.raises(ConfigError, match="at least 10 images, got 1"):
        CalibrateConfig(calib=pictures, images=1)


def test_nothing_to_agree_with(plain: Path, tmp_path: Path) -> None:
    folder = tmp_path / "blank"
    folder.mkdir()
    for number in range(3):
        cv2.imwrite(str(folder / f"{number}.png"), np.full((64, 80, 3), 60 * number, np.uint8))

    with load(plain) as model, pytest.raises(CalibrationError, match=r"FP32 finds nothing above 0.5"):
        AgreementEvaluator(model, folder)
