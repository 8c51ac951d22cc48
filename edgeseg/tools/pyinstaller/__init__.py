"""What PyInstaller needs to know to pack a program that uses `edgeseg`; it finds this by an entry point."""

from __future__ import annotations

from pathlib import Path


def hook_folders() -> list[str]:
    """Name the folder of hooks, as the entry point `pyinstaller40` wants it."""
    return [str(Path(__file__).parent)]
