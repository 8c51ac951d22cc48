"""`calibration.partial.npz`: the histograms of an interrupted calibration and what they were taken from."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import numpy as np

from edgeseg.errors import ArtifactError, CalibrationError
from edgeseg.files.reading import read_regular
from edgeseg.files.records import write_atomically
from edgeseg.records import json_from_record, parse_json, record_from_json

from .histogram import BINS, Histogram, empty_histogram

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from .images import CalibrationImage
    from .observers import RangeObserver

# Far more than the few hundred histograms that a network needs; protects against a hostile file.
MOST_BYTES = 256 << 20
READ_ERRORS = (
    OSError,
    EOFError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    OverflowError,
    MemoryError,
)
PARTIAL_FILE = "calibration.partial.npz"
_RESTART_HINT = "start again without --resume"


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationIdentity:
    """What must be the same for an interrupted calibration to be resumed.

    Attributes:
        graph: SHA-256 of the measured graph; of several input sizes, joined with `+`.
        values: SHA-256 of the observers, their distribution over passes, and the number of bins.
        images: Number of images.
        seed: Random seed with which the images were chosen.
        image_list: SHA-256 of the images in the order in which they are measured.
        bit_depth: Bit depth with which the images are read; None if it is detected for each image.
    """

    graph: str
    values: str
    images: int
    seed: int
    image_list: str
    bit_depth: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationProgress:
    """What has been counted so far; each batch is included completely or not at all.

    Attributes:
        batches: Number of batches counted, over all passes.
        histograms: Histograms by the key of their observer.
    """

    batches: int
    histograms: dict[str, Histogram]

    def plus(self, batch_histograms: dict[str, Histogram]) -> CalibrationProgress:
        """Return the progress with one more batch counted."""
        sums = {key: self.histograms[key] + histogram for key, histogram in batch_histograms.items()}
        return CalibrationProgress(batches=self.batches + 1, histograms={**self.histograms, **sums})


def empty_progress(passes: Sequence[Sequence[RangeObserver]]) -> CalibrationProgress:
    """Return the progress of a calibration that has not counted anything yet."""
    return CalibrationProgress(
        batches=0,
        histograms={observer.key: empty_histogram() for observers in passes for observer in observers},
    )


def calibration_identity(
    graph_sha256: str,
    passes: Sequence[Sequence[RangeObserver]],
    images: Sequence[CalibrationImage],
    seed: int,
    bit_depth: int | None,
) -> CalibrationIdentity:
    """Build the identity that a resumed calibration is compared with."""
    values = [BINS, *([json_from_record(observer) for observer in observers] for observers in passes)]
    return CalibrationIdentity(
        graph=graph_sha256,
        values=_sha256(json.dumps(values)),
        images=len(images),
        seed=seed,
        image_list=_sha256("\n".join(image.sha256 for image in images)),
        bit_depth=bit_depth,
    )


def write_progress(path: Path, identity: CalibrationIdentity, collected: CalibrationProgress) -> None:
    """Write what has been counted to a file.

    Raises:
        CalibrationError: The file cannot be written.
    """
    histograms = list(collected.histograms.values())
    meta = {
        "identity": json_from_record(identity),
        "batches": collected.batches,
        "keys": list(collected.histograms),
        "exponents": [histogram.exponent for histogram in histograms],
    }
    stream = io.BytesIO()
    np.savez(
        stream,
        meta=np.frombuffer(json.dumps(meta).encode(), np.uint8),
        extremes=np.array([(histogram.low, histogram.high) for histogram in histograms]),
        counts=np.stack([histogram.counts for histogram in histograms]),
    )
    write_atomically(path, stream.getvalue())


def read_progress(path: Path, identity: CalibrationIdentity) -> CalibrationProgress:
    """Read what an interrupted calibration had counted.

    Raises:
        CalibrationError: The file is damaged, or belongs to another calibration.
    """
    try:
        data = io.BytesIO(read_regular(path, max_bytes=MOST_BYTES))
        _check_uncompressed(data)
        with np.load(data, allow_pickle=False) as arrays:
            meta = parse_json(arrays["meta"].tobytes().decode())
            stored_identity = record_from_json(CalibrationIdentity, meta["identity"], source=path.name)
            extremes, counts = arrays["extremes"], arrays["counts"]
            if counts.dtype != np.int64 or counts.shape != (len(meta["keys"]), BINS):
                msg = f"counts of another form, {counts.dtype}{list(counts.shape)}"
                raise ValueError(msg)
            rows = zip(meta["exponents"], extremes, counts, strict=True)
            histograms = [
                Histogram(low=float(low), high=float(high), exponent=exponent, counts=counts)
                for exponent, (low, high), counts in rows
            ]
        collected = CalibrationProgress(
            batches=meta["batches"], histograms=dict(zip(meta["keys"], histograms, strict=True))
        )
    except (*READ_ERRORS, zipfile.BadZipFile, ArtifactError) as exc:
        msg = f"{path} is truncated or damaged and cannot be resumed from ({exc}); {_RESTART_HINT}"
        raise CalibrationError(msg) from exc
    _check_identity(path, stored_identity, identity)
    return collected


def _check_uncompressed(data: io.BytesIO) -> None:
    """Refuse a compressed archive, which could expand without limit; `write_progress` never compresses."""
    with zipfile.ZipFile(data) as archive:
        if any(item.compress_type != zipfile.ZIP_STORED for item in archive.infolist()):
            msg = "it was compressed after it was written"
            raise ValueError(msg)
    data.seek(0)


def _check_identity(path: Path, stored_identity: CalibrationIdentity, identity: CalibrationIdentity) -> None:
    pairs = {
        field.name: (getattr(stored_identity, field.name), getattr(identity, field.name))
        for field in fields(CalibrationIdentity)
    }
    if differing := [
        name for name, (stored_value, current_value) in pairs.items() if stored_value != current_value
    ]:
        name = differing[0]
        stored_value, current_value = (str(value)[:12] for value in pairs[name])
        what = {"graph": "graph", "values": "list of values", "images": "number of images"}
        msg = (
            f"cannot resume from {path}: the {what.get(name, name.replace('_', ' '))} is another "
            f"({stored_value} then, {current_value} now); {_RESTART_HINT}"
        )
        raise CalibrationError(msg)


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
