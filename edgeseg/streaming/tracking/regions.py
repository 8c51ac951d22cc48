"""Lines and zones as a user gives them, and where they lie in a frame."""

from __future__ import annotations

import math
from dataclasses import dataclass

from edgeseg.errors import ConfigError

from .polygons import Point, area, crossing_edges, cut_to_frame

LINE_FORM = "[NAME:]X1,Y1,X2,Y2"
ZONE_FORM = "[NAME:]X1,Y1,X2,Y2,X3,Y3[,...]"

MAX_COORDINATE = 1_000_000
"""No frame is as large as a coordinate above this says."""

EDGE_PX = 2
"""An object at the edge of the frame is seen in part, and the centre of that part is further inside than
this: nothing passes a line within it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A line whose crossings are counted.

    Attributes:
        start_xy: x and y of the first end.
        end_xy: x and y of the other end. If all numbers are from 0 to 1, they are shares of the frame's width
            and height; otherwise they are pixels of the first frame.
        name: Name in the results; empty for `line 1` and so on.

    Example:
        >>> gate = Line(start_xy=(0.5, 0), end_xy=(0.5, 1), name="gate")
        >>> gate.points_in((480, 640))
        ((320.0, 0), (320.0, 480))
    """

    start_xy: Point
    end_xy: Point
    name: str = ""

    def __post_init__(self) -> None:
        _check_numbers(f"line {self.name!r}", (*self.start_xy, *self.end_xy))
        if self.start_xy == self.end_xy:
            msg = f"the two ends of line {self.name!r} must differ, got {_text(self.start_xy)} for both"
            raise ConfigError(msg)

    def points_in(self, size_hw: tuple[int, int]) -> tuple[Point, Point]:
        """Give both ends in pixels of a frame of this height and width."""
        start, end = _pixels((self.start_xy, self.end_xy), size_hw)
        return start, end


@dataclass(frozen=True, slots=True, kw_only=True)
class Zone:
    """A region in which objects are counted.

    Attributes:
        corners_xy: Three or more corners in their order around the zone, as shares of the frame or as pixels;
            see `Line`.
        name: Name in the results; empty for `zone 1` and so on.

    Example:
        >>> bin = Zone(corners_xy=((0, 0), (0.5, 0), (0.5, 1), (0, 1)), name="bin")
        >>> bin.points_in((480, 640))
        ((0, 0), (320.0, 0), (320.0, 480), (0, 480))
    """

    corners_xy: tuple[Point, ...]
    name: str = ""

    def __post_init__(self) -> None:
        if len(self.corners_xy) < 3:
            msg = f"zone {self.name!r} must have at least 3 corners, got {len(self.corners_xy)}"
            raise ConfigError(msg)
        _check_numbers(f"zone {self.name!r}", tuple(value for corner in self.corners_xy for value in corner))
        crossing = crossing_edges(self.corners_xy)
        if crossing is not None:
            msg = (
                f"the edges of zone {self.name!r} must not cross each other, got "
                f"{' and '.join(_edge_text(self.corners_xy, start) for start in crossing)}; "
                "give the corners in their order around the zone"
            )
            raise ConfigError(msg)
        if not area(self.corners_xy):
            corners = " ".join(_text(corner) for corner in self.corners_xy)
            msg = f"zone {self.name!r} must enclose an area, got corners on one line: {corners}"
            raise ConfigError(msg)

    def points_in(self, size_hw: tuple[int, int]) -> tuple[Point, ...]:
        """Give the corners in pixels of a frame of this height and width."""
        return _pixels(self.corners_xy, size_hw)


def parse_line(text: str) -> Line:
    """Parse a line such as `gate:0.5,0,0.5,1` or `320,0,320,480`.

    Raises:
        ConfigError: The text is not an optional name and four numbers.

    Example:
        >>> parse_line("gate:0.5,0,0.5,1")
        Line(start_xy=(0.5, 0.0), end_xy=(0.5, 1.0), name='gate')
    """
    name, points = _parse(text, "line", LINE_FORM)
    if len(points) != 2:
        msg = f"a line must be {LINE_FORM}, that is 4 numbers, got {2 * len(points)} in {text!r}"
        raise ConfigError(msg)
    return Line(start_xy=points[0], end_xy=points[1], name=name)


def parse_zone(text: str) -> Zone:
    """Parse a zone such as `bin:0,0,0.5,0,0.5,1,0,1`.

    Raises:
        ConfigError: The text is not an optional name and three or more pairs of numbers.

    Example:
        >>> parse_zone("bin:0,0,0.5,0,0.5,1").corners_xy
        ((0.0, 0.0), (0.5, 0.0), (0.5, 1.0))
    """
    name, points = _parse(text, "zone", ZONE_FORM)
    if len(points) < 3:
        msg = f"a zone must be {ZONE_FORM}, that is 6 numbers or more, got {2 * len(points)} in {text!r}"
        raise ConfigError(msg)
    return Zone(corners_xy=points, name=name)


def scaled(point: Point, scale_xy: Point) -> Point:
    """Stretch a position by a factor in x and one in y."""
    return point[0] * scale_xy[0], point[1] * scale_xy[1]


def remark_if_outside(what: str, points: tuple[Point, ...], size_hw: tuple[int, int]) -> str | None:
    """Explain that a line or zone counts nothing because no object's centre can get there; None if one can.

    Args:
        what: Kind and name of the line or zone.
        points: Ends or corners, in pixels of the frame.
        size_hw: Height and width of the frame.
    """
    left = cut_to_frame(points, size_hw, EDGE_PX)
    if left and (area(left) if len(points) > 2 else math.dist(*_bounds(left))) >= 1:
        return None
    (x1, y1), (x2, y2) = _bounds(points)
    return (
        f"{what} counts nothing, because it is outside the frame, along the frame's edge "
        "or smaller than a pixel: "
        f"it reaches from {x1:g} to {x2:g} in x and from {y1:g} to {y2:g} in y, "
        f"and the frame is {size_hw[1]} pixels wide and {size_hw[0]} high; "
        "move it to where the centres of objects pass"
    )


def _bounds(points: tuple[Point, ...]) -> tuple[Point, Point]:
    columns, rows = zip(*points, strict=True)
    return (min(columns), min(rows)), (max(columns), max(rows))


def _parse(text: str, kind: str, form: str) -> tuple[str, tuple[Point, ...]]:
    head, colon, tail = text.rpartition(":")
    name = head.strip()
    if colon and not name:
        msg = f"the name before the colon must not be empty, got {text!r}; leave out the colon for no name"
        raise ConfigError(msg)
    numbers = [_number(word, text, kind, form) for word in tail.split(",")]
    if len(numbers) % 2:
        msg = f"a {kind} must be {form}, pairs of x and y, got {len(numbers)} numbers in {text!r}"
        raise ConfigError(msg)
    return name, tuple(zip(numbers[::2], numbers[1::2], strict=True))


def _number(word: str, text: str, kind: str, form: str) -> float:
    try:
        return float(word)
    except ValueError:
        msg = f"a {kind} must be {form}, got {word.strip()!r} where a number belongs in {text!r}"
        raise ConfigError(msg) from None


def _check_numbers(what: str, numbers: tuple[float, ...]) -> None:
    for number in numbers:
        if not math.isfinite(number) or number < 0:
            msg = f"coordinates of {what} must be 0 or more, got {number}"
            raise ConfigError(msg)
        if number > MAX_COORDINATE:
            msg = f"coordinates of {what} must be at most {MAX_COORDINATE}, got {number:g}"
            raise ConfigError(msg)
    # Read as pixels, 0.5,0,0.5,480 would lie within the first column of pixels, which nobody means.
    if max(numbers) > 1 and any(0 < number < 1 for number in numbers):
        shown = ", ".join(f"{number:g}" for number in numbers)
        msg = f"coordinates of {what} must be all within 0 and 1 (shares) or all pixels, got {shown}"
        raise ConfigError(msg)


def _pixels(points: tuple[Point, ...], size_hw: tuple[int, int]) -> tuple[Point, ...]:
    if max(value for point in points for value in point) > 1:
        return points
    height, width = size_hw
    return tuple((x * width, y * height) for x, y in points)


def _edge_text(corners: tuple[Point, ...], start: int) -> str:
    return f"{_text(corners[start])} to {_text(corners[(start + 1) % len(corners)])}"


def _text(point: Point) -> str:
    return f"({point[0]:g}, {point[1]:g})"
