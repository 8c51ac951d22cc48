"""Detection of the kind of a file from its first bytes, since its name may be wrong."""

from __future__ import annotations

import re
from enum import Enum
from typing import IO, TYPE_CHECKING

from edgeseg.errors import InputError
from edgeseg.files.reading import open_regular
from edgeseg.records import short_repr

from .archive import ZIP, members
from .bounds import PickleError

if TYPE_CHECKING:
    from pathlib import Path

HEADER_BYTES = 512
SAVE_HINT = (
    "in your training script, save the model with `edgeseg.save_checkpoint(model, 'model.pth')`, or its "
    "weights alone with `torch.save(model.state_dict(), 'model.pth')`"
)
WEIGHTS_ONLY = "`torch.save(torch.jit.load('model.pt').state_dict(), 'weights.pth')`"
# What begins so, and what to do about it.
SIGNATURES = (
    (b"version https://git-lfs", "a Git LFS pointer and not the file itself; fetch that with `git lfs pull`"),
    (b"\x89HDF\r\n\x1a\n", f"an HDF5 file, as Keras and TensorFlow write; {SAVE_HINT}"),
    (b"\x1f\x8b", "packed with gzip; unpack it first"),
    (b"BZh", "packed with bzip2; unpack it first"),
    (b"\xfd7zXZ\x00", "packed with xz; unpack it first"),
    (b"\x28\xb5\x2f\xfd", "packed with zstd; unpack it first"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive; unpack it first"),
    (b"Rar!", "a RAR archive; unpack it first"),
    (b"GGUF", f"a GGUF file of a language model; {SAVE_HINT}"),
    (b"%PDF", "a PDF document"),
    (b"\x89PNG", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"\x93NUMPY", f"a NumPy array; {SAVE_HINT}"),
)
TENSORFLOW_LITE = (4, b"TFL3")
TAR = (257, b"ustar")
HTML = (b"<!doctype html", b"<html", b"<head", b"<?xml")
ONNX_SUFFIXES = (".onnx",)
# A protocol buffer whose first field is a small version, and whose second is the name of a program.
ONNX_BEGINNING = re.compile(rb"\x08[\x00-\x1f][\x12\x3a]")


class CheckpointFormat(Enum):
    """Kinds of files that can be read."""

    TORCH = "torch"
    SAFETENSORS = "safetensors"


def detect_format(path: Path) -> CheckpointFormat:
    """Tell which of the two kinds of checkpoint a file is.

    Raises:
        InputError: Neither; says what it is instead, as far as its first bytes tell.
    """
    with open_regular(path) as stream:
        first_bytes = stream.read(HEADER_BYTES)
        if first_bytes.startswith(ZIP):
            _check_zip(path, stream)
            return CheckpointFormat.TORCH
    header = int.from_bytes(first_bytes[:8], "little")
    if first_bytes[8:9] == b"{" and header:
        return CheckpointFormat.SAFETENSORS
    what = _describe_signature(first_bytes, path)
    if what:
        msg = f"{path} is not a PyTorch checkpoint but {what}"
        raise InputError(msg)
    return CheckpointFormat.TORCH


def _describe_signature(first_bytes: bytes, path: Path) -> str:
    for signature, what in SIGNATURES:
        if first_bytes.startswith(signature):
            return what
    for (place, signature), what in (
        (TENSORFLOW_LITE, f"a TensorFlow Lite model; {SAVE_HINT}"),
        (TAR, "a tar archive; unpack it first"),
    ):
        if first_bytes[place:].startswith(signature):
            return what
    if not first_bytes.strip(b"\x00"):
        return "nothing but zeros where a checkpoint begins: the copy is broken; copy it again"
    if path.suffix.lower() in ONNX_SUFFIXES or ONNX_BEGINNING.match(first_bytes):
        return "an ONNX graph, which is what an export ends in; give the checkpoint that it was made from"
    return _describe_text(first_bytes)


def _describe_text(first_bytes: bytes) -> str:
    text = first_bytes.removeprefix(b"\xef\xbb\xbf").lstrip()
    if text.lower().startswith(HTML):
        return "a web page, such as a failed download leaves; look at it in a browser, then download again"
    try:
        words = first_bytes.decode("utf-8").split()
    except UnicodeDecodeError as exc:
        if exc.start < len(first_bytes) - 3:
            return ""
        words = first_bytes[: exc.start].decode("utf-8").split()
    if all(word.isprintable() for word in words) and len(first_bytes) > 3:
        return f"text that begins {' '.join(words)[:40]!r}"
    return ""


def _shown_name(name: str) -> str:
    return short_repr(name)[1:-1]


def _check_zip(path: Path, stream: IO[bytes]) -> None:
    try:
        names = [item.filename for item in members(stream)]
    except PickleError as exc:
        msg = f"{path} is truncated or not a checkpoint: it begins as a zip archive and has no end ({exc})"
        raise InputError(msg) from exc
    files = {name.rpartition("/")[2] for name in names}
    what = ""
    if "constants.pkl" in files:
        what = f"a TorchScript program; export its weights: {WEIGHTS_ONLY}"
    elif "data.pkl" in files:
        return
    elif any("serialized_exported_program" in name or name.endswith("archive_format") for name in names):
        what = f"a program of torch.export; {SAVE_HINT}"
    elif "model.weights.h5" in files:
        what = f"a Keras model; {SAVE_HINT}"
    elif names and all(name.endswith(".npy") for name in names):
        what = f"NumPy arrays (.npz); {SAVE_HINT}"
    else:
        listed_names = ", ".join(map(_shown_name, names[:3])) or "nothing"
        what = f"a zip archive of {listed_names}; unpack it, and give the checkpoint in it"
    msg = f"{path} is not a PyTorch checkpoint but {what}"
    raise InputError(msg)
