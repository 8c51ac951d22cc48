"""Files that are there whole or not at all."""

from __future__ import annotations

import tempfile
from pathlib import Path

from ..errors import CalibrationError


def write_whole(path: Path, content: bytes) -> None:
    """Write a file under a temporary name and rename it, so that nobody ever finds half of it.

    Raises:
        CalibrationError: It cannot be written.
    """
    temporary = None
    try:
        with tempfile.NamedTemporaryFile(
            prefix=f".{path.name}.", suffix=".partial", dir=path.parent, delete=False
        ) as stream:
            temporary = Path(stream.name)
            stream.write(content)
        # Temporary files are the owner's alone; the bundle is whoever's may read its folder.
        temporary.chmod(0o644)
        temporary.replace(path)
    except OSError as exc:
        msg = f"cannot write {path}: {exc.strerror or exc}"
        raise CalibrationError(msg) from exc
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
