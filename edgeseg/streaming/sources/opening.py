"""Opening what a run takes its frames from: files, or cameras and streams."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from edgeseg.errors import ConfigError, EdgeSegError, InputError
from edgeseg.vision.frames import SourceKind
from edgeseg.vision.images.reader import ImageReader

from .credentials import redacted, secrets_in, without_secrets
from .files import ImageSource, join_images, open_source
from .live.address import Address, Route, address_from_source
from .live.camera import open_camera
from .live.gstreamer import open_csi, open_pipeline
from .live.http import open_http
from .live.latest_frames import LatestFrames
from .live.network import open_network
from .live.reader import LiveReader
from .live.reconnector import ReconnectPolicy
from .paced import PacedSource
from .prefetch import PrefetchReader

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from edgeseg.streaming.frame_reader import FrameReader
    from edgeseg.vision.frames import LiveSource

    from .video.reader import VideoSource

OPENERS: dict[Route, Callable[..., LiveSource]] = {
    Route.CAMERA: open_camera,
    Route.NETWORK: open_network,
    Route.HTTP: open_http,
    Route.CSI: open_csi,
    Route.PIPELINE: open_pipeline,
}


def open_frame_reader(
    sources: Sequence[str | int],
    *,
    exclude: Sequence[Path] = (),
    realtime: bool = False,
    bit_depth: int | None = None,
    note: Callable[[str], None] = lambda sentence: None,
    policy: ReconnectPolicy = ReconnectPolicy(),  # noqa: B008 - frozen
) -> FrameReader:
    """Open one or several sources as one.

    Args:
        sources: Each a camera's number, or an image, folder, glob pattern, video, device, address
            (`rtsp://`, `http://`, `csi://0` and others) or GStreamer pipeline.
        exclude: Files and folders that are not input: what this run writes.
        realtime: Play videos at their own rate, as a camera would.
        bit_depth: Of images with more than 8 bits a sample, as `ImageReader`.
        note: Told, from other threads, when a live source is lost, back or given up, when a video changes its
            size, and what `ImageReader` remarks.
        policy: How long to wait for live sources.

    Raises:
        ConfigError: Sources that cannot go together, or a setting that cannot work.
        DependencyError: OpenCV or GStreamer lacks a part that a source needs.
        InputError: A source does not open or gives nothing.
    """
    if not sources:
        msg = "a run wants one source or more, got none; name a file, folder, camera or stream"
        raise ConfigError(msg)
    addresses = [address_from_source(source) for source in sources]
    live = [address for address in addresses if address is not None]
    files = [str(source) for source, address in zip(sources, addresses, strict=True) if address is None]
    if live and files and not realtime:
        msg = (
            f"{live[0].name} is live and {files[0]} is not: videos play along with --realtime; "
            "otherwise run them one after the other"
        )
        raise ConfigError(msg)
    file_sources = _open_files(files, exclude, ImageReader(bit_depth=bit_depth, note=note))
    if not live and not realtime:
        return PrefetchReader(file_sources, unique_names([source.name for source in file_sources]))
    try:
        return _open_live(addresses, file_sources, policy, note)
    except BaseException:
        _close(file_sources)
        raise


def unique_names(names: Sequence[str]) -> list[str]:
    """Number what is named alike: `clip.mp4`, `clip.mp4 (2)`."""
    seen: dict[str, int] = {}
    result = []
    for name in names:
        seen[name] = count = seen.get(name, 0) + 1
        result.append(name if count == 1 else f"{name} ({count})")
    return result


def _open_files(
    texts: Sequence[str], exclude: Sequence[Path], reader: ImageReader
) -> list[ImageSource | VideoSource]:
    file_sources: list[ImageSource | VideoSource] = []
    try:
        for text in texts:
            file_sources.append(_open_file(text, exclude, reader))
        images = [source for source in file_sources if isinstance(source, ImageSource)]
        if images and len(images) < len(file_sources):
            msg = f"{images[0].name} is images and other sources are videos; run them one after the other"
            raise ConfigError(msg)
        if len(images) > 1:
            join_images(images)
    except EdgeSegError:
        _close(file_sources)
        raise
    return file_sources


def _open_file(text: str, exclude: Sequence[Path], reader: ImageReader) -> ImageSource | VideoSource:
    try:
        return open_source(text, exclude=exclude, reader=reader)
    except OSError as exc:
        msg = f"cannot read {redacted(text)}: {exc.strerror or type(exc).__name__}"
        raise InputError(msg) from exc


def _open_live(
    addresses: Sequence[Address | None],
    files: Sequence[ImageSource | VideoSource],
    policy: ReconnectPolicy,
    note: Callable[[str], None],
) -> LiveReader:
    """Take addresses as they are, and for each None the next of the files."""
    if images := [source for source in files if source.kind is SourceKind.IMAGES]:
        msg = f"--realtime plays videos and {images[0].name} is images; run them without it"
        raise ConfigError(msg)
    videos = iter(files)
    found = [address or next(videos) for address in addresses]
    names = unique_names([item.name for item in found])
    latest = LatestFrames(names)
    openers = [
        partial(_open_address, item)
        if isinstance(item, Address)
        else partial(PacedSource, item, latest.started)
        for item in found
    ]
    return LiveReader(names, openers, latest, policy, note)


def _open_address(address: Address) -> LiveSource:
    """Open a live source; whatever goes wrong is told without the secrets in its address.

    Raises:
        EdgeSegError: It does not open.
    """
    try:
        return OPENERS[address.route](address.target)
    except EdgeSegError as exc:
        redacted_error = without_secrets(str(exc), secrets_in(str(address.target)))
        if redacted_error == str(exc):
            raise
        raise type(exc)(redacted_error) from None
    except Exception as exc:  # noqa: BLE001 - whatever a library raises may repeat the address
        redacted_error = without_secrets(f"{type(exc).__name__}: {exc}", secrets_in(str(address.target)))
        # Not `from exc`: a traceback would show what that says.
        msg = f"{address.name} cannot be read: {redacted_error}"
        raise InputError(msg) from None


def _close(sources: Sequence[ImageSource | VideoSource]) -> None:
    for source in sources:
        source.close()
