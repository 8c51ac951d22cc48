"""The libraries of TensorRT and of TensorRT for RTX, which have one Python API under two names."""

from __future__ import annotations

import ctypes
import importlib.util
import logging
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeseg.errors import DependencyError
from edgeseg.optional import install_command, require

if TYPE_CHECKING:
    from collections.abc import Iterator

OLDEST_TENSORRT = (10, 3)
RTX_PACKAGE = "onnxruntime_ep_nv_tensorrt_rtx"
RTX_BINDINGS = "tensorrt_rtx_bindings"
# Order matters: the parser and the bindings resolve their symbols in the first.
RTX_LIBRARIES = ("libtensorrt_rtx.so.1*", "libtensorrt_onnxparser_rtx.so.1*")
LOG_LEVELS = {
    "INTERNAL_ERROR": logging.ERROR,
    "ERROR": logging.ERROR,
    "WARNING": logging.WARNING,
    "INFO": logging.INFO,
    "VERBOSE": logging.DEBUG,
}

logger = logging.getLogger(__name__)


class TensorRTKind(str, Enum):
    """Which TensorRT; the value names its engines and its backend."""

    TENSORRT = "tensorrt"
    RTX = "tensorrt-rtx"

    @property
    def display_name(self) -> str:
        """As NVIDIA calls it."""
        return "TensorRT for RTX" if self is TensorRTKind.RTX else "TensorRT"


@dataclass(slots=True, kw_only=True)
class LogCapture:
    """What TensorRT logged meanwhile: it returns None or False and puts the reason into its log."""

    errors: list[str] = field(default_factory=list)
    infos: list[str] = field(default_factory=list)

    @property
    def reason(self) -> str:
        """The first errors, as the end of a sentence."""
        messages = [message.strip().rstrip(".") for message in self.errors[:3]]
        return "; ".join(messages) or "it gives no reason"


@dataclass(frozen=True, slots=True, kw_only=True)
class Library:
    """A loaded TensorRT.

    Attributes:
        module: `tensorrt` or `tensorrt_rtx_bindings`.
        log: The one `ILogger` of this process; TensorRT ignores a second.
    """

    tensorrt_kind: TensorRTKind
    module: Any
    log: Any

    @property
    def version(self) -> str:
        """Of the library, such as `10.3.0`."""
        return str(self.module.__version__)

    @property
    def title(self) -> str:
        """Name and version, for people."""
        return f"{self.tensorrt_kind.display_name} {self.version}"

    @contextmanager
    def capture_log(self) -> Iterator[LogCapture]:
        """Collect what is logged meanwhile, by any thread; it goes to `logging` as well."""
        captured = LogCapture()
        self.log.captures.append(captured)
        try:
            yield captured
        finally:
            self.log.captures.remove(captured)


_loaded: dict[TensorRTKind, Library] = {}
_loading = threading.Lock()


def load_library(tensorrt_kind: TensorRTKind, *, purpose: str) -> Library:
    """Import one of the two, once a process.

    Args:
        tensorrt_kind: Which.
        purpose: What it is wanted for, as it reads after "to": `build an engine`.

    Raises:
        DependencyError: It is not installed, does not load or is older than 10.3.
    """
    with _loading:
        if tensorrt_kind not in _loaded:
            module = _rtx(purpose) if tensorrt_kind is TensorRTKind.RTX else _tensorrt(purpose)
            _loaded[tensorrt_kind] = Library(tensorrt_kind=tensorrt_kind, module=module, log=_logger(module))
        return _loaded[tensorrt_kind]


def is_installed(tensorrt_kind: TensorRTKind) -> bool:
    """Tell whether it can be imported here, without importing it."""
    if tensorrt_kind is TensorRTKind.RTX:
        return rtx_folder() is not None and importlib.util.find_spec(RTX_BINDINGS) is not None
    spec = importlib.util.find_spec("tensorrt")
    # A folder of type stubs also passes for a package, but has no file to load.
    return spec is not None and spec.origin is not None


def rtx_folder() -> Path | None:
    """Find where the libraries lie, without importing their package, which would import ONNX Runtime."""
    found = importlib.util.find_spec(RTX_PACKAGE)
    folders = found.submodule_search_locations if found else None
    return Path(folders[0]) if folders else None


def _tensorrt(purpose: str) -> Any:
    module = require("tensorrt", purpose=purpose)
    version = str(getattr(module, "__version__", ""))
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
    if numbers < OLDEST_TENSORRT:
        oldest = ".".join(map(str, OLDEST_TENSORRT))
        msg = (
            f"TensorRT {oldest} or later is needed to {purpose}, got {version or 'one without a version'}; "
            f"on a Jetson install JetPack 6.1 or later, on x86: pip install 'tensorrt>={oldest}'"
        )
        raise DependencyError(msg)
    return module


def _rtx(purpose: str) -> Any:
    folder = rtx_folder()
    if folder is None:
        msg = (
            f"TensorRT for RTX is needed to {purpose} and is not installed; "
            f"mend it with: {install_command(RTX_BINDINGS)}"
        )
        raise DependencyError(msg)
    for pattern in RTX_LIBRARIES:
        _load_shared(folder, pattern)
    return require(RTX_BINDINGS, purpose=purpose)


def _load_shared(folder: Path, pattern: str) -> None:
    again = f"install it again with: {install_command(RTX_BINDINGS)}"
    found = sorted(folder.glob(pattern))
    if not found:
        msg = f"{folder} has no {pattern}; {again}"
        raise DependencyError(msg)
    try:
        ctypes.CDLL(str(found[-1]), mode=ctypes.RTLD_GLOBAL)
    except OSError as exc:
        msg = f"{found[-1].name} does not load ({exc}); {again}"
        raise DependencyError(msg) from exc


def _logger(module: Any) -> Any:
    """Make the logger, which passes messages on to `logging` and to every active `LogCapture`."""
    if TYPE_CHECKING:
        from tensorrt import ILogger as Base
    else:
        Base = module.ILogger  # noqa: N806 - a class

    class Log(Base):
        def __init__(self) -> None:
            Base.__init__(self)
            self.captures: list[LogCapture] = []

        def log(self, severity: Base.Severity, msg: str) -> None:
            level = LOG_LEVELS.get(severity.name, logging.INFO)
            logger.log(level, "%s", msg)
            for captured in self.captures:
                (captured.errors if level == logging.ERROR else captured.infos).append(msg)

    return Log()
