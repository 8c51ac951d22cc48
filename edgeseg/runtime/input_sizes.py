"""Which input size of a bundle a frame is computed at, and whether another would show it larger."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .letterbox import Letterbox

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .frames import Frame

# Below this share of torchvision's scale a user is told: at 0.6 half of the small objects were missed.
LOW_SHARE = 0.85
# A size that fewer frames than this share need is not worth an export of its own.
WORTH_A_SIZE = 0.1


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
    shortest, longest = resize_limits(sizes_hw)
    torchvision = min(shortest / min(frame_size_hw), longest / max(frame_size_hw))
    return _scale(frame_size_hw, sizes_hw[best_input(frame_size_hw, sizes_hw)]) / torchvision


def advised_sizes(
    frame_sizes_hw: Sequence[tuple[int, int]], sizes_hw: Sequence[tuple[int, int]]
) -> tuple[tuple[int, int], ...]:
    """Name further input sizes that many of the frames would be computed larger at, or with less padding.

    Args:
        frame_sizes_hw: Height and width of frames like those that the model will see.
        sizes_hw: Input sizes of the bundle.

    Returns:
        Among the landscape, upright and square size between torchvision's limits, those missing.

    Example:
        >>> advised_sizes([(480, 640), (640, 480)], [(480, 640)])
        ((640, 480),)
    """
    short, long = resize_limits(sizes_hw)
    known = [*sizes_hw, *(size for size in ((short, long), (long, short), (short, short)))]
    known = list(dict.fromkeys(known))
    wanted = [known[best_input(frame, known)] for frame in frame_sizes_hw]
    enough = WORTH_A_SIZE * len(wanted)
    return tuple(size for size in known if size not in sizes_hw and wanted.count(size) >= enough > 0)


def size_options(sizes_hw: Sequence[tuple[int, int]]) -> str:
    """Write sizes as the options of `edgeseg export`."""
    return " ".join(f"--size {height} {width}" for height, width in sizes_hw)


def size_advice(
    frame_sizes_hw: Sequence[tuple[int, int]], sizes_hw: Sequence[tuple[int, int]], source: str
) -> str:
    """Say which further sizes a set of images asks for; empty where it asks for none."""
    advised = advised_sizes(frame_sizes_hw, sizes_hw)
    if not advised:
        return ""
    asked = [*sizes_hw, *advised]
    better = sum(best_input(frame, asked) >= len(sizes_hw) for frame in frame_sizes_hw)
    smallest = min(scale_share(frame, sizes_hw) for frame in frame_sizes_hw)
    effect = f"at down to {smallest:.2f} of torchvision's scale" if smallest < 1 else "with much padding"
    return (
        f"{better} of {len(frame_sizes_hw)} images in {source} are computed {effect}; export with "
        f"`{size_options(asked)}` to compute each at a size that fits its shape"
    )


class ScaleRemark:
    """Tells once for each source that its frames are computed much smaller than torchvision would.

    Args:
        sizes_hw: Input sizes of the model.
        note: Called with the sentence.
    """

    def __init__(self, sizes_hw: Sequence[tuple[int, int]], note: Callable[[str], None]) -> None:
        self._sizes_hw, self._note = sizes_hw, note
        self._told: set[int] = set()

    def __call__(self, frame: Frame) -> None:
        """Look at a frame's shape."""
        height, width = frame.image.shape[:2]
        if frame.source in self._told or (share := scale_share((height, width), self._sizes_hw)) >= LOW_SHARE:
            return
        self._told.add(frame.source)
        asked = [*self._sizes_hw, *advised_sizes([(height, width)], self._sizes_hw)]
        self._note(
            f"{frame.name}, {height}x{width} (height x width), is computed at {share:.2f} of torchvision's "
            f"scale, so small objects may be missed; export with `{size_options(asked)}`"
        )


def _scale(frame_size_hw: tuple[int, int], input_size_hw: tuple[int, int]) -> float:
    return Letterbox(frame_size_hw=frame_size_hw, input_size_hw=input_size_hw).scale
