"""What TensorRT for RTX compiles when an engine first runs on a GPU, kept for the next time."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from edgeseg.bundle.manifest import MAX_FILE_BYTES
from edgeseg.errors import EdgeSegError
from edgeseg.files.reading import read_failure, read_regular
from edgeseg.files.records import write_atomically

if TYPE_CHECKING:
    from pathlib import Path

    import tensorrt_rtx_bindings as rtx

    from .library import Library

logger = logging.getLogger(__name__)


class RuntimeCache:
    """The file of one engine; nothing about it is ever fatal, as without it everything is compiled again.

    Args:
        library: TensorRT for RTX.
        config: `IRuntimeConfig` of the engine, which is given the cache.
        path: File; made when there is something to keep.
    """

    def __init__(self, library: Library, config: rtx.IRuntimeConfig, path: Path) -> None:
        self._path = path
        self._cache = config.create_runtime_cache()
        self._stored = b""
        self._read(library)
        if not config.set_runtime_cache(self._cache):
            logger.warning("%s refuses a runtime cache; it will compile again at every start", library.title)

    def save(self) -> None:
        """Write the cache, unless the file has it already."""
        memory = self._cache.serialize()
        data = bytes(memory) if memory is not None else b""
        if not data or data == self._stored:
            return
        try:
            write_atomically(self._path, data)
        except EdgeSegError as exc:
            logger.warning("%s; TensorRT for RTX will compile again at the next start", exc)
            return
        self._stored = data

    def _read(self, library: Library) -> None:
        try:
            data = read_regular(self._path, max_bytes=MAX_FILE_BYTES)
        except FileNotFoundError:
            return
        except OSError as exc:
            logger.warning("%s", read_failure(self._path, exc))
            return
        if self._cache.deserialize(data):
            self._stored = data
            return
        # Another GPU, driver or release: it checks that by itself.
        logger.info("%s does not fit this machine's %s and is made anew", self._path, library.title)
