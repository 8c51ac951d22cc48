"""A folder of results that becomes another one whole, and is put right when its writer was killed."""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
import sys
from contextlib import ExitStack
from pathlib import Path

from edgeseg.errors import ConfigError

from .draft import real_path
from .locks import locked
from .renames import exchange, sync_folder, sync_tree
from .temporary import NAME, claimed, new_folder, remove, sweep, temporary_folder

# In a volume of a container; no part of what is written into it.
FOREIGN = frozenset(("lost+found",))
TAKEN = (errno.ENOTEMPTY, errno.EEXIST)
MOUNTS = Path("/proc/self/mountinfo")
WRITES = "writes"
# Beside what was moved away once nothing of it is left in its place.
ALL_MOVED = ".edgeseg-all.old"
# Moving a few names takes milliseconds.
WAIT_S = 10.0


class Placement:
    """A temporary folder that becomes another one when it is kept and vanishes when it is not.

    A link stays, and what it points to is written. Where `target` itself cannot be renamed, as it is a mount
    point or lies in a folder that may not be written to, its content is replaced and not the folder.

    Args:
        target: A folder that is there, or will be.
        last: Name of the file in it without which it is nothing; the last that is moved there.
        replace: It may be replaced if it holds anything by then.

    Attributes:
        folder: Where to write.

    Raises:
        OSError: It cannot be made.
    """

    def __init__(self, target: Path, last: str, *, replace: bool) -> None:
        self._target, self._last, self._replace = real_path(target), last, replace
        restore(self._target, last)
        self._inside = stays(self._target)
        self._base = self._target if self._inside else self._target.parent
        self._base.mkdir(parents=True, exist_ok=True)
        sweep(self._base)
        self._stack = ExitStack()
        self.folder = self._stack.enter_context(temporary_folder(self._base))

    def keep(self) -> None:
        """Put the folder into its place.

        Raises:
            ConfigError: Another program has written there meanwhile, and nothing may be replaced.
            OSError: It cannot be written; what was there is there.
        """
        sync_tree(self.folder)
        if self._inside:
            with locked(self._target, WRITES, WAIT_S):
                _fill(self._target, self.folder, self._last, replace=self._replace)
        else:
            _rename(self._target, self.folder, replace=self._replace)
        sync_folder(self._base)

    def close(self) -> None:
        """Remove the folder unless it was kept, and what it has replaced."""
        self._stack.close()


def stays(target: Path) -> bool:
    """Whether a folder is there that cannot be renamed, so that only its content can be replaced."""
    if not target.is_dir():
        return False
    return _is_mount(target) or not os.access(target.parent, os.W_OK | os.X_OK)


def content(folder: Path) -> list[Path]:
    """List a folder but for what has a temporary name or is the file system's; nothing if it is gone."""
    try:
        there = list(folder.iterdir())
    except FileNotFoundError:
        return []
    return sorted(path for path in there if not (_is_temporary(path.name) or path.name in FOREIGN))


def restore(target: Path, last: str) -> bool:
    """Put back what a program has moved away that was killed before it put the new in its place.

    Args:
        target: As in `Placement`.
        last: As in `Placement`.

    Returns:
        Whether there was anything to put right, here or by the program that is at it.
    """
    target = real_path(target)
    found = False
    for folder, pattern in ((target.parent, _old_name("*", target)), (target, _old_name("*", None))):
        for path in _matching(folder, pattern):
            found = True
            _restore(path, target, last)
    return found


def _restore(path: Path, target: Path, last: str) -> None:
    with claimed(path) as old:
        if old is None:
            return
        try:
            if old.parent == target:
                _take_back(target, old, last)
            elif not os.path.lexists(target):
                old.rename(target)
        except OSError:
            # A reader may not write here; the next writer can.
            return
        remove(old)


def _take_back(target: Path, old: Path, last: str) -> None:
    if os.path.lexists(target / last):
        # The new one is whole, or the old one was not touched.
        return
    if (old / ALL_MOVED).exists():
        for path in content(target):
            remove(path)
    for path in sorted(content(old), key=lambda path: path.name == last):
        path.rename(target / path.name)


def _fill(target: Path, folder: Path, last: str, *, replace: bool) -> None:
    """Replace the content of a folder: what is there goes first `last`, what comes comes last `last`."""
    there = sorted(content(target), key=lambda path: path.name != last)
    if there and not replace:
        raise ConfigError(_taken(target))
    old, descriptor = new_folder(target)
    kept = old.with_name(_old_name(secrets.token_hex(8), None))
    old.rename(kept)
    try:
        for path in there:
            path.rename(kept / path.name)
        (kept / ALL_MOVED).touch()
        for path in sorted(content(folder), key=lambda path: path.name == last):
            path.rename(target / path.name)
    except BaseException:
        _take_back(target, kept, last)
        raise
    finally:
        remove(kept)
        if descriptor is not None:
            os.close(descriptor)


def _rename(target: Path, folder: Path, *, replace: bool) -> None:
    while True:
        if replace and target.exists():
            # What was there has the temporary name afterwards, and goes with it.
            if exchange(folder, target) or _renamed_twice(target, folder):
                return
            continue
        try:
            folder.rename(target)
        except OSError as exc:
            if exc.errno not in TAKEN:
                raise
            if not replace:
                raise ConfigError(_taken(target)) from exc
        else:
            return


def _renamed_twice(target: Path, folder: Path) -> bool:
    """Replace a folder where names cannot change places; `restore` mends what a kill between leaves.

    Returns:
        False where another program came between.
    """
    old = target.with_name(_old_name(secrets.token_hex(8), target))
    with locked(target, WRITES, WAIT_S):
        try:
            target.rename(old)
        except FileNotFoundError:
            return False
        try:
            folder.rename(target)
        except OSError as exc:
            if exc.errno not in TAKEN:
                old.rename(target)
                raise
            remove(old)
            return False
        remove(old)
    return True


def _taken(target: Path) -> str:
    return f"{target} was written by another program meanwhile; pass --force to replace it"


def _old_name(token: str, target: Path | None) -> str:
    """Name what is moved away from `target`, of which a hash is in the name; None for its content."""
    whose = "content" if target is None else hashlib.sha256(os.fsencode(target.name)).hexdigest()[:16]
    return f".edgeseg-{token}.{whose}.old"


def _is_temporary(name: str) -> bool:
    return bool(NAME.fullmatch(name)) or (name.startswith(".edgeseg-") and name.endswith(".old"))


def _matching(folder: Path, pattern: str) -> list[Path]:
    start, end = pattern.split("*")
    try:
        paths = list(folder.iterdir())
    except OSError:
        return []
    return [path for path in paths if path.name.startswith(start) and path.name.endswith(end)]


def _is_mount(target: Path) -> bool:
    try:
        if target.is_mount():
            return True
    except OSError:
        # Another program is replacing it at this moment, which nobody can do to a mount point.
        return False
    if sys.platform != "linux":
        return False
    # A folder that is mounted elsewhere on its own file system differs in nothing else.
    try:
        lines = os.fsdecode(MOUNTS.read_bytes()).splitlines()
    except OSError:
        return False
    return any(_unescaped(line.split(" ")[4]) == str(target) for line in lines if line.count(" ") > 4)


def _unescaped(name: str) -> str:
    for code, letter in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        name = name.replace(code, letter)
    return name
