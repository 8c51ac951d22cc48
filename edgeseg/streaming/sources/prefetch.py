"""Files read ahead in a thread, so that decoding and computing overlap: nothing left out, in order."""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from itertools import zip_longest
from threading import Condition, Thread
from typing import TYPE_CHECKING

import cv2

from edgeseg.errors import EdgeSegError, InputError
from edgeseg.streaming.shutdown import close_at_exit, forget_at_exit
from edgeseg.vision.frames import Frame, Skipped, SourceKind

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from edgeseg.vision.frames import Source

MAX_PREFETCHED = 8
# Photographs of 50 megapixels take 150 MB each; two are read ahead whatever they take.
MAX_PREFETCHED_BYTES = 256 * 1024 * 1024
MIN_PREFETCHED = 2
CLOSE_S = 2.0


class PrefetchReader:
    """The `FrameReader` of files: of several one frame each in turn.

    Args:
        sources: Open, all of one kind; closed with this.
        names: Of them, no two alike.
    """

    reconnects = 0

    def __init__(self, sources: Sequence[Source], names: Sequence[str]) -> None:
        self.kind = sources[0].kind
        self.names = tuple(names)
        self.rates_fps = tuple(source.fps for source in sources)
        totals = [source.total for source in sources if source.total is not None]
        self.total = sum(totals) if len(totals) == len(sources) else None
        self._sources = sources
        self._changed = Condition()
        self._prefetched: deque[Frame | Skipped] = deque()
        self._bytes = 0
        self._complete = self._stopped = False
        self._error: Exception | None = None
        self._thread = Thread(target=self._read, name="edgeseg-read-ahead", daemon=True)
        close_at_exit(self)
        self._thread.start()

    @property
    def dropped(self) -> Mapping[str, int]:
        """See `FrameReader.dropped`; of files none is."""
        return {}

    def take(self, count: int) -> list[Frame | Skipped]:
        """See `FrameReader.take`."""
        taken: list[Frame | Skipped] = []
        left = count
        with self._changed:
            while left and not self._stopped:
                self._changed.wait_for(lambda: self._prefetched or self._complete or self._stopped)
                if not self._prefetched:
                    break
                item = self._prefetched.popleft()
                left -= isinstance(item, Frame)
                self._bytes -= _size(item)
                taken.append(item)
                self._changed.notify_all()
            if self._stopped:
                return []
            if self._error is not None and not taken:
                raise self._error
        return taken

    def stop(self) -> None:
        """See `FrameReader.stop`."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def close(self) -> None:
        """See `FrameReader.close`."""
        self.stop()
        self._thread.join(CLOSE_S)

    def _read(self) -> None:
        try:
            for item in self._in_turn():
                if not self._add(item):
                    break
        except EdgeSegError as exc:
            self._error = exc
        except (OSError, RuntimeError, ValueError, MemoryError, cv2.error) as exc:
            self._error = InputError(f"{', '.join(self.names)} cannot be read further: {exc}")
        except Exception as exc:  # noqa: BLE001 - a fault of the program's own, raised by `take`
            self._error = exc
        finally:
            for source in self._sources:
                source.close()
            with self._changed:
                self._complete = True
                self._changed.notify_all()
            forget_at_exit(self)

    def _in_turn(self) -> Iterator[Frame | Skipped]:
        number = 0
        for items in zip_longest(*self._sources):
            for index, item in enumerate(items):
                if isinstance(item, Frame):
                    yield self._with_source(index, item, number)
                    number += 1
                elif item is not None:
                    yield item

    def _with_source(self, index: int, frame: Frame, number: int) -> Frame:
        """Number frames of several videos among each other; images, and one video, have their own numbers."""
        if len(self._sources) == 1:
            return frame
        if self.kind is SourceKind.IMAGES:
            return replace(frame, source=index)
        return replace(frame, source=index, image_id=number, name=self.names[index])

    def _add(self, item: Frame | Skipped) -> bool:
        with self._changed:
            self._changed.wait_for(lambda: self._stopped or self._has_room())
            if self._stopped:
                return False
            self._prefetched.append(item)
            self._bytes += _size(item)
            self._changed.notify_all()
        return True

    def _has_room(self) -> bool:
        prefetched = len(self._prefetched)
        return prefetched < MIN_PREFETCHED or (
            prefetched < MAX_PREFETCHED and self._bytes < MAX_PREFETCHED_BYTES
        )


def _size(item: Frame | Skipped) -> int:
    return item.image.nbytes if isinstance(item, Frame) else 0
