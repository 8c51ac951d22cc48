"""Objects that stop on a line or on the edge of a zone, and tremble."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray

from edgeseg.streaming.tracking import Line, parse_line, parse_zone
from edgeseg.streaming.tracking.lines import LineCounter, LineState
from edgeseg.streaming.tracking.zones import ZoneCounter, ZoneState

from .scenes import Stage

SIZE_HW = (480, 640)
GATE = parse_line("320,480,320,0")
SLANTED = parse_line("280,480,360,0")
BIN = parse_zone("320,0,9000,0,9000,480,320,480")
STANDSTILL_S = 40

Path = NDArray[np.float64]
Noise = Callable[[np.random.Generator, int], Path]


def gaussian(rng: np.random.Generator, count: int) -> Path:
    return rng.normal(0, 1, (count, 2))


def uniform(rng: np.random.Generator, count: int) -> Path:
    return rng.uniform(-1, 1, (count, 2))


def swinging(rng: np.random.Generator, count: int) -> Path:
    phase = np.cumsum(np.full(count, rng.uniform(0.02, 3))) + rng.uniform(0, 2 * np.pi)
    return np.stack([np.sin(phase), np.cos(phase)], axis=1)


def drifting(rng: np.random.Generator, count: int) -> Path:
    """A random walk between -1 and 1, which turns back at both."""
    walk = np.cumsum(rng.normal(0, 0.25, (count, 2)), axis=0)
    return np.abs((walk - 1) % 4 - 2) - 1


def standstill(noise: Noise, spread: float, fps: int, seed: int, *, trembles_always: bool) -> Path:
    """The way of an object 80 pixels large that comes, stops near x = 320 for 40 s, and goes on."""
    rng = np.random.default_rng(seed)
    stop, step = 320 + 80 * rng.uniform(-0.04, 0.09), 80 * 2 / fps
    columns = [
        np.arange(320 - 240, stop, step),
        np.full(STANDSTILL_S * fps, stop),
        np.arange(stop, 320 + 240, step),
    ]
    x = np.concatenate(columns)
    tremble = 80 * spread * noise(rng, len(x))
    if not trembles_always:
        tremble[: len(columns[0])] = tremble[-len(columns[2]) :] = 0
    return np.stack([x, np.full(len(x), 240.0)], axis=1) + tremble


def crossings(path: Path, *, line: Line = GATE, size: float = 80) -> tuple[int, int]:
    counter, line_state = LineCounter(line, 1, SIZE_HW), LineState()
    for x, y in path.tolist():
        counter.follow(line_state, (x, y), size)
    counter.count(line_state)
    count = counter.state((1, 1))
    return count.forward, count.backward


def changes(path: Path) -> int:
    """How often an object's being in the zone changed."""
    counter, zone_state = ZoneCounter(BIN, 1, SIZE_HW), ZoneState()
    inside = [False]
    for x, y in path.tolist():
        counter.follow(zone_state, (x, y), 80)
        inside.append(zone_state.inside)
    return sum(before != after for before, after in pairwise(inside))


@pytest.mark.parametrize("always", [True, False], ids=["always", "standing"])
@pytest.mark.parametrize("fps", [5, 15, 30])
@pytest.mark.parametrize("spread", [0.01, 0.0375, 0.05])
@pytest.mark.parametrize("noise", [gaussian, uniform, swinging, drifting])
def test_standing_on_a_border_counts_once(noise: Noise, spread: float, fps: int, always: bool) -> None:
    paths = [standstill(noise, spread, fps, seed, trembles_always=always) for seed in range(6)]
    assert [crossings(path) for path in paths] == [(1, 0)] * 6
    assert [crossings(path, line=SLANTED) for path in paths] == [(1, 0)] * 6
    assert [changes(path) for path in paths] == [1] * 6


@pytest.mark.parametrize("spread", [0.0, 0.0375, 0.05])
def test_whoever_stands_and_goes_back_counts_once_each_way(spread: float) -> None:
    for seed in range(10):
        there = standstill(gaussian, spread, 15, seed, trembles_always=True)
        back = standstill(gaussian, spread, 15, seed + 100, trembles_always=True)[::-1]
        assert crossings(np.concatenate([there, back])) == (1, 1)
        assert changes(np.concatenate([there, back])) == 2


@pytest.mark.parametrize("spread", [0.01, 0.0375, 0.05])
def test_what_appears_on_a_line_and_stays_there_does_not_cross_it(spread: float) -> None:
    for seed in range(10):
        rng = np.random.default_rng(seed)
        assert crossings(np.array([320, 240]) + 80 * spread * rng.normal(0, 1, (600, 2))) == (0, 0)


def test_what_appears_beside_a_line_and_goes_over_it_counts() -> None:
    assert crossings(np.array([(x, 240) for x in range(310, 350, 4)])) == (1, 0)
    assert crossings(np.array([(x, 240) for x in range(330, 290, -4)])) == (0, 1)


def test_a_jump_over_the_line_counts_however_unsteady_the_object_was() -> None:
    for seed in range(10):
        standing = np.array([270, 240]) + 80 * 0.05 * gaussian(np.random.default_rng(seed), 300)
        assert crossings(np.concatenate([standing, [(370, 240)]])) == (1, 0)
        assert changes(np.concatenate([standing, [(370, 240)]])) == 1


def test_a_fast_object_that_changes_its_pace_counts() -> None:
    columns = [250.0, 253.0, 300.0, 310.0, 400.0, 700.0]
    assert crossings(np.array([(x, 240) for x in columns])) == (1, 0)
    assert crossings(np.array([(x, 240) for x in columns[::-1]])) == (0, 1)


def test_standing_beyond_the_end_of_a_line_counts_nothing() -> None:
    path = standstill(gaussian, 0.05, 15, 0, trembles_always=True)
    assert crossings(path, line=parse_line("320,180,320,0")) == (0, 0)


def test_a_zone_takes_what_is_first_seen_in_it_and_loses_what_walks_out() -> None:
    assert changes(np.array([(330, 240), (331, 240)])) == 1
    assert changes(np.array([(x, 240) for x in range(330, 260, -5)])) == 2
    # The edge belongs to it.
    assert changes(np.array([(300, 240), (320, 240)])) == 1


def test_a_zone_smaller_than_its_objects_takes_each_that_passes() -> None:
    counter = ZoneCounter(parse_zone("310,0,330,0,330,480,310,480"), 1, SIZE_HW)
    zone_state = ZoneState()
    inside = []
    for x in range(260, 400, 5):
        counter.follow(zone_state, (x, 240), 80)
        inside.append(zone_state.inside)
    counter.count(zone_state)
    assert inside[inside.index(True) :].index(False) * 5 == pytest.approx(30, abs=5)
    assert not inside[-1]
    assert counter.state(0, (1, 1)).entered == 1


def test_a_tracked_object_that_stands_on_a_line_counts_once() -> None:
    pytest.importorskip("trackers")
    stage = Stage(lines=(GATE,), zones=(BIN,))
    path = standstill(gaussian, 0.05, 5, 1, trembles_always=True)
    scene = stage.walk([(x, y) for x, y in path.tolist()], side=80)
    assert (scene.entered, scene.lines[0].forward, scene.lines[0].backward) == (1, 1, 0)
    assert (scene.zones[0].inside, scene.zones[0].entered) == (1, 1)
