"""`calibration.partial.npz`: what an interrupted calibration had counted, and what it was counting."""

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
from edgeseg.files.records import write_whole
from edgeseg.records import json_from_record, parsed_json, record_from_json

from .histogram import BINS, Histogram, empty_histogram

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from .images import ChosenImage
    from .observers import Tap

# Some hundred histograms of 16 KB, each with its name.
MOST_BYTES = 256 << 20
BROKEN = (OSError, EOFError, ValueError, LookupError, TypeError, AttributeError, OverflowError, MemoryError)
PARTIAL_FILE = "calibration.partial.npz"
_AGAIN = "start again without --resume"


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """What must be the same for counts to be added to.

    Attributes:
        values: Hash of the taps, how they are shared out over runs, and the bins.
        image_list: Hash of the images in the order they are taken.
        bit_depth: That they are read with; None where it is found for each.
    """

    graph: str
    values: str
    images: int
    seed: int
    image_list: str
    bit_depth: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """What has been counted so far; a batch is in it whole or not at all.

    Attributes:
        batches: How many, over all runs.
        histograms: By key of the tap.
    """

    batches: int
    histograms: dict[str, Histogram]

    def plus(self, fresh: dict[str, Histogram]) -> Counted:
        """Add a batch."""
        sums = {key: self.histograms[key] + histogram for key, histogram in fresh.items()}
        return Counted(batches=self.batches + 1, histograms={**self.histograms, **sums})


def nothing_counted(passes: Sequence[Sequence[Tap]]) -> Counted:
    """Begin."""
    return Counted(batches=0, histograms={tap.key: empty_histogram() for taps in passes for tap in taps})


def identity_of(
    graph_sha256: str,
    passes: Sequence[Sequence[Tap]],
    images: Sequence[ChosenImage],
    seed: int,
    bit_depth: int | None,
) -> Identity:
    """Say what is being counted."""
    values = [BINS, *([json_from_record(tap) for tap in taps] for taps in passes)]
    return Identity(
        graph=graph_sha256,
        values=_hash(json.dumps(values)),
        images=len(images),
        seed=seed,
        image_list=_hash("\n".join(image.sha256 for image in images)),
        bit_depth=bit_depth,
    )


def write_partial(path: Path, identity: Identity, counted: Counted) -> None:
    """Keep what has been counted.

    Raises:
        CalibrationError: The file cannot be written.
    """
    found = list(counted.histograms.values())
    meta = {
        "identity": json_from_record(identity),
        "batches": counted.batches,
        "keys": list(counted.histograms),
        "exponents": [histogram.exponent for histogram in found],
    }
    stream = io.BytesIO()
    np.savez(
        stream,
        meta=np.frombuffer(json.dumps(meta).encode(), np.uint8),
        extremes=np.array([(histogram.low, histogram.high) for histogram in found]),
        counts=np.stack([histogram.counts for histogram in found]),
    )
    write_whole(path, stream.getvalue())


def read_partial(path: Path, identity: Identity) -> Counted:
    """Take up what had been counted.

    Raises:
        CalibrationError: The file is broken, or of another calibration.
    """
    try:
        data = io.BytesIO(read_regular(path, most=MOST_BYTES))
        _check_stored(data)
        with np.load(data, allow_pickle=False) as arrays:
            meta = parsed_json(arrays["meta"].tobytes().decode())
            earlier = record_from_json(Identity, meta["identity"], source=path.name)
            extremes, counts = arrays["extremes"], arrays["counts"]
            if counts.dtype != np.int64 or counts.shape != (len(meta["keys"]), BINS):
                msg = f"counts of another form, {counts.dtype}{list(counts.shape)}"
                raise ValueError(msg)
            rows = zip(meta["exponents"], extremes, counts, strict=True)
            found = [
                Histogram(low=float(low), high=float(high), exponent=exponent, counts=counts)
                for exponent, (low, high), counts in rows
            ]
        counted = Counted(batches=meta["batches"], histograms=dict(zip(meta["keys"], found, strict=True)))
    except (*BROKEN, zipfile.BadZipFile, ArtifactError) as exc:
        msg = f"{path} is truncated or damaged and cannot be resumed from ({exc}); {_AGAIN}"
        raise CalibrationError(msg) from exc
    _check_same(path, earlier, identity)
    return counted


def _check_stored(data: io.BytesIO) -> None:
    """Refuse an archive whose members unfold to more than the file: `write_partial` packs nothing."""
    with zipfile.ZipFile(data) as archive:
        if any(item.compress_type != zipfile.ZIP_STORED for item in archive.infolist()):
            msg = "it was compressed after it was written"
            raise ValueError(msg)
    data.seek(0)


def _check_same(path: Path, earlier: Identity, identity: Identity) -> None:
    pairs = {
        field.name: (getattr(earlier, field.name), getattr(identity, field.name))
        for field in fields(Identity)
    }
    if differing := [name for name, (then, now) in pairs.items() if then != now]:
        name = differing[0]
        then, now = (str(value)[:12] for value in pairs[name])
        what = {"graph": "graph", "values": "list of values", "images": "number of images"}
        msg = (
            f"cannot resume from {path}: the {what.get(name, name.replace('_', ' '))} is another "
            f"({then} then, {now} now); {_AGAIN}"
        )
        raise CalibrationError(msg)


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
