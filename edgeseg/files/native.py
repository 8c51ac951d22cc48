"""Passing file names to C++ libraries, which accept only UTF-8: OpenCV crashes on other encodings."""

from __future__ import annotations

import os
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from edgeseg.errors import InputError

from .temporary import scratch_folder

if TYPE_CHECKING:
    from collections.abc import Iterator

# FFmpeg reads a name that contains this as a pattern for numbered files.
SERIES_MARK = "%"


@contextmanager
def native_path(path: Path) -> Iterator[str]:
    """Provide a name under which a C++ library can open a file for reading or writing.

    The name is absolute, because FFmpeg takes the part of a name before a colon for a protocol. If C++ cannot
    use the name because of the locale or its bytes, the block gets a link in a temporary folder, which is
    removed after it.

    Raises:
        InputError: C++ cannot use the file's name, and a link cannot be created.
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
    """Tell whether C++ and Python encode a file name in the same way, whatever the locale."""
    try:
        return os.fsencode(name) == name.encode()
    except UnicodeEncodeError:
        return False


def _plain_suffix(suffix: str) -> str:
    return suffix if suffix.isascii() and SERIES_MARK not in suffix else ""
