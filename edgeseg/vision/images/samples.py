"""Four photographs that come with the package, for checks and timings where no other images are given."""

from __future__ import annotations

from pathlib import Path

# The folder; NOTICE says where they are from.
SAMPLES = Path(__file__).parent / "samples"
