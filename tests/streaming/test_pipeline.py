"""The stages of a run at the same time: order, freshness, ends and errors."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import numpy as np
import pytest

from edgeseg.errors import ArtifactError, InputError
from edgeseg.runtime.contract import Backend
from edgeseg.runtime.model import Model
from edgeseg.streaming.controls import Controls
from edgeseg.streaming.pipeline import Pipeline
from edgeseg.streaming.postprocessing import PostProcessor
from edgeseg.streaming.results import FrameResult
from edgeseg.streaming.stage_queue import QueueClosed
from edgeseg.vision.frames import Skipped, SourceKind
from tests.runtime.fake_bundle import make_spec

from .found_raw import raw_detections
from .frame_readers import ListIntake, frames

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from edgeseg.runtime.contract import RawDetections
    from edgeseg.spec import ModelSpec
    from edgeseg.vision.frames import Frame

LONG_S = 60.0


class StandIn(Backend):
    """A backend that finds one thing, as wide as its image is bright, and takes its time."""

    description = "stand-in"

    def __init__(self, spec: ModelSpec, seconds: float = 0.0, fails_at: int | None = None) -> None:
        self.spec, self.seconds, self.fails_at = spec, seconds, fails_at
        self.calls, self.closed = 0, False
        self.thresholds: list[float] = []

    def __call__(self, images: NDArray[np.uint8], score_threshold: float) -> RawDetections:
        self.calls += 1
        self.thresholds.append(score_threshold)
        if self.calls == self.fails_at:
            msg = "the graph failed"
            raise ArtifactError(msg)
        time.sleep(self.seconds)
        return raw_detections(self.spec, images[:, 0, 0, 0])

    def close(self) -> None:
        self.closed = True


def make_pipeline(
    frame_reader: ListIntake,
    *,
    batch: int = 1,
    seconds: float = 0.0,
    fails_at: int | None = None,
    max_frames: int | None = None,
    controls: Controls | None = None,
) -> tuple[Pipeline, StandIn]:
    spec = make_spec(batch=batch)
    backend = StandIn(spec, seconds, fails_at)
    pipeline = Pipeline(
        Model(spec, backend), frame_reader, controls or Controls(0.5), PostProcessor(), max_frames
    )
    pipeline.start()
    return pipeline, backend


def everything(pipeline: Pipeline) -> list[FrameResult | Skipped | Exception]:
    """Take what comes until the end; the error that ended it, if any, comes last."""
    found: list[FrameResult | Skipped | Exception] = []
    while True:
        try:
            item = pipeline.poll(LONG_S)
        except QueueClosed:
            pipeline.close()
            return found
        except (ArtifactError, InputError, RuntimeError) as exc:
            pipeline.close()
            return [*found, exc]
        assert item is not None
        found.append(item)


def results_of(items: Iterable[FrameResult | Skipped | Exception]) -> list[FrameResult]:
    """Items that must all be results."""
    found = list(items)
    assert all(isinstance(item, FrameResult) for item in found)
    return [item for item in found if isinstance(item, FrameResult)]


def stages() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("edgeseg-")]


@pytest.mark.parametrize("batch", [1, 4])
def test_every_frame_of_a_file_in_order_with_its_own_result(batch: int) -> None:
    pipeline, backend = make_pipeline(ListIntake(frames(10)), batch=batch)
    results = results_of(everything(pipeline))

    assert [result.frame.image_id for result in results] == list(range(10))
    assert [round(float(result.detections.boxes_xyxy[0, 2])) for result in results] == [
        10 + index for index in range(10)
    ]
    assert backend.calls == -(-10 // batch)
    assert all(set(result.stages_ms) == {"read", "prepare", "infer", "finish"} for result in results)
    assert results[0].age_ms is None
    assert stages() == []


def test_no_more_frames_than_asked_for_are_taken() -> None:
    frame_reader = ListIntake(frames(10))
    pipeline, _ = make_pipeline(frame_reader, batch=4, max_frames=6)

    assert len(everything(pipeline)) == 6
    assert frame_reader.asked == [4, 2]


def test_what_cannot_be_read_is_handed_through() -> None:
    items: list[Frame | Skipped] = [frames(1)[0], Skipped(name="b.png", reason="broken"), frames(1)[0]]
    pipeline, _ = make_pipeline(ListIntake(items), batch=2)
    found = everything(pipeline)

    assert len(found) == 3
    assert [item.name for item in found if isinstance(item, Skipped)] == ["b.png"]


def test_stages_overlap() -> None:
    """Two batches are in hand while a third is computed: the network never waits for the others."""
    taken = threading.Event()

    class Slow(ListIntake):
        def take(self, count: int) -> list[Frame | Skipped]:
            items = super().take(count)
            if len(self.asked) == 2:
                taken.set()
            return items

    class Waiting(StandIn):
        def __call__(self, images: NDArray[np.uint8], score_threshold: float) -> RawDetections:
            # Were the stages in one thread, the second frame would never be taken meanwhile.
            assert taken.wait(LONG_S)
            return super().__call__(images, score_threshold)

    spec = make_spec()
    pipeline = Pipeline(Model(spec, Waiting(spec)), Slow(frames(3)), Controls(), PostProcessor())
    pipeline.start()
    assert len(everything(pipeline)) == 3


def test_an_error_comes_after_the_results_before_it() -> None:
    found = everything(make_pipeline(ListIntake(frames(6)), fails_at=4)[0])

    assert [result.frame.image_id for result in results_of(found[:-1])] == [0, 1, 2]
    assert str(found[-1]) == "the graph failed"
    assert stages() == []


def test_an_intake_that_fails() -> None:
    found = everything(make_pipeline(ListIntake([*frames(2), InputError("camera is gone")]))[0])

    assert len(found) == 3
    assert str(found[-1]) == "camera is gone"


def test_a_fault_of_the_programs_own_is_raised_as_it_is() -> None:
    found = everything(make_pipeline(ListIntake([*frames(1), RuntimeError("bug")]))[0])

    assert isinstance(found[-1], RuntimeError)
    assert stages() == []


def test_close_in_the_middle_ends_all_threads_and_waits_for_the_network() -> None:
    pipeline, backend = make_pipeline(ListIntake(frames(200)), seconds=0.01)
    assert pipeline.poll(LONG_S) is not None
    pipeline.close()
    calls = backend.calls

    assert stages() == []
    assert calls < 200
    pipeline.close()


def test_a_wish_to_stop_ends_after_the_frame_in_hand() -> None:
    controls = Controls()
    frame_reader = ListIntake(None, SourceKind.LIVE, 0.001)
    pipeline, _ = make_pipeline(frame_reader, controls=controls)
    assert pipeline.poll(LONG_S) is not None
    controls.stopping.set()

    assert len(everything(pipeline)) < 10


def test_closing_before_the_start() -> None:
    spec = make_spec()
    Pipeline(Model(spec, StandIn(spec)), ListIntake([]), Controls(), PostProcessor()).close()


def test_a_live_frame_is_taken_when_the_network_is_about_to_be_free() -> None:
    """Each is younger than the inference it waited for would make it, had it been taken when that began."""
    seconds = 0.1
    frame_reader = ListIntake(None, SourceKind.LIVE)
    pipeline, _ = make_pipeline(frame_reader, seconds=seconds, max_frames=20)
    results = results_of(everything(pipeline))

    ages = [result.age_ms for result in results if result.age_ms is not None]
    assert len(ages) == len(results) == 20
    assert min(ages) >= 1000 * seconds
    # Medians, as a machine that is busy elsewhere may hold up any single one.
    inferences = [result.stages_ms["infer"] for result in results]
    assert np.median(ages) < 2 * np.median(inferences)


def test_the_first_live_frame_does_not_wait_for_the_network_to_warm_up() -> None:
    backends = {}
    for kind in (SourceKind.LIVE, SourceKind.VIDEO):
        frame_reader = ListIntake(frames(1), kind)
        pipeline, backends[kind] = make_pipeline(frame_reader)
        assert len(everything(pipeline)) == 1

    assert (backends[SourceKind.LIVE].calls, backends[SourceKind.VIDEO].calls) == (2, 1)


def test_the_threshold_holds_from_the_next_frame_on() -> None:
    controls = Controls(0.2)
    pipeline, backend = make_pipeline(ListIntake(frames(50)), controls=controls)
    first = pipeline.poll(LONG_S)
    assert isinstance(first, FrameResult)
    controls.score_threshold = 0.95
    rest = results_of(everything(pipeline))

    assert len(first.detections) == 1
    assert len(rest[-1].detections) == 0
    assert {backend.thresholds[0], backend.thresholds[-1]} == {0.2, 0.95}
