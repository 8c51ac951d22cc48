"""Lines and zones as text."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from edgeseg.errors import ConfigError
from edgeseg.streaming.tracking import Line, TrackConfig, Zone, parse_line, parse_zone
from edgeseg.streaming.tracking.lines import LineCounter
from edgeseg.streaming.tracking.zones import ZoneCounter

if TYPE_CHECKING:
    from typing import Any


def test_a_line_in_shares_lies_in_every_frame() -> None:
    line = parse_line("gate:0.5,0,0.5,1")
    assert line.name == "gate"
    assert line.points_in((480, 640)) == ((320, 0), (320, 480))
    assert line.points_in((100, 200)) == ((100, 0), (100, 100))


def test_a_line_in_pixels_stays_where_it_is() -> None:
    line = parse_line(" 320, 0 , 320.5,480")
    assert line.name == ""
    assert line.points_in((100, 100)) == ((320, 0), (320.5, 480))


def test_a_name_may_have_colons() -> None:
    assert parse_line("dock: gate 2:0,0,1,1").name == "dock: gate 2"


def test_a_zone() -> None:
    zone = parse_zone("bin:0,0,0.5,0,0.5,1,0,1")
    assert zone.name == "bin"
    assert zone.points_in((100, 200)) == ((0, 0), (100, 0), (100, 100), (0, 100))


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("", "a line must be .* got '' where a number belongs"),
        ("gate", "got 'gate' where a number belongs in 'gate'"),
        ("gate:1,2,x,4", "got 'x' where a number belongs"),
        ("gate:1,2,3", "pairs of x and y, got 3 numbers in 'gate:1,2,3'"),
        ("1,2,3,4,5,6", "4 numbers, got 6"),
        (":1,2,3,4", "name before the colon must not be empty"),
        ("1,2,1,2", r"two ends of line '' must differ, got \(1, 2\)"),
        ("a:0.5,0,0.5,480", "all within 0 and 1 .* or all pixels, got 0.5, 0, 0.5, 480"),
        ("-1,0,5,5", "must be 0 or more, got -1"),
        ("nan,0,5,5", "must be 0 or more, got nan"),
        ("0,0,inf,5", "must be 0 or more, got inf"),
        ("0,0,5,1e7", "coordinates of line '' must be at most 1000000, got 1e\\+07"),
    ],
)
def test_lines_that_are_none(text: str, match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        parse_line(text)


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("bin:0,0,1,1", "6 numbers or more, got 4"),
        ("bin:0,0,1,1,1", "pairs of x and y, got 5 numbers"),
        ("bin:0,0,1,1,0.5,0.5", r"'bin' must enclose an area, got corners on one line: \(0, 0\) \(1, 1\)"),
        ("bin:0.1,0.1,0.2,0.2,0.3,0.3", "must enclose an area, got corners on one line"),
        ("bin:a,0,1,1,1,0", "a zone must be .* got 'a'"),
        pytest.param(
            "bin:0,0,1,1,1,0,0,1",
            r"edges of zone 'bin' must not cross each other, got \(0, 0\) to \(1, 1\) and "
            r"\(1, 0\) to \(0, 1\); give the corners in their order around the zone",
            id="edges that cross",
        ),
        ("bin:10,10,90,90,90,10,10,95", r"must not cross each other, got \(10, 10\) to \(90, 90\)"),
        ("bin:50,0,80,90,0,35,100,35,20,90", "must not cross each other"),
    ],
)
def test_zones_that_are_none(text: str, match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        parse_zone(text)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("0,0,1,0,1,1,0,1,0,0", id="closed by its first corner"),
        pytest.param("0,0,50,0,100,0,100,100,0,100", id="a corner on an edge"),
        pytest.param("0,0,100,0,50,50,100,100,0,100,50,50", id="touches itself"),
        pytest.param("0,0,100,0,100,100,60,100,60,20,40,20,40,100,0,100", id="a horseshoe"),
        pytest.param("0.1,0.1,0.3,0.1,0.3,0.7,0.1,0.7,0.1,0.1", id="shares"),
    ],
)
def test_zones_whose_edges_do_not_cross(text: str) -> None:
    assert parse_zone(text).points_in((480, 640))


def test_a_zone_of_many_corners() -> None:
    around = np.linspace(0, 2 * np.pi, 5000, endpoint=False)
    corners = np.stack([300 + 200 * np.cos(around), 300 + 200 * np.sin(around)], axis=1).tolist()
    assert len(Zone(corners_xy=tuple(map(tuple, corners))).corners_xy) == 5000
    corners[2000], corners[4000] = corners[4000], corners[2000]
    with pytest.raises(ConfigError, match="must not cross each other"):
        Zone(corners_xy=tuple(map(tuple, corners)))


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("700,0,700,480", id="right of the frame"),
        pytest.param("0,481,640,481", id="below"),
        pytest.param("0,0,0,1", id="left edge in shares"),
        pytest.param("1,0,1,1", id="right edge in shares"),
        pytest.param("0,1,1,1", id="bottom edge in shares"),
        pytest.param("0,0,640,0", id="top edge"),
        pytest.param("639,0,639,480", id="last column"),
        pytest.param("0,479,640,479", id="last row"),
        pytest.param("0.999,0,0.999,1", id="the last 0.1 %"),
        pytest.param("620,520,700,440", id="past a corner of the frame"),
        pytest.param("0.5,0.5,0.5,0.501", id="shorter than a pixel"),
    ],
)
def test_lines_that_nothing_can_cross_say_so(text: str) -> None:
    remark = LineCounter(parse_line("gate:" + text), 1, (480, 640)).remark
    assert remark is not None
    assert remark.startswith("line 'gate' counts nothing, because it is outside the frame")
    assert "the frame is 640 pixels wide and 480 high" in remark


@pytest.mark.parametrize(
    "text",
    [
        "0.5,0,0.5,1",
        "320,0,320,9000",
        "0,0,1,1",
        "639,479,0,0",
        "10,0,10,480",
        "0.99,0,0.99,1",
        "600,0,700,90",
    ],
)
def test_lines_that_lie_in_the_frame_say_nothing(text: str) -> None:
    assert LineCounter(parse_line(text), 1, (480, 640)).remark is None


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("700,0,900,0,900,480", id="outside"),
        pytest.param("639,0,640,0,640,480,639,480", id="a strip along the edge"),
        pytest.param("0,0,640,0,640,1,0,1", id="the top row"),
        pytest.param("630,490,650,470,650,490", id="around a corner of the frame"),
        pytest.param("0.5,0.5,0.501,0.5,0.5,0.501", id="smaller than a pixel"),
    ],
)
def test_zones_that_nothing_can_enter_say_so(text: str) -> None:
    remark = ZoneCounter(parse_zone(text), 3, (480, 640)).remark
    assert remark is not None
    assert remark.startswith("zone 3 counts nothing, because it is outside the frame")
    assert "the frame is 640 pixels wide and 480 high" in remark


@pytest.mark.parametrize(
    "text",
    ["0,0,1,0,1,1,0,1", "600,0,900,0,900,9000,600,9000", "600,400,640,480,600,480"],
)
def test_zones_that_lie_in_the_frame_say_nothing(text: str) -> None:
    assert ZoneCounter(parse_zone(text), 1, (480, 640)).remark is None


def test_the_remark_says_where_it_is_and_how_large_the_frame_is() -> None:
    assert LineCounter(parse_line("1,0,1,1"), 2, (480, 640)).remark == (
        "line 2 counts nothing, because it is outside the frame, along the frame's edge or smaller than "
        "a pixel: it reaches from 640 to 640 in x and from 0 to 480 in y, and the frame is 640 pixels wide "
        "and 480 high; move it to where the centres of objects pass"
    )


def test_a_zone_made_by_hand_is_checked_too() -> None:
    with pytest.raises(ConfigError, match="at least 3 corners, got 2"):
        Zone(corners_xy=((0, 0), (1, 1)))


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"confirm_frames": 0}, "confirm_frames must be at least 1, got 0"),
        ({"lost_s": -1}, "lost_s must be 0 seconds or more, got -1"),
        ({"trail_s": float("nan")}, "trail_s must be 0 seconds or more, got nan"),
        ({"smooth_masks": 1.0}, "smooth_masks must be at least 0 and below 1, got 1.0"),
        pytest.param(
            {"lines": (parse_line("a:0,0,1,1"),) * 2},
            "every line must have a name of its own, got 'a' 2",
            id="two lines of one name",
        ),
        pytest.param(
            {"zones": (parse_zone("a:0,0,1,1,0,1"),) * 2},
            "every zone must have a name of its own",
            id="two zones of one name",
        ),
    ],
)
def test_settings_that_cannot_work(settings: dict[str, Any], match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        TrackConfig(**settings)


def test_lines_need_no_name() -> None:
    lines = (Line(start_xy=(0, 0), end_xy=(1, 1)), Line(start_xy=(0, 1), end_xy=(1, 0)))
    assert len(TrackConfig(lines=lines).lines) == 2
