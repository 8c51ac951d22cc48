"""What the page's drawings are made of: axes, numbers, the front, and names that do not cover each other."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from edgeseg.benchmark.page.decoded_results import detections_from_row
from edgeseg.benchmark.page.formatting import interval, number, percent, points, tick, times
from edgeseg.benchmark.page.label_layout import CHARACTER_PX, LINE_PX, LabelPlacement, place_labels
from edgeseg.benchmark.page.scale import linear_scale, log_scale
from edgeseg.benchmark.page.scatter import pareto_front, scatters
from edgeseg.benchmark.page.strips import MOST_DOTS, latency_chart, spread_chart
from edgeseg.benchmark.row import Ratio
from edgeseg.vision.masks import MaskCrop
from tests.vision.found import NAMES, make_detections

from .page_samples import MEASURED, SIZE_HW, make_image, make_latency, make_measured, make_results

if TYPE_CHECKING:
    from collections.abc import Sequence

SIZE_WH = (265, 300)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "\N{EN DASH}"),
        (0, "0"),
        (0.3702, "0.370"),
        (5.3049, "5.30"),
        (9.996, "10.0"),
        (99.97, "100"),
        (193.4, "193"),
        (2650.4, "2650"),
        (12345.6, "12\N{NARROW NO-BREAK SPACE}346"),
        (9999.7, "10\N{NARROW NO-BREAK SPACE}000"),
        (-4.5, "-4.50"),
        (float("nan"), "\N{EN DASH}"),
    ],
)
def test_numbers(value: float | None, text: str) -> None:
    assert number(value) == text


def test_other_words() -> None:
    ratio = Ratio(value=13.731, low=12.77, high=14.28, turns=20)

    assert (times(ratio), interval(ratio)) == ("13.7\N{MULTIPLICATION SIGN}", "12.8 to 14.3")
    assert {times(None), points(None), percent(None)} == {"\N{EN DASH}"}
    assert points(0.28671) == "28.67"
    assert [percent(value) for value in (0.034, 0.717)] == ["3.4\u202f%", "72\u202f%"]
    assert [tick(value) for value in (0.5, 200.0, 20000.0)] == ["0.5", "200", "20\u202f000"]


@pytest.mark.parametrize(
    "values", [[193, 3206], [0.8, 15], [100, 100], [100, 101], [0, 0], [0.001, 90000], [7]]
)
def test_a_logarithmic_axis_holds_its_values(values: list[int] | list[float]) -> None:
    scale = log_scale(values)

    assert scale.low < max(min(values), 1e-3) <= max(*values, 1e-3) < scale.high
    assert 1 <= len(scale.ticks) <= 8
    assert all(scale.low <= value <= scale.high * (1 + 1e-9) for value in scale.ticks)
    places = [scale.percent(value) for value in sorted(values)]
    assert places == sorted(places)


def test_a_logarithmic_axis_counts_as_people_do() -> None:
    assert log_scale([193, 3206]).ticks == (200, 500, 1000, 2000)


@pytest.mark.parametrize(("low", "high"), [(0, 100), (28.2, 29.3), (0.95, 3.01), (0, 1743.2)])
def test_a_linear_axis(low: float, high: float) -> None:
    scale = linear_scale(low, high)

    assert (scale.percent(low), scale.percent(high)) == (0, 100)
    assert 3 <= len(scale.ticks) <= 8
    assert scale.percent(high + 1) == 100


def test_the_front() -> None:
    # The second is slower and worse than the first, the fourth slower and no better than the third.
    assert pareto_front([100, 200, 300, 400, 500], [0.3, 0.2, 0.4, 0.4, 0.5]) == [0, 2, 4]
    assert pareto_front([200, 100], [0.3, 0.3]) == [1]
    assert pareto_front([100, 100], [0.3, 0.3]) == [0, 1]
    assert pareto_front([100, 100], [0.2, 0.3]) == [1]


# Left, top, right and bottom.
Box = tuple[float, float, float, float]


def boxes_of(
    points_xy: Sequence[tuple[float, float]], names: Sequence[str], places: Sequence[LabelPlacement]
) -> list[Box]:
    """Left, top, right and bottom of each name."""
    boxes = []
    for (x, y), name, place in zip(points_xy, names, places, strict=True):
        width = len(name) * CHARACTER_PX
        left = x + place.dx - {"start": 0, "middle": width / 2, "end": width}[place.anchor]
        boxes.append((left, y + place.dy - LINE_PX / 2, left + width, y + place.dy + LINE_PX / 2))
    return boxes


def overlapping(boxes: list[Box]) -> list[tuple[Box, Box]]:
    return [
        (a, b)
        for a, b in itertools.combinations(boxes, 2)
        if a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
    ]


def test_names_do_not_cover_each_other() -> None:
    (plot, _) = scatters([make_measured(*row) for row in MEASURED])
    points_xy = [(point.x / 100 * SIZE_WH[0], point.y) for point in plot.points]
    names = [point.name for point in plot.points]

    boxes = boxes_of(points_xy, names, [point.place for point in plot.points])
    assert overlapping(boxes) == []
    assert all(box[0] >= 0 and box[2] <= SIZE_WH[0] for box in boxes)


def test_names_do_not_cover_each_other_in_a_wider_plot() -> None:
    (plot, _) = scatters([make_measured(*row) for row in MEASURED])
    names, places = zip(*((point.name, point.place) for point in plot.points), strict=True)

    for width in (300, 440, 900):
        points_xy = [(point.x / 100 * width, point.y) for point in plot.points]
        assert overlapping(boxes_of(points_xy, names, places)) == []


def test_names_of_points_in_one_place() -> None:
    names = ["some row"] * 8
    points_xy = [(130.0, 150.0)] * 8

    assert overlapping(boxes_of(points_xy, names, place_labels(points_xy, names, SIZE_WH))) == []


def test_a_name_without_room_is_still_placed() -> None:
    assert len(place_labels([(10.0, 10.0)], ["x" * 200], SIZE_WH)) == 1


def test_many_calls_are_thinned_by_rank() -> None:
    latency = make_latency(100.0, 5000)
    chart = latency_chart([make_measured(*MEASURED[0], latency=latency)])
    assert chart is not None
    dots = [x for x, _ in chart.tracks[0].dots]

    assert len(dots) == MOST_DOTS
    # The fastest and the slowest are there.
    assert min(dots) < 50 < max(dots)
    assert (min(dots), max(dots)) == (dots[0], dots[-1])
    stop = chart.tracks[0].stops[0].start
    assert abs(np.median(dots) - stop) < 2


def test_one_slow_call_does_not_set_the_axis_of_the_spread() -> None:
    samples = (*make_latency(100.0).samples_ms, 9000.0)
    latency = replace(make_latency(100.0), samples_ms=samples, max_ms=9000.0)
    chart = spread_chart([make_measured(*MEASURED[0], latency=latency)])

    assert chart is not None
    assert float(chart.ticks[-1][1]) <= 3
    assert chart.tracks[0].dots[-1][0] == 100


@pytest.mark.parametrize("size_hw", [SIZE_HW, (60, 80), (45, 61), (240, 320)])
def test_detections_come_back_at_any_size(size_hw: tuple[int, int]) -> None:
    row = make_measured(*MEASURED[0], detections=make_results(1, 4) + make_results(2, 1))
    truth = make_detections(4, SIZE_HW)
    found = detections_from_row(row, make_image(1, "a.jpg"), NAMES, size_hw)

    factors = np.array([size_hw[1] / SIZE_HW[1], size_hw[0] / SIZE_HW[0]] * 2)
    np.testing.assert_allclose(found.boxes_xyxy, truth.boxes_xyxy * factors, rtol=1e-5)
    np.testing.assert_allclose(found.scores, truth.scores, atol=1e-6)
    assert found.labels.tolist() == truth.labels.tolist()
    for mask, box in zip(found.dense_masks(), found.boxes_xyxy, strict=True):
        rows, columns = np.nonzero(mask)
        edges = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
        np.testing.assert_allclose(edges, box, atol=1)


def test_masks_at_their_own_size_are_exact() -> None:
    rng = np.random.default_rng(0)
    ragged = tuple(
        MaskCrop(pixels=rng.integers(0, 2, (17, 9), np.uint8), left=left, top=top)
        for left, top in ((0, 0), (40, 31), (SIZE_HW[1] - 9, SIZE_HW[0] - 17))
    )
    truth = replace(make_detections(3, SIZE_HW), masks=ragged)
    row = make_measured(*MEASURED[0], detections=tuple(truth.to_coco(1)))
    found = detections_from_row(row, make_image(1, "a.jpg"), NAMES, SIZE_HW)

    assert (found.dense_masks() == truth.dense_masks()).all()


def test_a_mask_of_nothing() -> None:
    nothing = MaskCrop(pixels=np.zeros((0, 0), np.uint8), left=0, top=0)
    truth = replace(make_detections(1, SIZE_HW), masks=(nothing,))
    row = make_measured(*MEASURED[0], detections=tuple(truth.to_coco(1)))

    assert not detections_from_row(row, make_image(1, "a.jpg"), NAMES, (60, 80)).dense_masks().any()
