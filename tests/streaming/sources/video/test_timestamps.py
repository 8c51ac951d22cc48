"""Times that always go forward."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest

from edgeseg.streaming.sources.video.timestamps import FrameTimes, plausible_rate

NONE = math.nan
TENTHS = [0.0, 0.1, 0.2, 0.3, 0.4]


@pytest.mark.parametrize(
    ("fps", "stated_s", "times_s"),
    [
        (25, [0, 0.04, 1.12, 1.16, 6.0], [0, 0.04, 1.12, 1.16, 6.0]),
        (10, [0, 0, 0, 0], [0, 0.1, 0.2, 0.3]),
        (None, [0, 0, 0], [0, 0.04, 0.08]),
        (10, [NONE, NONE, math.inf], [0, 0.1, 0.2]),
        (10, [0, 0.2, NONE, 0.6], [0, 0.2, 0.4, 0.6]),
        (10, [3.0, 3.1], [3.0, 3.1]),
        (10, [-0.2, 0.1], [0, 0.1]),
        (10, [0, 0.1, 0.1, 0.2, 0.2, 0.3], [0, 0.1, 0.15, 0.2, 0.25, 0.3]),
        (10, [0, 0.1, 0.3, 0.2, 0.4], [0, 0.1, 0.3, 0.35, 0.4]),
        (10, [*TENTHS, *TENTHS], [0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]),
        (25, [0, 0.04, 9.0, 0, 0.5, 0.54], [0, 0.04, 9.0, 9.04, 9.54, 9.58]),
        (10, [7.0, 0, 0.1], [7.0, 7.1, 7.2]),
    ],
    ids=[
        "its own",
        "always the same",
        "no times, no rate",
        "no numbers",
        "one is missing",
        "begins late",
        "begins before zero",
        "each other repeats",
        "two swapped",
        "from the beginning again",
        "again, after a pause",
        "again, at once",
    ],
)
def test_times_go_forward(fps: int | None, stated_s: list[float], times_s: list[float]) -> None:
    times = FrameTimes(fps)

    found = [times.advance(stated) for stated in stated_s]

    assert found == pytest.approx(times_s, abs=1e-6)
    assert all(before < after for before, after in pairwise(found))


@pytest.mark.parametrize(
    ("stated", "rate"),
    [
        (29.97, 29.97),
        (240.0, 240.0),
        (1000.0, None),
        (90000.0, None),
        (0.0, None),
        (-1.0, None),
        (math.nan, None),
        (math.inf, None),
    ],
)
def test_a_clock_is_no_rate(stated: float, rate: float | None) -> None:
    assert plausible_rate(stated) == rate
