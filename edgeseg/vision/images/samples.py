"""Four photographs that come with the package, for checks and timings when no other images are given."""

from __future__ import annotations

from pathlib import Path

# NOTICE says where the photographs are from.
SAMPLES = Path(__file__).parent / "samples"
