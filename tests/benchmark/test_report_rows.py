"""Rows from what the processes said."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edgeseg.benchmark.report_rows import Facts, baseline_of, rows_from
from edgeseg.benchmark.rounds import Plan, take_turns
from edgeseg.benchmark.row import RowState
from edgeseg.benchmark.statistics.noise import Watch
from edgeseg.benchmark.worker.process import RowError
from edgeseg.graphs.macs import Macs

from .fakes import make_lane
from .test_agreement import square

FACTS = Facts(
    batch=1,
    callers=2,
    compared=(1, 2),
    shown=(1,),
    price_per_hour=0.36,
    macs=Macs(8_000_000_000, 500_000_000),
    peaks={"fp32": 100.0},
    interrupted=False,
)


def measured(*lanes):
    take_turns(lanes, Plan(3, 0, 1, 1), watch=Watch())
    return lanes


def two(first="pytorch-eager", second="openvino-fp32"):
    log = []
    eager, fast = measured(make_lane(first, log, [1000.0]), make_lane(second, log, [250.0]))
    eager.results = {1: [square(0), square(20, score=0.3)], 2: [square(0, image_id=2)]}
    fast.results = {1: [square(1)], 2: [square(0, image_id=2)]}
    return eager, fast


def test_a_row_beside_pytorch():
    eager, fast = rows_from(two(), FACTS)

    assert (eager.state, fast.state) == (RowState.OK, RowState.OK)
    assert fast.latency is not None
    assert fast.latency.p50_ms == 250
    assert fast.images_per_s == pytest.approx(4)
    assert fast.ratio is not None
    assert (fast.ratio.value, fast.ratio.turns) == (4, 3)
    assert eager.ratio is not None
    assert eager.ratio.value == 1
    assert fast.stages is not None
    assert (fast.stages.prepare_ms, fast.stages.infer_ms) == (1, 248)
    # Four images a second at 0.36 an hour.
    assert fast.cost_per_million == pytest.approx(25)
    assert fast.found == 3


def test_multiply_adds_of_what_was_found():
    _, fast = rows_from(two(), FACTS)

    assert fast.compute is not None
    assert fast.compute.gmacs == pytest.approx(9.5)
    assert fast.compute.gmacs_per_s == pytest.approx(38)
    assert fast.compute.share_of_peak == pytest.approx(0.38)
    _, unknown = rows_from(two(second="openvino-int8"), FACTS)
    assert unknown.compute is not None
    assert unknown.compute.share_of_peak is None
    _, uncounted = rows_from(two(), replace(FACTS, macs=None))
    assert uncounted.compute is None


def test_agreement_and_examples():
    eager, fast = rows_from(two(), FACTS)

    assert eager.agreement is None
    assert fast.agreement is not None
    assert (fast.agreement.reference, fast.agreement.images) == ("pytorch-eager", 2)
    assert (fast.agreement.expected, fast.agreement.matched) == (2, 2)
    assert [item["bbox"][0] for item in eager.detections] == [0]
    assert [item["image_id"] for item in fast.detections] == [1]


def test_a_batch_is_several_images():
    _, fast = rows_from(two(), replace(FACTS, batch=2))

    assert fast.images_per_s == pytest.approx(8)
    assert fast.compute is not None
    assert fast.compute.gmacs == pytest.approx(5.5)
    assert fast.compute.gmacs_per_s == pytest.approx(44)


def test_several_callers_may_be_cheaper():
    eager, fast = two()
    fast.images_per_s_crowded = 8.0
    _, row = rows_from((eager, fast), FACTS)

    assert row.concurrent is not None
    assert (row.concurrent.callers, row.concurrent.images_per_s) == (2, 8)
    assert row.cost_per_million == pytest.approx(12.5)
    assert rows_from(two(), replace(FACTS, price_per_hour=None))[1].cost_per_million is None


def test_without_pytorch_the_exported_graph_is_the_baseline():
    lanes = two("onnxruntime-fp32")
    baseline = baseline_of(lanes)

    assert baseline is not None
    assert baseline.row.name == "onnxruntime-fp32"
    nobody = two("openvino-bf16")
    assert baseline_of(nobody) is None
    rows = rows_from(nobody, FACTS)
    assert (rows[1].ratio, rows[1].agreement) == (None, None)


def test_failed_rows_say_why_and_keep_their_numbers():
    eager, fast = two()
    broken, refused = make_lane("a-fp32", [], [1.0]), make_lane("b-fp32", [], [1.0])
    fast.fail(RowError("its process ended"))
    broken.fail(RowError("ValueError: x"))
    refused.fail(RowError("no GPU", refused=True))
    rows = rows_from((eager, fast, broken, refused), FACTS)

    assert [row.state.value for row in rows] == ["ok", "partial", "failed", "skipped"]
    assert [row.reason for row in rows] == ["", "its process ended", "ValueError: x", "no GPU"]
    assert rows[1].ratio is not None
    assert rows[2].latency is None


def test_interrupted_rows_are_marked():
    log = []
    (some,) = measured(make_lane("pytorch-eager", log, [900.0]))
    rows = rows_from((some, make_lane("a-fp32", log, [1.0])), replace(FACTS, interrupted=True))

    assert [(row.state.value, row.reason) for row in rows] == [
        ("partial", "interrupted after 3 turns"),
        ("skipped", "interrupted before it was measured"),
    ]
