"""Detection in a source's frames from a program: `for frame, detections in edgeseg.stream(model, source)`."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

from edgeseg.runtime.input_sizes import ScaleRemark
from edgeseg.vision.frames import Skipped

from .controls import Controls
from .pipeline import Pipeline
from .postprocessing import PostProcessor
from .sources.opening import open_frame_reader
from .tracking import TrackConfig

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from types import TracebackType

    from edgeseg.runtime.model import Model
    from edgeseg.vision.detections import Detections
    from edgeseg.vision.frames import Frame

    from .frame_reader import FrameReader
    from .results import FrameResult


def stream(
    model: Model,
    source: str | int | Sequence[str | int],
    *,
    score_threshold: float = 0.5,
    track: TrackConfig | bool = False,
    realtime: bool = False,
    bit_depth: int | None = None,
    max_frames: int | None = None,
    note: Callable[[str], None] = lambda sentence: None,
) -> Stream:
    """Detect in every frame of a source while the next ones are read.

    Args:
        model: From `edgeseg.load`. The stream does not close it.
        source: Image, folder, glob pattern, video, `rtsp://`, `http://` or `csi://` stream, GStreamer
            pipeline, or the number of a camera; or a sequence of these, which are read at the same time.
        score_threshold: Keep only instances that score above it; the stream's `controls` can change it.
        track: Give each object the same track id in every frame; a `TrackConfig` also counts objects.
        realtime: Play videos at their own speed, as a camera would, and drop frames that come too fast.
        bit_depth: Number of bits used of each sample, in images with more than 8; None finds it for each
            image.
        max_frames: Stop after this many frames; None for all.
        note: Called, from another thread, with a sentence about each input that was skipped, assumption made
            in reading an image, source lost or found again, and line or zone that counts nothing.

    Returns:
        A stream to iterate over once, or to `run`. A `with` block closes it at its end.

    Raises:
        InputError: A source cannot be opened.
        ConfigError: A setting cannot work.
        DependencyError: A package that this kind of source, or tracking, needs is missing.

    Example:
        >>> import edgeseg
        >>> model = edgeseg.load("edgeseg-model")
        >>> for frame, detections in edgeseg.stream(model, "parts.png", score_threshold=0.65):
        ...     print(frame.name, frame.image.shape, detections.names)
        parts.png (64, 96, 3) ['bolt', 'nut']
    """
    sources = (source,) if isinstance(source, str | int) else tuple(source)
    frame_reader = open_frame_reader(sources, realtime=realtime, bit_depth=bit_depth, note=note)
    try:
        track_config = (TrackConfig() if track else None) if isinstance(track, bool) else track
        post_processor = PostProcessor(frame_reader.rates_fps, track=track_config, note=note)
        return Stream(model, frame_reader, Controls(score_threshold), post_processor, max_frames, note)
    except BaseException:
        frame_reader.close()
        raise


class Stream:
    """Frames and their detections, in order; a live source always gives its newest frame.

    Attributes:
        controls: Changes the threshold, or ends the stream, from any thread.

    Example:
        >>> import edgeseg
        >>> model = edgeseg.load("edgeseg-model")
        >>> with edgeseg.stream(model, "belt.avi", max_frames=3) as stream:
        ...     stream.run(lambda frame, detections: print(frame.time_s, len(detections)))
        0.0 3
        0.1 3
        0.2 3
        3
    """

    def __init__(
        self,
        model: Model,
        frame_reader: FrameReader,
        controls: Controls,
        post_processor: PostProcessor,
        max_frames: int | None,
        note: Callable[[str], None],
    ) -> None:
        self.controls = controls
        self._frame_reader = frame_reader
        self._note = note
        self._sizes_hw = model.sizes_hw
        self._pipeline = Pipeline(model, frame_reader, controls, post_processor, max_frames)

    def __enter__(self) -> Stream:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __iter__(self) -> Iterator[tuple[Frame, Detections]]:
        """Iterate over frames and their detections.

        Raises:
            InputError: The source has failed as a whole.
            ArtifactError: The model has failed.
        """
        for result in self.results():
            yield result.frame, result.detections

    @property
    def dropped(self) -> Mapping[str, int]:
        """Number of frames, by live source, that a newer frame replaced before they were processed."""
        return self._frame_reader.dropped

    def results(self) -> Iterator[FrameResult]:
        """Iterate over frames with all that is known of each: stage times, age, and what tracking counts.

        Raises:
            InputError: The source has failed as a whole.
            ArtifactError: The model has failed.
        """
        remark = ScaleRemark(self._sizes_hw, self._note)
        with closing(self):
            self._pipeline.start()
            for item in self._pipeline.iterate():
                if isinstance(item, Skipped):
                    self._note(f"skipped {item.name}: {item.reason}")
                else:
                    remark(item.frame)
                    yield item

    def run(self, callback: Callable[[Frame, Detections], None]) -> int:
        """Call a function with each frame and its detections, until the source or the `controls` end it.

        Returns:
            Number of frames.
        """
        count = 0
        for frame, detections in self:
            callback(frame, detections)
            count += 1
        return count

    def close(self) -> None:
        """End the threads and release the source. Closing twice does no harm."""
        self._pipeline.close()
        self._frame_reader.close()
