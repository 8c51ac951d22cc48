"""Lines and zones as text."""

from __future__ import annotations

import pytest

from edgeseg.errors import ConfigError
from edgeseg.runtime.tracking import Line, TrackConfig, Zone, parse_line, parse_zone


def test_a_line_in_shares_lies_in_every_frame():
    line = parse_line("gate:0.5,0,0.5,1")
    assert line.name == "gate"
    assert line.points_in((480, 640)) == ((320, 0), (320, 480))
    assert line.points_in((100, 200)) == ((100, 0), (100, 100))


def test_a_line_in_pixels_stays_where_it_is():
    line = parse_line(" 320, 0 , 320.5,480")
    assert line.name == ""
    assert line.points_in((100, 100)) == ((320, 0), (320.5, 480))


def test_a_name_may_have_colons():
    assert parse_line("dock: gate 2:0,0,1,1").name == "dock: gate 2"


def test_a_zone():
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
    ],
)
def test_lines_that_are_none(text, match):
    with pytest.raises(ConfigError, match=match):
        parse_line(text)


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("bin:0,0,1,1", "6 numbers or more, got 4"),
        ("bin:0,0,1,1,1", "pairs of x and y, got 5 numbers"),
        ("bin:0,0,1,1,0.5,0.5", r"'bin' must enclose an area, got corners on one line: \(0, 0\) \(1, 1\)"),
        ("bin:a,0,1,1,1,0", "a zone must be .* got 'a'"),
    ],
)
def test_zones_that_are_none(text, match):
    with pytest.raises(ConfigError, match=match):
        parse_zone(text)


def test_a_zone_made_by_hand_is_checked_too():
    with pytest.raises(ConfigError, match="at least 3 corners, got 2"):
        Zone(corners_xy=((0, 0), (1, 1)))


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"confirm_frames": 0}, "confirm_frames must be at least 1, got 0"),
        ({"lost_s": -1}, "lost_s must be 0 seconds or more, got -1"),
        ({"trail_s": float("nan")}, "trail_s must be 0 seconds or more, got nan"),
        ({"smooth_masks": 1.0}, "smooth_masks must be at least 0 and below 1, got 1.0"),
        ({"lines": (parse_line("a:0,0,1,1"),) * 2}, "every line must have a name of its own, got 'a' 2"),
        ({"zones": (parse_zone("a:0,0,1,1,0,1"),) * 2}, "every zone must have a name of its own"),
    ],
)
def test_settings_that_cannot_work(settings, match):
    with pytest.raises(ConfigError, match=match):
        TrackConfig(**settings)


def test_lines_need_no_name():
    lines = (Line(start_xy=(0, 0), end_xy=(1, 1)), Line(start_xy=(0, 1), end_xy=(1, 0)))
    assert len(TrackConfig(lines=lines).lines) == 2
