"""What a user may say about the engine: on what, in which precision and with how many threads to compute."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from edgeseg.bundle.engines import Precision, Target
from edgeseg.errors import ConfigError

AUTO = "auto"


class Provider(str, Enum):
    """Where ONNX Runtime computes."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"
    TENSORRT = "tensorrt"


BACKENDS = (AUTO, *(target.value for target in Target))
PRECISIONS = (AUTO, *(precision.value for precision in Precision))
PROVIDERS = tuple(provider.value for provider in Provider)
CHOICES = {"backend": BACKENDS, "precision": PRECISIONS, "provider": PROVIDERS}


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineChoice:
    """What was asked for.

    Attributes:
        backend: A `Target` by name, or `auto`.
        precision: A `Precision` by name, or `auto`.
        provider: Where ONNX Runtime computes; `auto` is CUDA where it has it, else the CPU.
        threads: Of one inference on a CPU; None for one a core.
    """

    backend: str = AUTO
    precision: str = AUTO
    provider: str = AUTO
    threads: int | None = None

    def __post_init__(self) -> None:
        for name, known in CHOICES.items():
            if (value := getattr(self, name)) not in known:
                msg = f"{name} must be one of {', '.join(known)}, got {value!r}"
                raise ConfigError(msg)
        if self.threads is not None and self.threads < 1:
            msg = f"threads must be at least 1, got {self.threads}"
            raise ConfigError(msg)
        if self.provider != AUTO and self.backend not in (AUTO, Target.ONNXRUNTIME.value):
            msg = f"provider is a choice of the backend onnxruntime, got backend {self.backend}"
            raise ConfigError(msg)

    def accepts(self, target: Target, precision: Precision) -> bool:
        """Whether an engine of that kind is what was asked for."""
        if self.provider != AUTO and target is not Target.ONNXRUNTIME:
            return False
        return self.backend in (AUTO, target.value) and self.precision in (AUTO, precision.value)


# The fastest that fits.
ANY_ENGINE = EngineChoice()
