"""Opening what `--source` names: an image, a folder, a glob pattern or a video; and the images among them."""

from __future__ import annotations

import glob
import time
from pathlib import Path
from typing import TYPE_CHECKING

from edgeseg.errors import InputError
from edgeseg.files.reading import special_file_kind
from edgeseg.vision.frames import Frame, Skipped, SourceKind
from edgeseg.vision.images.pillow import IMAGE_SUFFIXES, is_image
from edgeseg.vision.images.reader import ImageReader, image_paths

from .credentials import redacted
from .video.reader import VIDEO_SUFFIXES, VideoSource

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

# Found in folders of photographs, but Pillow does not read them; passing over them would look like loss.
UNSUPPORTED_SUFFIXES = frozenset((".heic", ".heif"))
HEIC_REASON = "HEIC cannot be read; convert it to JPEG or PNG"
VIDEO_REASON = "it is a video; name it as the source by itself"


def open_source(
    text: str, *, exclude: Sequence[Path] = (), reader: ImageReader | None = None
) -> ImageSource | VideoSource:
    """Open images or a video.

    Args:
        text: Path of an image, a video or a folder (searched with all its subfolders), or a glob pattern.
        exclude: Files and folders that are not input: what this run writes.
        reader: Reads the images, and its `note` is told what is worth knowing of a video; None for one that
            makes no remarks.

    Raises:
        InputError: Nothing there, nothing readable there, or a stream.
    """
    if not text.strip():
        msg = "the source must be a path and is empty; name an image, a folder, a pattern or a video"
        raise InputError(msg)
    path = Path(text)
    reader = reader or ImageReader()
    if path.is_dir():
        return ImageSource(_without_excluded(_listed(path), exclude), root=path, name=text, reader=reader)
    if path.is_file():
        return _open_file(path, reader)
    if "://" in text:
        msg = f"{redacted(text)} is a stream and no file"
        raise InputError(msg)
    if kind := special_file_kind(path):
        msg = f"cannot read {text}: {kind}; copy its content into a file and name that"
        raise InputError(msg)
    found = sorted(Path(match) for match in glob.glob(text, recursive=True) if Path(match).is_file())  # noqa: PTH207 - patterns may be absolute
    if not found:
        what = "matches the pattern" if glob.has_magic(text) else "is at"
        msg = f"no file or folder {what} {redacted(text)}"
        raise InputError(msg)
    if len(found) == 1:
        return _open_file(found[0], reader)
    return ImageSource(
        _without_excluded(found, exclude), root=_common_folder(found), name=text, reader=reader
    )


class ImageSource:
    """Image files in the order given.

    Args:
        paths: Files; those that are no images are reported as skipped.
        root: Folder below which they lie, for their names.
        name: Of the whole, for messages.
        reader: Reads them.

    Raises:
        InputError: No paths.
    """

    kind = SourceKind.IMAGES
    fps = None

    def __init__(self, paths: Sequence[Path], *, root: Path, name: str, reader: ImageReader) -> None:
        if not paths:
            msg = f"no images in {name}; looked for {', '.join(sorted(IMAGE_SUFFIXES))}"
            raise InputError(msg)
        self.name = name
        self.paths = paths
        self.root = root
        self._reader = reader
        self.image_ids = image_ids_from_paths(paths)

    @property
    def total(self) -> int:
        """Number of files."""
        return len(self.paths)

    def __iter__(self) -> Iterator[Frame | Skipped]:
        """Read each file; see `Source`."""
        for path, image_id in zip(self.paths, self.image_ids, strict=True):
            start_s = time.monotonic()
            name = path.relative_to(self.root).as_posix()
            if reason := _unsupported_reason(path):
                yield Skipped(name=name, reason=reason)
                continue
            try:
                image = self._reader.read(path)
            except InputError as exc:
                yield Skipped(name=name, reason=str(exc))
                continue
            read_ms = 1000 * (time.monotonic() - start_s)
            yield Frame(image=image, name=name, image_id=image_id, read_ms=read_ms)

    def close(self) -> None:
        """Nothing is open between two files."""


def join_images(sources: Sequence[ImageSource]) -> None:
    """Give the images of several sources names and ids that no two share."""
    paths = [path for source in sources for path in source.paths]
    image_ids = image_ids_from_paths(paths)
    for source in sources:
        source.image_ids, image_ids = image_ids[: len(source.paths)], image_ids[len(source.paths) :]
        source.root = _common_folder(paths)


def image_ids_from_paths(paths: Sequence[Path]) -> list[int]:
    """Choose COCO image ids: the file names where each is a different number, else 1, 2, 3 and so on."""
    stems = [path.stem for path in paths]
    if all(stem.isascii() and stem.isdigit() for stem in stems):
        numbers = [int(stem) for stem in stems]
        if len(set(numbers)) == len(numbers):
            return numbers
    return list(range(1, len(paths) + 1))


def _open_file(path: Path, reader: ImageReader) -> ImageSource | VideoSource:
    suffix = path.suffix.lower()
    if suffix in IMAGE_SUFFIXES | UNSUPPORTED_SUFFIXES or (suffix not in VIDEO_SUFFIXES and is_image(path)):
        return ImageSource([path], root=path.parent, name=str(path), reader=reader)
    return VideoSource(path, reader.note)


def _listed(folder: Path) -> list[Path]:
    """List images, and what a user would miss if it were passed over in silence."""
    unsupported = (
        path for path in folder.rglob("*") if _unsupported_reason(path) and not path.name.startswith(".")
    )
    return sorted({*image_paths(folder), *(path for path in unsupported if path.is_file())})


def _unsupported_reason(path: Path) -> str:
    suffix = path.suffix.lower()
    if suffix in UNSUPPORTED_SUFFIXES:
        return HEIC_REASON
    return VIDEO_REASON if suffix in VIDEO_SUFFIXES else ""


def _without_excluded(paths: list[Path], exclude: Sequence[Path]) -> list[Path]:
    excluded = {path.resolve() for path in exclude}
    return [path for path in paths if excluded.isdisjoint((path.resolve(), *path.resolve().parents))]


def _common_folder(paths: list[Path]) -> Path:
    first = paths[0]
    return next(folder for folder in first.parents if all(folder in path.parents for path in paths))
