"""Which input size of a bundle a frame is computed at, and whether another would show it larger."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING

from edgeseg.settings import SIZE_MULTIPLE
from edgeseg.vision.letterbox import Letterbox

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edgeseg.vision.frames import Frame

# Below this share of torchvision's scale a user is told: at 0.6 half of the small objects were missed.
MIN_SCALE_SHARE = 0.85
# A size that fewer frames than this share need is not worth an export of its own, nor are many sizes.
MIN_FRAME_SHARE = 0.1
MAX_ADVISED_SIZES = 4
# Sides are whole pixels.
SAME_SCALE = 0.99


def best_input(frame_size_hw: tuple[int, int], sizes_hw: Sequence[tuple[int, int]]) -> int:
    """Choose the input size for a frame: the one that shows it largest, and of equals the smallest.

    Args:
        frame_size_hw: Height and width of the frame, in pixels.
        sizes_hw: Input sizes to choose from.

    Returns:
        Index into `sizes_hw`; the first of equals.

    Example:
        >>> best_input((640, 480), [(800, 1344), (1344, 800)])
        1
    """

    def rank(index: int) -> tuple[int, int]:
        height, width = sizes_hw[index]
        # A difference of less than a pixel of the input is none.
        return -round(_scale(frame_size_hw, (height, width)) * max(frame_size_hw)), height * width

    return min(range(len(sizes_hw)), key=rank)


def resize_limits(sizes_hw: Sequence[tuple[int, int]]) -> tuple[int, int]:
    """Give torchvision's `min_size` and `max_size` that stand for the input sizes of a bundle.

    Example:
        >>> resize_limits([(800, 1344), (1344, 800)])
        (800, 1344)
    """
    return min(map(min, sizes_hw)), max(map(max, sizes_hw))


def scale_share(frame_size_hw: tuple[int, int], sizes_hw: Sequence[tuple[int, int]]) -> float:
    """Compare the scale that a frame is computed at with torchvision's, which knows no orientation.

    Args:
        frame_size_hw: Height and width of the frame, in pixels.
        sizes_hw: Input sizes of the bundle.

    Returns:
        1 where they are the same; less where the input leaves more of itself empty.

    Source:
        torchvision 0.26 `models.detection.transform._resize_image_and_masks`.

    Example:
        >>> scale_share((640, 480), [(480, 640)])
        0.75
    """
    torchvision = _torchvision_scale(frame_size_hw, resize_limits(sizes_hw))
    return _scale(frame_size_hw, sizes_hw[best_input(frame_size_hw, sizes_hw)]) / torchvision


def advised_sizes(
    frame_sizes_hw: Sequence[tuple[int, int]], sizes_hw: Sequence[tuple[int, int]]
) -> tuple[tuple[int, int], ...]:
    """Name the input sizes that compute frames as torchvision would: at its scale and with no more padding.

    Args:
        frame_sizes_hw: Height and width of frames like those that the model will see.
        sizes_hw: Input sizes of the bundle.

    Returns:
        Those of the bundle that are of use to a frame, then those that are missing to many of the frames, the
        most frequent first; the bundle's own where none is missing.

    Example:
        >>> advised_sizes([(480, 640), (640, 480)], [(480, 640)])
        ((480, 640), (640, 480))
    """
    limits = resize_limits(sizes_hw)
    needed = Counter(_padded(frame, limits) for frame in frame_sizes_hw)
    missing = [
        size
        for size, count in needed.most_common(MAX_ADVISED_SIZES)
        if size not in sizes_hw and count >= MIN_FRAME_SHARE * len(frame_sizes_hw)
    ]
    known = [*sizes_hw, *missing]
    used = {known[best_input(frame, known)] for frame in frame_sizes_hw}
    return tuple(size for size in known if size in used) if missing else tuple(sizes_hw)


def _padded(frame_size_hw: tuple[int, int], limits: tuple[int, int]) -> tuple[int, int]:
    """Resize and pad a frame as torchvision does, and say how large it is then."""
    scale = _torchvision_scale(frame_size_hw, limits)
    height, width = (
        math.ceil(max(1, round(side * scale)) / SIZE_MULTIPLE) * SIZE_MULTIPLE for side in frame_size_hw
    )
    return height, width


def _torchvision_scale(frame_size_hw: tuple[int, int], limits: tuple[int, int]) -> float:
    shortest, longest = limits
    return min(shortest / min(frame_size_hw), longest / max(frame_size_hw))


def size_options(sizes_hw: Sequence[tuple[int, int]]) -> str:
    """Write sizes as the options of `edgeseg export`."""
    return " ".join(f"--size {height} {width}" for height, width in sizes_hw)


def size_advice(
    frame_sizes_hw: Sequence[tuple[int, int]], sizes_hw: Sequence[tuple[int, int]], source: str
) -> str:
    """Say which sizes a set of images asks for; empty where the bundle's are those."""
    advised = advised_sizes(frame_sizes_hw, sizes_hw)
    if advised == tuple(sizes_hw):
        return ""
    known = [*sizes_hw, *advised]
    better = sum(best_input(frame, known) >= len(sizes_hw) for frame in frame_sizes_hw)
    smallest = min(scale_share(frame, sizes_hw) for frame in frame_sizes_hw)
    shrunk = f" and down to {smallest:.2f} of its scale" if smallest < SAME_SCALE else ""
    return (
        f"{better} of {len(frame_sizes_hw)} images in {source} are computed with more padding than in "
        f"torchvision{shrunk}, which costs accuracy; export with `{size_options(advised)}` to compute them "
        "as torchvision does"
    )


class ScaleRemark:
    """Tells once for each source that its frames are computed much smaller than torchvision would.

    Args:
        sizes_hw: Input sizes of the model.
        note: Called with the sentence.
    """

    def __init__(self, sizes_hw: Sequence[tuple[int, int]], note: Callable[[str], None]) -> None:
        self._sizes_hw, self._note = sizes_hw, note
        self._noted_sources: set[int] = set()

    def __call__(self, frame: Frame) -> None:
        """Look at a frame's shape."""
        height, width = frame.image.shape[:2]
        if (
            frame.source in self._noted_sources
            or (share := scale_share((height, width), self._sizes_hw)) >= MIN_SCALE_SHARE
        ):
            return
        self._noted_sources.add(frame.source)
        sizes = dict.fromkeys([*self._sizes_hw, *advised_sizes([(height, width)], self._sizes_hw)])
        self._note(
            f"{frame.name}, {height}x{width} (height x width), is computed at {share:.2f} of torchvision's "
            f"scale, so small objects may be missed; export with `{size_options([*sizes])}`"
        )


def _scale(frame_size_hw: tuple[int, int], input_size_hw: tuple[int, int]) -> float:
    return Letterbox(frame_size_hw=frame_size_hw, input_size_hw=input_size_hw).scale
