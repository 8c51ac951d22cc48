"""The results of a search, as a record."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgeseg.benchmark.report import Machine
from edgeseg.bundle.manifest import DEFAULT_PATH
from edgeseg.errors import EdgeSegError, ParityError
from edgeseg.vision.frames import Skipped

from .candidate import TradeOffPoint
from .config import TuneLimits

if TYPE_CHECKING:
    from pathlib import Path

    from .candidate import Candidate
    from .config import TuneConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class WrittenBundle:
    """The chosen bundle, exported with the parity check, built and scored again.

    Attributes:
        path: Path of the bundle.
        lost: Points against the reference.
        kept: It keeps to the limit on accuracy.
    """

    path: str
    box_ap: float
    mask_ap: float
    lost: float
    kept: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class TuneReport:
    """What a search found.

    Attributes:
        measured_on: The annotation file, or what was agreed with.
        images: Number of images that were scored.
        frame_size_hw: Height and width of the timed frames, in pixels.
        reference: Full precision at full size.
        points: Of every candidate that was looked at.
        frontier: The points that nothing beats in latency and accuracy, the fastest first.
        chosen: None where none keeps to the limits.
        nearest: What is least beyond them; None where nothing was measured.
        command: Makes the chosen or else the nearest engine; empty without either.
        ended: Why the search was not finished; empty if it was.
        interrupted: By Ctrl-C.
        failure: What broke it off, such as a full disk; empty if nothing did.
        notes: What a user should know.
        skipped: Images that are missing or cannot be read.
        written: None if nothing was written.
        spent_s: Time of the search, in seconds.
    """

    checkpoint: str
    limits: TuneLimits
    measured_on: str
    images: int
    frame_size_hw: tuple[int, int]
    machine: Machine
    reference: TradeOffPoint | None
    points: tuple[TradeOffPoint, ...]
    frontier: tuple[TradeOffPoint, ...]
    chosen: TradeOffPoint | None
    nearest: TradeOffPoint | None
    command: str
    ended: str = ""
    interrupted: bool = False
    failure: str = ""
    notes: tuple[str, ...] = ()
    skipped: tuple[Skipped, ...] = ()
    written: WrittenBundle | None = None
    spent_s: float


class LimitError(ParityError):
    """Nothing that was measured keeps to the limits, or what was written does not."""


def check_limits(report: TuneReport) -> None:
    """Say no where the limits cannot be kept to.

    Raises:
        EdgeSegError: The search broke off.
        LimitError: Nothing keeps to them; the message names the nearest point.
    """
    if report.failure:
        raise EdgeSegError(report.failure)
    if report.chosen is None:
        scope = f" ({report.ended})" if report.ended else ""
        msg = (
            f"nothing that was measured{scope} {_describe_limits(report.limits)}; {_describe_nearest(report)}"
        )
        raise LimitError(msg)
    if report.written is not None and not report.written.kept:
        msg = (
            f"{report.written.path} must lose at most {report.limits.max_map_drop:g} points and loses "
            f"{report.written.lost:.2f}, more than in the search; calibrate with more images (--calib-images)"
        )
        raise LimitError(msg)


def commands_for(config: TuneConfig, candidate: Candidate) -> str:
    """Write the commands that make an engine: export, build, and with how many threads to run it."""
    model_path = config.output or DEFAULT_PATH
    model = [] if model_path == DEFAULT_PATH else ["--model", str(model_path)]
    commands = [
        _export(config, candidate, model_path),
        ["edgeseg", "build-engine", f"--{candidate.precision.value}"],
    ]
    commands[1] += ["--target", candidate.target.value]
    if candidate.precision.value == "int8" and config.calib is not None:
        # The comparison with FP32 was made already.
        images = [] if config.calib_images is None else ["--images", str(config.calib_images)]
        commands[1] += ["--calib", str(config.calib), *images, "--no-check"]
    commands[1] += model
    return " && ".join(shlex.join(words) for words in commands)


def _export(config: TuneConfig, candidate: Candidate, model_path: Path) -> list[str]:
    height, width = candidate.shape.size_hw
    words = ["edgeseg", "export", str(config.checkpoint), "--size", str(height), str(width)]
    words += ["--proposals", str(candidate.shape.max_proposals)]
    options = {
        "--detections": config.max_detections,
        "--classes": config.classes,
        "--factory": config.factory,
        "--check": config.check,
        "-o": None if model_path == DEFAULT_PATH else model_path,
    }
    for name, value in options.items():
        words += [name, str(value)] if value is not None else []
    return words


def _describe_limits(limits: TuneLimits) -> str:
    wanted = []
    if limits.max_latency_ms is not None:
        wanted.append(f"takes at most {limits.max_latency_ms:g} ms")
    if limits.max_map_drop is not None:
        wanted.append(f"loses at most {limits.max_map_drop:g} points of AP")
    return " and ".join(wanted)


def _describe_nearest(report: TuneReport) -> str:
    point = report.nearest
    if point is None or point.latency_ms is None or point.lost is None:
        return "no point was both timed and scored; give it more --minutes"
    return f"the nearest takes {point.latency_ms:.1f} ms and loses {point.lost:.2f}: {point.candidate}"
