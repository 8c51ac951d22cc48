"""The GStreamer pipeline of a Jetson's CSI camera."""

from __future__ import annotations

from dataclasses import dataclass, fields
from urllib.parse import parse_qsl, urlsplit

from edgeseg.errors import ConfigError
from edgeseg.streaming.sources.credentials import redacted

FLIPS = range(8)


@dataclass(frozen=True, slots=True, kw_only=True)
class CsiCamera:
    """What `csi://0?width=1280&height=720&fps=30&flip=2` says.

    Attributes:
        sensor: Number of the camera.
        width: Of the sensor's mode, in pixels.
        height: Of the sensor's mode, in pixels.
        fps: Frames a second.
        flip: `flip-method` of nvvidconv: 0 as it is, 2 turned by 180 degrees.
    """

    sensor: int = 0
    width: int = 1920
    height: int = 1080
    fps: int = 30
    flip: int = 0

    def __post_init__(self) -> None:
        if min(self.width, self.height, self.fps) < 1 or self.flip not in FLIPS:
            msg = (
                "a csi:// address wants width, height and fps of 1 or more and flip from 0 to 7, got "
                f"width={self.width}, height={self.height}, fps={self.fps}, flip={self.flip}"
            )
            raise ConfigError(msg)

    @property
    def pipeline(self) -> str:
        """From the camera's processor through NVMM, the memory it shares with the GPU, to BGR."""
        # nvvidconv writes BGRx but no BGR; videoconvert then only drops a byte a pixel.
        return (
            f"nvarguscamerasrc sensor-id={self.sensor} ! video/x-raw(memory:NVMM), format=NV12, "
            f"width={self.width}, height={self.height}, framerate={self.fps}/1 ! "
            f"nvvidconv flip-method={self.flip} ! video/x-raw, format=BGRx ! "
            "videoconvert ! video/x-raw, format=BGR ! appsink drop=true max-buffers=1 sync=false"
        )


def csi_from_address(address: str) -> CsiCamera:
    """Read a `csi://` address.

    Raises:
        ConfigError: An option is unknown or no number.
    """
    parts = urlsplit(address)
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    known = [field.name for field in fields(CsiCamera) if field.name != "sensor"]
    if unknown := sorted(set(options) - set(known)):
        msg = f"{redacted(address)} has the unknown option {unknown[0]!r}; the options are {', '.join(known)}"
        raise ConfigError(msg)
    numbers = {"sensor": parts.netloc or "0", **options}
    wrong = [f"{name}={value!r}" for name, value in numbers.items() if not value.isdecimal()]
    if wrong:
        msg = f"{redacted(address)} must have whole numbers, as csi://0?width=1280&height=720, got {wrong[0]}"
        raise ConfigError(msg)
    return CsiCamera(**{name: int(value) for name, value in numbers.items()})
