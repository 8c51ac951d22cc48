"""The bundle: the folder that `edgeseg export` writes and every other command opens."""

from __future__ import annotations

import os
import re
import time
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from edgeseg.errors import ArtifactError, ConfigError
from edgeseg.files.placement import FolderReplacement, is_unmovable, recover, visible_entries
from edgeseg.files.reading import open_regular, read_failure, sha256_from_file
from edgeseg.files.records import check_folder, mapped_write_errors, read_record, write_record
from edgeseg.records import short_repr
from edgeseg.spec import Lowering, ModelSpec

from .external_data import GRAPH_SUFFIX, check_self_contained

if TYPE_CHECKING:
    from collections.abc import Iterator

DEFAULT_PATH = Path("edgeseg-model")
MANIFEST = "model.json"
CALIBRATION_FILE = "calibration.json"
# Each additional input size is a bundle of its own inside the first one.
SIZE_MANIFEST = re.compile(r"sizes/[1-9][0-9]{0,4}x[1-9][0-9]{0,4}/model\.json")
FORMAT = 1
# Size limit of protocol buffers, and so of ONNX files; no engine comes near it.
MAX_FILE_BYTES = 1 << 31
SHA256 = re.compile(r"[0-9a-f]{64}")
# No separators or drives of any system, and no hidden files. Windows drops a dot or a space at the end.
PLAIN_NAME = re.compile(r"(?!\.)[^\x00-\x1f\x7f-\x9f/\\:]+(?<![. ])")
MAX_NAME_BYTES = 255
# For a bundle that is replaced repeatedly while it is read.
READ_ATTEMPTS, LIST_ATTEMPTS, RETRY_PAUSE_S = 20, 3, 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class FileRecord:
    """Size in bytes and SHA-256 of one file of a bundle."""

    size: int
    sha256: str

    def __post_init__(self) -> None:
        if not 0 <= self.size <= MAX_FILE_BYTES:
            msg = f"size must be 0 to {MAX_FILE_BYTES} bytes, got {self.size}"
            raise ConfigError(msg)
        if not SHA256.fullmatch(self.sha256):
            msg = f"sha256 must be 64 hexadecimal digits, got {short_repr(self.sha256)}"
            raise ConfigError(msg)


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """The content of `model.json`."""

    format: int = FORMAT
    spec: ModelSpec
    files: dict[str, FileRecord]

    def __post_init__(self) -> None:
        for name in self.files:
            if not is_plain_name(name) and not SIZE_MANIFEST.fullmatch(name):
                msg = f"files must lie in the bundle itself and have plain names, got {short_repr(name)}"
                raise ConfigError(msg)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """A bundle whose files were found complete and unaltered.

    Attributes:
        other_sizes: Bundles of the same model for additional input sizes.
        stamp: Identity of the manifest file when it was read, for `is_current`.
    """

    path: Path
    spec: ModelSpec
    files: dict[str, FileRecord]
    other_sizes: tuple[Bundle, ...] = ()
    stamp: tuple[int, ...] = field(default=(), repr=False, compare=False)

    @property
    def sizes(self) -> tuple[Bundle, ...]:
        """One bundle for each input size, the first one first."""
        return (self, *self.other_sizes)

    def graph_path(self, lowering: Lowering) -> Path:
        """Path of one of the graphs.

        Raises:
            ArtifactError: The bundle does not contain the graph.
        """
        if lowering.file_name not in self.files:
            msg = f"{self.path} has no {lowering.file_name}; export it again with `edgeseg export`"
            raise ArtifactError(msg)
        return self.path / lowering.file_name


def open_bundle(path: Path) -> Bundle:
    """Open a bundle and verify every file it lists.

    If the bundle is replaced while it is read, it is read again; the result is the old or the new bundle,
    never a mixture of both.

    Raises:
        ArtifactError: There is no bundle, or a file of it is missing, truncated or altered.

    Example:
        >>> bundle = open_bundle(Path("edgeseg-model"))
        >>> sorted(bundle.files), bundle.spec.input_size_hw
        (['portable.onnx'], (64, 96))
        >>> bundle.graph_path(Lowering.PORTABLE).name
        'portable.onnx'
    """
    for _ in range(READ_ATTEMPTS):
        stamp = _stamp(path)
        try:
            return replace(_open_sizes(path), stamp=stamp)
        except ArtifactError:
            if not recover(path, MANIFEST) and _stamp(path) == stamp:
                raise
            time.sleep(RETRY_PAUSE_S)
    return replace(_open_sizes(path), stamp=_stamp(path))


def is_current(bundle: Bundle) -> bool:
    """Whether a bundle has not been replaced since it was opened."""
    return bundle.stamp == _stamp(bundle.path)


def _open_sizes(path: Path) -> Bundle:
    bundle = _open(path)
    manifests = filter(SIZE_MANIFEST.fullmatch, bundle.files)
    # Only one level, so that a bundle cannot contain itself.
    others = tuple(_open((path / name).parent) for name in manifests)
    for other in others:
        _check_same_model(bundle, other)
    return replace(bundle, other_sizes=others)


def is_plain_name(name: str) -> bool:
    """Check that a name read from a file cannot refer to anything outside the folder it is looked up in.

    Example:
        >>> [is_plain_name(name) for name in ("portable.onnx", "../portable.onnx", "/etc/passwd", "..")]
        [True, False, False, False]
    """
    if not PLAIN_NAME.fullmatch(name):
        return False
    try:
        return len(name.encode()) <= MAX_NAME_BYTES
    except UnicodeEncodeError:
        return False


def _stamp(path: Path) -> tuple[int, ...]:
    """Return values that change when the manifest is replaced; empty if there is none."""
    try:
        status = (path / MANIFEST).stat()
    except OSError:
        return ()
    return (status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size)


def size_folder(size_hw: tuple[int, int]) -> str:
    """Return the folder of an additional input size, relative to its bundle."""
    return f"sizes/{size_hw[0]}x{size_hw[1]}"


def _open(path: Path) -> Bundle:
    manifest = _read_manifest(path)
    for name, recorded in manifest.files.items():
        _verify(path / name, recorded)
    return Bundle(path=path, spec=manifest.spec, files=manifest.files)


def _check_same_model(bundle: Bundle, other: Bundle) -> None:
    """Refuse an additional size of another model; results would depend on the shape of the frame."""
    own, its = (replace(one.spec, input_size_hw=(32, 32), parity=None) for one in (bundle, other))
    if own == its and bundle.spec.input_size_hw != other.spec.input_size_hw:
        return
    msg = (
        f"{other.path} must be the model of {bundle.path} at another input size, and is not; export it again"
    )
    raise ArtifactError(msg)


def write_manifest(folder: Path, spec: ModelSpec, names: list[str]) -> None:
    """Write `model.json` beside the files it describes.

    Args:
        folder: Folder that already contains the files.
        spec: The model.
        names: Files of the bundle, relative to `folder`.

    Raises:
        EdgeSegError: The file cannot be written.
    """
    manifest = Manifest(spec=spec, files={name: file_record(folder / name) for name in names})
    write_record(folder / MANIFEST, manifest)


def file_record(path: Path) -> FileRecord:
    """Measure a file: its size and SHA-256."""
    return FileRecord(size=path.stat().st_size, sha256=sha256_from_file(path))


def _read_manifest(path: Path) -> Manifest:
    return read_record(
        Manifest,
        path / MANIFEST,
        version=FORMAT,
        missing_message=f"no bundle at {path}: {MANIFEST} is missing; "
        f"make one with `edgeseg export CKPT -o {path}`",
        remedy="export the bundle again",
    )


def _verify(path: Path, recorded: FileRecord) -> None:
    try:
        fault = file_mismatch(path, recorded)
    except FileNotFoundError as exc:
        msg = f"{path} is missing from the bundle; export it again or copy the whole folder"
        raise ArtifactError(msg) from exc
    except OSError as exc:
        raise ArtifactError(read_failure(path, exc)) from exc
    if fault:
        msg = f"{path} {fault}"
        raise ArtifactError(msg)
    if path.suffix == GRAPH_SUFFIX:
        check_self_contained(path)


def file_mismatch(path: Path, recorded: FileRecord) -> str:
    """Describe how a file differs from its record; empty if it does not.

    The size is compared first, so a file of another size is not read.

    Raises:
        OSError: The file is missing, cannot be read, or is not a regular file.
    """
    with open_regular(path) as stream:
        size = os.fstat(stream.fileno()).st_size
    if size != recorded.size:
        return f"has {size} bytes and must have {recorded.size}: truncated or altered"
    if sha256_from_file(path) != recorded.sha256:
        return f"was altered after export (SHA-256 differs from {MANIFEST}); copy or export it again"
    return ""


def check_bundle_folder(target: Path, *, force: bool) -> None:
    """Check, before the work starts, that a bundle may be written.

    Args:
        target: Folder of the new bundle.
        force: Whether to replace an existing bundle.

    Raises:
        ConfigError: A bundle exists and `force` is off, or the target exists and is not a bundle.
        EdgeSegError: The folder cannot be written.
    """
    with mapped_write_errors(target):
        recover(target, MANIFEST)
        existing = _entry_names(target)
        if (target.exists() and not target.is_dir()) or (existing and MANIFEST not in existing):
            msg = f"{target} exists and is not a bundle (no {MANIFEST} in it); choose another -o"
            raise ConfigError(msg)
        if existing and not force:
            msg = f"{target} already holds a bundle; pass --force to replace it, or choose another -o"
            raise ConfigError(msg)
        written_folder = target if is_unmovable(target) else target.absolute().parent
    check_folder(target)
    check_folder(written_folder)


def _entry_names(target: Path) -> list[str]:
    """List the names in a folder; retry if it is not a bundle, as another program may be replacing it."""
    names: list[str] = []
    for _ in range(LIST_ATTEMPTS):
        names = [path.name for path in visible_entries(target)] if target.is_dir() else []
        if not names or MANIFEST in names:
            break
        time.sleep(RETRY_PAUSE_S)
    return names


@contextmanager
def staged(target: Path, *, force: bool) -> Iterator[Path]:
    """Yield a temporary folder that becomes `target` if the block succeeds and is removed if it fails.

    An existing bundle stays complete under its name until the new one replaces it; see `files.placement`.

    Args:
        target: Folder of the new bundle; its parent is created if needed.
        force: Whether to replace an existing bundle.

    Raises:
        ConfigError: As in `check_bundle_folder`, or another program wrote to `target` in the meantime.
        EdgeSegError: The bundle cannot be written.
    """
    check_bundle_folder(target, force=force)
    with mapped_write_errors(target):
        replacement = FolderReplacement(target, MANIFEST, replace=force)
    with closing(replacement):
        yield replacement.folder
        with mapped_write_errors(target):
            replacement.commit()
