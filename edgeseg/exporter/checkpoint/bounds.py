"""Limits on time and memory while a checkpoint is read; a few bytes can ask for all of both."""

from __future__ import annotations

from dataclasses import dataclass
from typing import IO, Any

# A model with its optimiser is a hundred thousand steps; a long list of losses can be some hundred thousand.
MAX_STEPS = 600_000
# Of texts, bytes and copies of lists, beyond the size of the file.
MAX_EXTRA_BYTES = 16 << 20
MAX_NESTED_STREAMS = 4
# Of a text that names a class, a tensor or a setting, and of a number that does.
MAX_NAME_LENGTH = 4000
MAX_KEY_BITS = 1024
MAX_KEY_PARTS = 64
# Of the list of members at the end of an archive: some twenty thousand.
MAX_DIRECTORY_BYTES = 2 << 20


class PickleError(Exception):
    """The pickle is cut off or was not written by Python."""


@dataclass(slots=True)
class ReadBudget:
    """What may still be done and held while a file is read, checkpoints within it included.

    Attributes:
        octets: Bytes of texts, bytes and copies.
        steps: Instructions of pickles, and things looked at afterwards.
        depth: Checkpoints within checkpoints.
    """

    octets: int
    steps: int = MAX_STEPS
    depth: int = MAX_NESTED_STREAMS

    def use_steps(self, count: int = 1) -> None:
        """Count steps.

        Raises:
            PickleError: There were too many.
        """
        self.steps -= count
        if self.steps < 0:
            msg = f"it takes more than {MAX_STEPS:,} steps to read, as no checkpoint of a model does"
            raise PickleError(msg)

    def use_bytes(self, octets: int) -> None:
        """Count bytes that are held in memory.

        Raises:
            PickleError: There were too many.
        """
        self.octets -= octets
        if self.octets < 0:
            msg = "it unfolds to many times its size, as no checkpoint of a model does"
            raise PickleError(msg)

    def enter(self) -> None:
        """Enter a checkpoint nested in the checkpoint.

        Raises:
            PickleError: There is one in another in another.
        """
        self.depth -= 1
        if self.depth < 0:
            msg = "it holds checkpoints within checkpoints within checkpoints"
            raise PickleError(msg)

    def leave(self) -> None:
        """Leave a nested checkpoint."""
        self.depth += 1


class BoundedStream:
    """A file of which no part larger than a limit is read at once.

    Args:
        stream: Of the whole file.
        most: Bytes.
    """

    def __init__(self, stream: IO[bytes], most: int) -> None:
        self._stream, self._max_bytes = stream, most
        self.seek, self.tell, self.seekable = stream.seek, stream.tell, stream.seekable

    def read(self, count: int = -1) -> bytes:
        """Read so many bytes.

        Raises:
            PickleError: They are more than the limit.
        """
        if count > self._max_bytes:
            msg = f"a part of it says that it has {count:,} bytes"
            raise PickleError(msg)
        return self._stream.read(self._max_bytes if count < 0 else count)

    def readline(self) -> bytes:
        """Read a line, or so much of it as the limit allows."""
        return self._stream.readline(self._max_bytes)


def check_key(key: Any) -> None:
    """Refuse a key of a dict that takes long to hash, or more than the stack to.

    Raises:
        PickleError: It does.
    """
    parts = [key]
    count = 0
    while parts:
        part = parts.pop()
        count += 1
        is_too_long = isinstance(part, str | bytes) and len(part) > MAX_NAME_LENGTH
        is_too_long = is_too_long or (isinstance(part, int) and part.bit_length() > MAX_KEY_BITS)
        if isinstance(part, tuple):
            parts.extend(part[: MAX_KEY_PARTS + 1])
        if is_too_long or count > MAX_KEY_PARTS:
            msg = "it has a name that is longer than any name of a tensor or setting"
            raise PickleError(msg)
