"""What a live source is called and how it is reached, read from what the user gave."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from edgeseg.errors import ConfigError, InputError
from edgeseg.streaming.sources.credentials import PIPE, redacted


class Route(str, Enum):
    """Which part reads a live source."""

    CAMERA = "camera"
    NETWORK = "network"
    HTTP = "http"
    CSI = "csi"
    PIPELINE = "pipeline"


ROUTE_BY_SCHEME = {
    **dict.fromkeys(("rtsp", "rtsps", "rtmp", "rtmps", "udp", "tcp", "rtp", "srt"), Route.NETWORK),
    **dict.fromkeys(("http", "https"), Route.HTTP),
    "csi": Route.CSI,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where a live source is.

    Attributes:
        name: For people: without user name and password.
        target: As given: may hold a password, so it is not shown.
        route: Which part reads it.
    """

    name: str
    target: str | int = field(repr=False)
    route: Route


def address_from_source(source: str | int) -> Address | None:
    """Tell a live source from files.

    Args:
        source: A camera's number or device, an address, a GStreamer pipeline, or a path.

    Returns:
        None for a path or pattern of files.

    Raises:
        ConfigError: A camera's number below 0.
        InputError: An address of a kind that cannot be read.
    """
    if isinstance(source, int):
        if source < 0:
            msg = f"a camera's number must be 0 or more, got {source}"
            raise ConfigError(msg)
        return Address(name=f"camera {source}", target=source, route=Route.CAMERA)
    scheme = source.partition("://")[0] if "://" in source else ""
    if PIPE in source and not _is_there(source):
        return Address(name=redacted(source), target=source, route=Route.PIPELINE)
    if not scheme:
        is_device = _is_there(source) and Path(source).is_char_device()
        return Address(name=source, target=source, route=Route.CAMERA) if is_device else None
    route = ROUTE_BY_SCHEME.get(scheme.lower())
    if route is None:
        known = ", ".join(f"{name}://" for name in ROUTE_BY_SCHEME)
        msg = f"{redacted(source)} is not an address that can be read; give a path or one of {known}"
        raise InputError(msg)
    return Address(name=redacted(source), target=source, route=route)


def _is_there(path: str) -> bool:
    try:
        return Path(path).exists()
    except OSError:
        # Too long for a path, or below a folder that may not be read.
        return False
