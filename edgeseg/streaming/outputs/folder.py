"""The folder for the results of a run: checking it, creating it and clearing earlier results."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from edgeseg.errors import ConfigError
from edgeseg.files.reading import open_regular
from edgeseg.files.records import check_folder, claim_folder, mapped_write_errors
from edgeseg.files.temporary import sweep
from edgeseg.records import parse_json
from edgeseg.streaming import config as job

from .overlays import overlay_name
from .writers import partial_path

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

# Limit for the line of one frame, with the masks of its detections.
MAX_LINE_BYTES = 64 << 20
RESULT_FILES = (job.COCO_FILE, job.LINES_FILE, job.SUMMARY_FILE)


def video_paths(output: Path, sources: int) -> list[Path]:
    """Name the overlay video of each source: `overlay.mp4` for one, else `overlay-0.mp4` and so on."""
    whole = output / job.OVERLAY_VIDEO
    if sources == 1:
        return [whole]
    return [whole.with_name(f"{whole.stem}-{index}{whole.suffix}") for index in range(sources)]


def result_paths(output: Path) -> list[Path]:
    """List every file and folder that a run may write into `output` or has written there."""
    return [*(output / name for name in (job.OVERLAY_FOLDER, *RESULT_FILES)), *_videos(output)]


def earlier_results(output: Path | None, sources: Sequence[str | int]) -> list[Path]:
    """List results that must not be read as input: those of this run, and those in default folders.

    A default folder that is a source itself, or contains one, is left out.

    Args:
        output: Output folder of this run; None for one that does not exist yet.
        sources: Sources of this run.
    """
    default = job.DEFAULT_OUTPUT
    # Unlike `Path.resolve`, it accepts symlink loops.
    real_paths = [Path(os.path.realpath(source)) for source in sources if isinstance(source, str)]
    source_folders = {folder for path in real_paths for folder in (path, *path.parents)}
    folders = [default, *default.parent.glob(f"{default.name}-[0-9]*")]
    folders = [folder for folder in folders if Path(os.path.realpath(folder)) not in source_folders]
    if output is not None:
        folders.append(output)
    return [path for folder in folders for path in result_paths(folder)]


def open_output(output: Path | None, note: Callable[[str], None]) -> Path:
    """Create the folder for the results.

    Args:
        output: Folder to create; None for the default one, or the next free one.
        note: Called with a sentence if the default folder is taken.

    Returns:
        The folder; pass it to `clear_output` once it is locked.

    Raises:
        EdgeSegError: The folder cannot be created or written.
    """
    if output is None:
        output = claim_folder(job.DEFAULT_OUTPUT, job.LINES_FILE, _holds_results)
        if output != job.DEFAULT_OUTPUT:
            note(f"{job.DEFAULT_OUTPUT} is taken, so the results go to {output}")
        return output
    with mapped_write_errors(output):
        output.mkdir(parents=True, exist_ok=True)
    return output


def _holds_results(output: Path) -> bool:
    return any(path.exists() for path in result_paths(output))


def check_output(output: Path, sources: Sequence[str | int], *, force: bool) -> None:
    """Check before a run that its results may be written.

    Args:
        output: Output folder.
        sources: Sources of the run.
        force: Whether existing results may be replaced.

    Raises:
        ConfigError: `output` is a file, holds results while `force` is off, or contains a source that
            would be overwritten.
        EdgeSegError: The folder cannot be written.
    """
    if output.exists() and not output.is_dir():
        msg = f"{output} is a file and must be a folder; name another with -o"
        raise ConfigError(msg)
    check_folder(output)
    existing = [path.name for path in result_paths(output) if path.exists()]
    if existing and not force:
        msg = (
            f"{output} already holds {existing[0]}; pass --force to replace it, or name another folder "
            "with -o"
        )
        raise ConfigError(msg)
    for source in sources:
        if existing and isinstance(source, str) and _is_result(Path(source), output):
            msg = f"{source} is a result in {output} and would be replaced; name another folder with -o"
            raise ConfigError(msg)


def clear_output(output: Path) -> None:
    """Remove the results of an earlier run, so that results of two runs are never mixed.

    Only pictures listed in that run's `detections.jsonl` are removed, because the folder `overlays` may
    contain others.

    Raises:
        EdgeSegError: A file cannot be removed.
    """
    sweep(output)
    overlays = output / job.OVERLAY_FOLDER
    images = [overlays / overlay_name(name) for name in _recorded_names(output / job.LINES_FILE)]
    files = [output / name for name in RESULT_FILES]
    for path in (*images, *_videos(output), *files, partial_path(output / job.COCO_FILE)):
        with mapped_write_errors(path):
            path.unlink(missing_ok=True)


def _videos(output: Path) -> list[Path]:
    """List `overlay.mp4`, whether it exists or not, and the numbered overlay videos that exist."""
    stem, _, suffix = job.OVERLAY_VIDEO.partition(".")
    numbered = (path for path in output.glob(f"{stem}-*.{suffix}") if path.stem[len(stem) + 1 :].isdigit())
    return [output / job.OVERLAY_VIDEO, *sorted(numbered)]


def _is_result(source: Path, output: Path) -> bool:
    resolved = source.resolve()
    return any(path.resolve() in (resolved, *resolved.parents) for path in result_paths(output))


def _recorded_names(lines: Path) -> Iterator[str]:
    """Read the frame names from an earlier run's `detections.jsonl`; invalid lines are ignored."""
    try:
        stream = open_regular(lines)
    except OSError:
        return
    with stream:
        while line := stream.readline(MAX_LINE_BYTES):
            try:
                name = parse_json(line.decode(errors="replace"))["file_name"]
            except (ValueError, TypeError, KeyError):
                continue
            if isinstance(name, str) and all(map(is_plain_part, PurePosixPath(name).parts)):
                yield name


def is_plain_part(part: str) -> bool:
    """Tell whether a path component read from a file is safe: it cannot lead out of its folder."""
    return part not in ("..", "/", "//") and not any(sign in part for sign in "\0\\") and _is_text(part)


def _is_text(part: str) -> bool:
    try:
        os.fsencode(part)
    except UnicodeEncodeError:
        return False
    return True
