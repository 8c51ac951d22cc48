"""Handing names to libraries in C++, which take UTF-8 only: OpenCV crashes on any other."""

from __future__ import annotations

import os
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from edgeseg.errors import InputError

from .temporary import scratch_folder

if TYPE_CHECKING:
    from collections.abc import Iterator

# FFmpeg takes a name with this for a series of numbered files.
SERIES_MARK = "%"


@contextmanager
def native_path(path: Path) -> Iterator[str]:
    """Give a name under which a library in C++ can open a file, for reading or writing.

    It is absolute, as FFmpeg takes what stands before a colon for a protocol. Where the locale or the bytes
    of the name do not allow that, it is a link in a temporary folder, which is gone after the block.

    Raises:
        InputError: The file has such a name, and no link can be made.
    """
    absolute = Path(os.path.abspath(path))  # noqa: PTH100 - without following links
    if is_native(str(absolute)) and SERIES_MARK not in absolute.name:
        yield str(absolute)
        return
    with ExitStack() as stack:
        yield str(_linked(absolute, stack))


def _linked(path: Path, stack: ExitStack) -> Path:
    try:
        link = stack.enter_context(scratch_folder()) / f"file{_plain_suffix(path.suffix)}"
        link.symlink_to(path)
    except (OSError, NotImplementedError) as exc:
        msg = (
            f"the name of a file must be UTF-8 and without {SERIES_MARK!r} to be handed to OpenCV or an "
            f"engine, got {str(path)!r}; rename it"
        )
        raise InputError(msg) from exc
    return link


def is_native(name: str) -> bool:
    """Whether a name of the file system is the same to C++ as to Python, whatever the locale."""
    try:
        return os.fsencode(name) == name.encode()
    except UnicodeEncodeError:
        return False


def _plain_suffix(suffix: str) -> str:
    return suffix if suffix.isascii() and SERIES_MARK not in suffix else ""
