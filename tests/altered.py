"""Records that someone alters by hand, with the checksum made right again."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from edgeseg.files.records import CHECKSUM_KEY, checksum_from_json

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def sealed(data: dict[str, Any]) -> dict[str, Any]:
    """Give a record's JSON with the checksum that fits it."""
    return {**data, CHECKSUM_KEY: checksum_from_json(data)}


def alter(path: Path, change: Callable[[dict[str, Any]], Any], *, seal: bool = True) -> None:
    """Change a record in place; without `seal` its checksum stays that of before."""
    data = json.loads(path.read_text("utf-8"))
    change(data)
    path.write_text(json.dumps(sealed(data) if seal else data), "utf-8")
