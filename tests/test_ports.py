"""What the graphs of a model take and give: the names, types and shapes that bundles have from the start."""

from __future__ import annotations

import pytest

from edgeseg.ports import Port, ports_from_spec
from edgeseg.spec import Lowering

from .runtime.fake_bundle import make_spec

OUTPUTS = [
    "num_detections int32[2]",
    "boxes float32[2, 5, 4]",
    "scores float32[2, 5]",
    "labels int32[2, 5]",
    "masks float32[2, 5, 28, 28]",
]


def test_the_portable_graph_takes_a_threshold() -> None:
    inputs, outputs = ports_from_spec(make_spec(batch=2), Lowering.PORTABLE)

    assert [*map(str, inputs)] == ["images uint8[2, 64, 96, 3]", "score_threshold float32[]"]
    assert [*map(str, outputs)] == OUTPUTS


@pytest.mark.parametrize("lowering", [Lowering.TENSORRT, Lowering.TENSORRT_FP16])
def test_a_graph_for_tensorrt_has_it_built_in_and_says_whether_nms_has_settled(lowering: Lowering) -> None:
    inputs, outputs = ports_from_spec(make_spec(batch=2), lowering)

    assert [*map(str, inputs)] == ["images uint8[2, 64, 96, 3]"]
    assert [*map(str, outputs)] == [*OUTPUTS, "nms_converged int32[2]"]


def test_a_shape_that_is_left_to_run_time_has_no_sizes() -> None:
    assert Port(name="x", dtype="float32", shape=(1, 2)).sizes == (1, 2)
    with pytest.raises(ValueError, match="'height'"):
        _ = Port(name="x", dtype="float32", shape=(1, "height")).sizes
