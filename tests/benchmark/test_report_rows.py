"""Rows from what the processes said."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from edgeseg.benchmark.report_rows import ReportContext, find_baseline, report_rows
from edgeseg.benchmark.rounds import RoundPlan, run_rounds
from edgeseg.benchmark.row import RowState
from edgeseg.benchmark.statistics.noise import NoiseMonitor
from edgeseg.benchmark.worker.process import RowError
from edgeseg.graphs.macs import Macs

from .fakes import Calls, make_row_run
from .test_agreement import square

if TYPE_CHECKING:
    from edgeseg.benchmark.row_run import RowRun

FACTS = ReportContext(
    batch=1,
    callers=2,
    compared=(1, 2),
    shown=(1,),
    price_per_hour=0.36,
    macs=Macs(8_000_000_000, 500_000_000),
    roofline={"fp32": 100.0},
    interrupted=False,
)


def measured(*row_runs: RowRun) -> tuple[RowRun, ...]:
    run_rounds(row_runs, RoundPlan(3, 0, 1, 1), noise_monitor=NoiseMonitor())
    return row_runs


def two(first: str = "pytorch-eager", second: str = "openvino-fp32") -> tuple[RowRun, RowRun]:
    log: Calls = []
    eager, fast = measured(make_row_run(first, log, [1000.0]), make_row_run(second, log, [250.0]))
    eager.results = {1: [square(0), square(20, score=0.3)], 2: [square(0, image_id=2)]}
    fast.results = {1: [square(1)], 2: [square(0, image_id=2)]}
    return eager, fast


def test_a_row_beside_pytorch() -> None:
    eager, fast = report_rows(two(), FACTS)

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


def test_multiply_adds_of_what_was_found() -> None:
    _, fast = report_rows(two(), FACTS)

    assert fast.compute is not None
    assert fast.compute.gmacs == pytest.approx(9.5)
    assert fast.compute.gmacs_per_s == pytest.approx(38)
    assert fast.compute.share_of_peak == pytest.approx(0.38)
    _, unknown = report_rows(two(second="openvino-int8"), FACTS)
    assert unknown.compute is not None
    assert unknown.compute.share_of_peak is None
    _, uncounted = report_rows(two(), replace(FACTS, macs=None))
    assert uncounted.compute is None


def test_agreement_and_examples() -> None:
    eager, fast = report_rows(two(), FACTS)

    assert eager.agreement is None
    assert fast.agreement is not None
    assert (fast.agreement.reference, fast.agreement.images) == ("pytorch-eager", 2)
    assert (fast.agreement.expected, fast.agreement.matched) == (2, 2)
    assert [item["bbox"][0] for item in eager.detections] == [0]
    assert [item["image_id"] for item in fast.detections] == [1]


def test_a_batch_is_several_images() -> None:
    _, fast = report_rows(two(), replace(FACTS, batch=2))

    assert fast.images_per_s == pytest.approx(8)
    assert fast.compute is not None
    assert fast.compute.gmacs == pytest.approx(5.5)
    assert fast.compute.gmacs_per_s == pytest.approx(44)


def test_several_callers_may_be_cheaper() -> None:
    eager, fast = two()
    fast.concurrent_images_per_s = 8.0
    _, row = report_rows((eager, fast), FACTS)

    assert row.concurrent is not None
    assert (row.concurrent.callers, row.concurrent.images_per_s) == (2, 8)
    assert row.cost_per_million == pytest.approx(12.5)
    assert report_rows(two(), replace(FACTS, price_per_hour=None))[1].cost_per_million is None


def test_without_pytorch_the_exported_graph_is_the_baseline() -> None:
    row_runs = two("onnxruntime-fp32")
    baseline = find_baseline(row_runs)

    assert baseline is not None
    assert baseline.row.name == "onnxruntime-fp32"
    nobody = two("openvino-bf16")
    assert find_baseline(nobody) is None
    rows = report_rows(nobody, FACTS)
    assert (rows[1].ratio, rows[1].agreement) == (None, None)


def test_failed_rows_say_why_and_keep_their_numbers() -> None:
    eager, fast = two()
    broken, refused = make_row_run("a-fp32", [], [1.0]), make_row_run("b-fp32", [], [1.0])
    fast.fail(RowError("its process ended"))
    broken.fail(RowError("ValueError: x"))
    refused.fail(RowError("no GPU", refused=True))
    rows = report_rows((eager, fast, broken, refused), FACTS)

    assert [row.state.value for row in rows] == ["ok", "partial", "failed", "skipped"]
    assert [row.reason for row in rows] == ["", "its process ended", "ValueError: x", "no GPU"]
    assert rows[1].ratio is not None
    assert rows[2].latency is None


def test_interrupted_rows_are_marked() -> None:
    log: Calls = []
    (some,) = measured(make_row_run("pytorch-eager", log, [900.0]))
    rows = report_rows((some, make_row_run("a-fp32", log, [1.0])), replace(FACTS, interrupted=True))

    assert [(row.state.value, row.reason) for row in rows] == [
        ("partial", "interrupted after 3 turns"),
        ("skipped", "interrupted before it was measured"),
    ]
