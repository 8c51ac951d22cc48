"""Lines and zones against paths made by hand."""

from __future__ import annotations

import numpy as np
import pytest

from edgeseg.streaming.tracking import parse_line, parse_zone

from .scenes import Stage, ids_of, thing

pytest.importorskip("trackers")
# Up the frame: what moves to the right goes from its left to its right.
GATE = parse_line("gate:320,480,320,0")


def rightward(start: float, stop: float, step: float = 10, y: float = 240) -> list[tuple[float, float]]:
    return [(float(x), y) for x in np.arange(start, stop, step)]


def test_a_crossing_counts_once() -> None:
    line = Stage(lines=(GATE,)).walk(rightward(200, 440)).lines[0]
    assert (line.name, line.forward, line.backward) == ("gate", 1, 0)
    assert (line.start_xy, line.end_xy) == ((320, 480), (320, 0))


def test_the_way_back_counts_the_other_way() -> None:
    stage = Stage(lines=(GATE,))
    stage.walk(rightward(200, 440))
    line = stage.walk(rightward(440, 200, -10)).lines[0]
    assert (line.forward, line.backward) == (1, 1)


def test_to_and_fro_counts_once_each_way() -> None:
    stage = Stage(lines=(GATE,))
    for _ in range(4):
        stage.walk(rightward(260, 380))
        line = stage.walk(rightward(380, 260, -10)).lines[0]
    assert (line.forward, line.backward) == (1, 1)


def test_trembling_on_the_line_counts_nothing() -> None:
    path = [(320 + 3 * (-1) ** n, 240) for n in range(100)]
    line = Stage(lines=(GATE,)).walk(path).lines[0]
    assert (line.forward, line.backward) == (0, 0)


def test_trembling_on_the_way_across_counts_once() -> None:
    rng = np.random.default_rng(0)
    path = [(x + rng.normal(0, 2), 240) for x in np.arange(290, 350, 0.5)]
    line = Stage(lines=(GATE,)).walk(path).lines[0]
    assert (line.forward, line.backward) == (1, 0)


def test_passing_beyond_the_end_does_not_count() -> None:
    short = parse_line("320,200,320,0")
    line = Stage(lines=(short,)).walk(rightward(200, 440, y=300)).lines[0]
    assert (line.name, line.forward, line.backward) == ("line 1", 0, 0)


def test_a_crossing_while_unseen_counts() -> None:
    stage = Stage(lines=(GATE,))
    stage.walk(rightward(250, 310))
    for _ in range(4):
        stage.show()
    line = stage.walk(rightward(350, 400)).lines[0]
    assert line.forward == 1


def test_a_crossing_before_the_number_counts_with_it() -> None:
    stage = Stage(lines=(GATE,), confirm_frames=5)
    assert stage.walk(rightward(300, 340)).lines[0].forward == 0
    assert stage.walk(rightward(340, 380)).lines[0].forward == 1


def test_what_never_gets_a_number_never_counts() -> None:
    stage = Stage(lines=(GATE,), confirm_frames=10)
    assert stage.walk(rightward(300, 340)).lines[0].forward == 0


def test_low_scores_carry_an_object_across() -> None:
    stage = Stage(lines=(GATE,))
    stage.walk(rightward(250, 300))
    detections, scene = stage.show(thing(300, 240, score=0.2))
    assert len(detections) == 0
    scene = stage.walk(rightward(310, 400), score=0.2)
    assert scene.lines[0].forward == 1


def test_zones_count_what_is_and_has_been_inside() -> None:
    zone = parse_zone("bin:0,0,0.5,0,0.5,1,0,1")
    stage = Stage(zones=(zone,))
    stage.show(thing(280, 100), thing(500, 400))
    _, scene = stage.show(thing(290, 100), thing(500, 400))
    assert (scene.zones[0].inside, scene.zones[0].entered) == (1, 1)
    for x in (300, 310, 320, 330, 340):
        _, scene = stage.show(thing(x, 100), thing(500, 400))
    assert (scene.zones[0].inside, scene.zones[0].entered) == (0, 1)
    for x in (330, 310, 290):
        _, scene = stage.show(thing(x, 100), thing(500, 400))
    assert (scene.zones[0].inside, scene.zones[0].entered) == (1, 1)
    assert scene.zones[0].name == "bin"


def test_a_zone_forgets_who_is_gone() -> None:
    stage = Stage(zones=(parse_zone("0,0,1,0,1,1,0,1"),))
    assert stage.walk([(100, 100)] * 5).zones[0].inside == 1
    for _ in range(40):
        _, scene = stage.show()
    assert (scene.zones[0].name, scene.zones[0].inside, scene.zones[0].entered) == ("zone 1", 0, 1)


def test_lines_and_objects_follow_the_size_of_the_frame() -> None:
    stage = Stage(lines=(parse_line("0.5,1,0.5,0"),))
    stage.walk(rightward(200, 300))
    for x in range(600, 800, 20):
        detections, scene = stage.show(thing(x, 480, side=80), size_hw=(960, 1280))
    assert ids_of(detections) == [1]
    assert scene.lines[0].forward == 1
    assert scene.lines[0].start_xy == (640, 960)
    assert scene.trails[1][-1] == pytest.approx((780, 480), abs=1.5)
    assert scene.trails[1][0] == pytest.approx((400, 480), abs=3)
