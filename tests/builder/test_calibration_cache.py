from __future__ import annotations

import struct
from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING

import onnx
import pytest

from edgeseg.builder.calibration_cache import calibration_cache, read_only_calibrator
from edgeseg.calibration.table import CalibrationTable, Method, Range
from edgeseg.errors import BuildError, CalibrationError
from edgeseg.graphs.layers import LayerGraph
from edgeseg.quantization.plan import quantisation_plan
from edgeseg.spec import Lowering

if TYPE_CHECKING:
    from edgeseg.bundle.manifest import Bundle


@pytest.fixture(scope="module")
def model(bundle: Bundle) -> onnx.ModelProto:
    return onnx.load(bundle.graph_path(Lowering.TENSORRT))


@pytest.fixture(scope="module")
def table(model: onnx.ModelProto) -> CalibrationTable:
    keys = quantisation_plan(LayerGraph(model)).values.values()
    return CalibrationTable(
        method=Method.ENTROPY,
        images=1,
        images_sha256="0" * 64,
        graph_sha256="0" * 64,
        seed=0,
        ranges={key: Range(low=-1.0, high=0.5 + i) for i, key in enumerate(dict.fromkeys(keys))},
    )


def steps(cache: str) -> dict[str, float]:
    lines = [line.rpartition(": ") for line in cache.splitlines()[1:]]
    return {name: struct.unpack(">f", bytes.fromhex(step))[0] for name, _, step in lines}


def fake_tensorrt(version: str = "10.3.0") -> SimpleNamespace:
    class Calibrator:
        def __init__(self) -> None:
            self.made = True

    return SimpleNamespace(__version__=version, IInt8EntropyCalibrator2=Calibrator)


@pytest.mark.parametrize(
    ("version", "header"), [("10.3.0", "TRT-100300"), ("10.13.3.9", "TRT-101303"), ("10.16", "TRT-101600")]
)
def test_header_is_of_the_version_that_reads_it(
    model: onnx.ModelProto, table: CalibrationTable, version: str, header: str
) -> None:
    assert calibration_cache(model, table, version).splitlines()[0] == f"{header}-EntropyCalibration2"


def test_every_rounded_value_has_its_step(model: onnx.ModelProto, table: CalibrationTable) -> None:
    found = steps(calibration_cache(model, table, "10.3.0"))
    plan = quantisation_plan(LayerGraph(model))
    names = {value for node in model.graph.node for value in node.output}

    assert set(found) == set(plan.values) <= names
    for value, key in plan.values.items():
        assert found[value] == pytest.approx(max(1.0, table.ranges[key].high) / 127)


def test_step_is_big_endian(model: onnx.ModelProto, table: CalibrationTable) -> None:
    first = next(iter(quantisation_plan(LayerGraph(model)).values))
    # 1 / 127.
    assert f"\n{first}: 3c010204\n" in calibration_cache(model, table, "10.3.0")


def test_float_layers_have_no_line(model: onnx.ModelProto, table: CalibrationTable) -> None:
    spared = replace(table, float_layers=("mask_head.1.0", "mask_head.2.0"))
    layer = next(layer for layer in LayerGraph(model).layers if layer.name == "mask_head.1.0")

    assert layer.output_value in steps(calibration_cache(model, table, "10.3.0"))
    assert layer.output_value not in steps(calibration_cache(model, spared, "10.3.0"))


def test_missing_range_is_named(model: onnx.ModelProto, table: CalibrationTable) -> None:
    ranges = {key: value for key, value in table.ranges.items() if key != "box_head.fc6.relu"}

    with pytest.raises(CalibrationError, match=r"no range for box_head\.fc6\.relu"):
        calibration_cache(model, replace(table, ranges=ranges), "10.3.0")


def test_calibrator_only_reads() -> None:
    calibrator = read_only_calibrator(fake_tensorrt(), "TRT-100300-EntropyCalibration2\n", batch=4)

    assert calibrator.made
    assert calibrator.get_batch_size() == 4
    assert calibrator.get_batch(["images"]) == []
    calibrator.write_calibration_cache(b"other")
    assert calibrator.read_calibration_cache() == b"TRT-100300-EntropyCalibration2\n"


@pytest.mark.parametrize("version", ["8.6.1", "10.2.0", "10.17.0", "11.4.1", "unknown"])
def test_versions_without_calibrators_are_refused(
    model: onnx.ModelProto, table: CalibrationTable, version: str
) -> None:
    message = rf"10\.3 to 10\.16 .* this is {version}"
    with pytest.raises(BuildError, match=message):
        calibration_cache(model, table, version)
    with pytest.raises(BuildError, match=message):
        read_only_calibrator(fake_tensorrt(version), "", batch=1)
