"""Numbers in the files by which Linux tells of its devices."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def read_text(path: Path) -> str:
    """Read a small file; empty where there is none, or the device does not answer."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").replace("\0", "").strip()
    except OSError:
        return ""


def read_number(path: Path) -> float | None:
    """Read a number; None where there is none."""
    try:
        return float(read_text(path))
    except ValueError:
        return None
