"""The folder that a run writes: whether it may, and what an earlier run left there."""

from __future__ import annotations

import json
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from ..errors import ConfigError
from ..files import writing
from . import job
from .overlays import overlay_name
from .sinks import partial_path

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .job import RunConfig

FILES = (job.OVERLAY_VIDEO, job.COCO_FILE, job.LINES_FILE, job.SUMMARY_FILE)


def product_paths(output: Path) -> list[Path]:
    """Name every file and folder that a run may write."""
    return [output / name for name in (job.OVERLAY_FOLDER, *FILES)]


def check_output(config: RunConfig) -> None:
    """Say before the work whether the results may be written.

    Raises:
        ConfigError: There are results and `force` is off, or they would be written over the source.
    """
    output = config.output
    if output.exists() and not output.is_dir():
        msg = f"{output} is a file and must be a folder; name another with -o"
        raise ConfigError(msg)
    there = [path.name for path in product_paths(output) if path.exists()]
    if there and not config.force:
        msg = f"{output} already holds {there[0]}; pass --force to replace it, or name another folder with -o"
        raise ConfigError(msg)
    if there and config.source and _is_product(Path(config.source), output):
        msg = f"{config.source} is a result in {output} and would be replaced; name another folder with -o"
        raise ConfigError(msg)


def clear_output(output: Path) -> None:
    """Remove what an earlier run wrote, so that results of two runs never lie side by side.

    Pictures are removed only where that run's lines name them: a folder `overlays` may hold others.

    Raises:
        EdgeSegError: A file cannot be removed.
    """
    overlays = output / job.OVERLAY_FOLDER
    pictures = [overlays / overlay_name(name) for name in _pictured(output / job.LINES_FILE)]
    for path in (*pictures, *(output / name for name in FILES), partial_path(output / job.COCO_FILE)):
        with writing(path):
            path.unlink(missing_ok=True)


def _is_product(source: Path, output: Path) -> bool:
    resolved = source.resolve()
    return any(path.resolve() in (resolved, *resolved.parents) for path in product_paths(output))


def _pictured(lines: Path) -> Iterator[str]:
    """Read from an earlier run's lines which frames it had; nothing from a file that is no such thing."""
    if not lines.is_file():
        return
    for line in lines.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            name = json.loads(line)["file_name"]
        except (ValueError, TypeError, KeyError):
            continue
        if isinstance(name, str) and ".." not in PurePosixPath(name).parts and not name.startswith("/"):
            yield name
