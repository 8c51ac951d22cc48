"""Report the progress of TensorRT's builder and stop it, through the callback that it makes at each step."""

from __future__ import annotations

import signal
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType, TracebackType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interruption:
    """Holds Ctrl-C and SIGTERM back while the builder works: an exception inside a callback would crash it.

    In a thread other than the main one, which no signal reaches, it holds nothing back.
    """

    def __init__(self) -> None:
        self._requested = threading.Event()
        self._previous_handlers: dict[int, Any] = {}

    def __enter__(self) -> Interruption:
        if threading.current_thread() is threading.main_thread():
            self._previous_handlers = {number: signal.signal(number, self._request) for number in SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._previous_handlers.items():
            signal.signal(number, handler)

    @property
    def is_requested(self) -> bool:
        """Whether the builder is to stop."""
        return self._requested.is_set()

    def raise_if_requested(self) -> None:
        """Do now what the signal wanted.

        Raises:
            KeyboardInterrupt: There was one.
        """
        if self.is_requested:
            raise KeyboardInterrupt

    def _request(self, number: int, frame: FrameType | None) -> None:
        self._requested.set()


def progress_monitor(module: Any, progress: Callable[[str], None], interruption: Interruption) -> Any:
    """Make a progress monitor for a builder's configuration.

    Args:
        module: `tensorrt` or `tensorrt_rtx_bindings`.
        progress: Called with the outermost phase and how much of it is done.
        interruption: Stops the builder at its next step.
    """
    if TYPE_CHECKING:
        from tensorrt import IProgressMonitor as Base
    else:
        Base = module.IProgressMonitor  # noqa: N806 - a class

    class Monitor(Base):
        def __init__(self) -> None:
            Base.__init__(self)
            self._steps: dict[str, int] = {}

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            self._steps[phase_name] = num_steps
            progress(phase_name)

        def step_complete(self, phase_name: str, step: int) -> bool:
            steps = self._steps.get(phase_name, 0)
            if steps > 1:
                progress(f"{phase_name}: {step + 1} of {steps}")
            return not interruption.is_requested

        def phase_finish(self, phase_name: str) -> None:
            self._steps.pop(phase_name, None)

    return Monitor()
