"""Replacing a folder of results as a whole, and recovering it if the writer was killed on the way."""

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
from .temporary import TEMPORARY_NAME, claim_orphan, new_folder, remove, sweep, temporary_folder

# Folders that a file system puts into a volume, which are no results.
SYSTEM_FOLDERS = frozenset(("lost+found",))
OCCUPIED_ERRORS = (errno.ENOTEMPTY, errno.EEXIST)
MOUNTS = Path("/proc/self/mountinfo")
LOCK_ACTIVITY = "writes"
# Added to the old content that was moved away, once all of it has been moved.
ALL_MOVED_MARKER = ".edgeseg-all.old"
# More than enough: another program moves a few names in milliseconds.
WAIT_S = 10.0


class FolderReplacement:
    """A temporary folder that replaces another one when it is committed, and is removed if it is not.

    If `target` is a link, the link stays and the folder that it points to is replaced. If `target` cannot be
    renamed, because it is a mount point or its parent cannot be written to, its content is replaced instead.

    Args:
        target: The folder to replace or to create.
        marker: Name of the file without which the folder is not valid; it is moved into place last.
        replace: Allow replacing a folder that is not empty when the new one is committed.

    Attributes:
        folder: Temporary folder to write into.

    Raises:
        OSError: The temporary folder cannot be created.
    """

    def __init__(self, target: Path, marker: str, *, replace: bool) -> None:
        self._target, self._last, self._replace = real_path(target), marker, replace
        recover(self._target, marker)
        self._in_place = is_unmovable(self._target)
        self._base = self._target if self._in_place else self._target.parent
        self._base.mkdir(parents=True, exist_ok=True)
        sweep(self._base)
        self._stack = ExitStack()
        self.folder = self._stack.enter_context(temporary_folder(self._base))

    def commit(self) -> None:
        """Replace the target with the temporary folder.

        Raises:
            ConfigError: Another program has written to the target meanwhile, and `replace` is off.
            OSError: The target cannot be replaced; its previous content is still there.
        """
        sync_tree(self.folder)
        if self._in_place:
            with locked(self._target, LOCK_ACTIVITY, WAIT_S):
                _replace_content(self._target, self.folder, self._last, replace=self._replace)
        else:
            _replace_folder(self._target, self.folder, replace=self._replace)
        sync_folder(self._base)

    def close(self) -> None:
        """Remove the temporary folder unless it was committed, and remove the content that it replaced."""
        self._stack.close()


def is_unmovable(target: Path) -> bool:
    """Tell whether a folder exists that cannot be renamed, so that only its content can be replaced."""
    if not target.is_dir():
        return False
    return _is_mount(target) or not os.access(target.parent, os.W_OK | os.X_OK)


def visible_entries(folder: Path) -> list[Path]:
    """List a folder without temporary names and folders of the file system; empty if it does not exist."""
    try:
        entries = list(folder.iterdir())
    except FileNotFoundError:
        return []
    return sorted(path for path in entries if not (_is_temporary(path.name) or path.name in SYSTEM_FOLDERS))


def recover(target: Path, marker: str) -> bool:
    """Restore content that a program had moved away when it was killed, unless the new one is in place.

    Args:
        target: The folder, as in `FolderReplacement`.
        marker: Name of its marker file, as in `FolderReplacement`.

    Returns:
        True if there was something to recover, whether it is done now or another program is doing it.
    """
    target = real_path(target)
    found = False
    for folder, pattern in ((target.parent, _backup_name("*", target)), (target, _backup_name("*", None))):
        for path in _matching(folder, pattern):
            found = True
            _recover(path, target, marker)
    return found


def _recover(path: Path, target: Path, marker: str) -> None:
    with claim_orphan(path) as old:
        if old is None:
            return
        try:
            if old.parent == target:
                _roll_back(target, old, marker)
            elif not os.path.lexists(target):
                old.rename(target)
        except OSError:
            # A reader may lack the permission to write here; the next writer will recover it.
            return
        remove(old)


def _roll_back(target: Path, old: Path, marker: str) -> None:
    if os.path.lexists(target / marker):
        # The new content is complete, or the old one was not touched.
        return
    if (old / ALL_MOVED_MARKER).exists():
        for path in visible_entries(target):
            remove(path)
    for path in sorted(visible_entries(old), key=lambda path: path.name == marker):
        path.rename(target / path.name)


def _replace_content(target: Path, folder: Path, marker: str, *, replace: bool) -> None:
    """Replace the content of a folder; the old `marker` is moved away first, the new one comes in last."""
    entries = sorted(visible_entries(target), key=lambda path: path.name != marker)
    if entries and not replace:
        raise ConfigError(_occupied_message(target))
    old, descriptor = new_folder(target)
    backup = old.with_name(_backup_name(secrets.token_hex(8), None))
    old.rename(backup)
    try:
        for path in entries:
            path.rename(backup / path.name)
        (backup / ALL_MOVED_MARKER).touch()
        for path in sorted(visible_entries(folder), key=lambda path: path.name == marker):
            path.rename(target / path.name)
    except BaseException:
        _roll_back(target, backup, marker)
        raise
    finally:
        remove(backup)
        if descriptor is not None:
            os.close(descriptor)


def _replace_folder(target: Path, folder: Path, *, replace: bool) -> None:
    while True:
        if replace and target.exists():
            # The previous folder has the temporary name afterwards, and is removed under it.
            if exchange(folder, target) or _replace_by_two_renames(target, folder):
                return
            continue
        try:
            folder.rename(target)
        except OSError as exc:
            if exc.errno not in OCCUPIED_ERRORS:
                raise
            if not replace:
                raise ConfigError(_occupied_message(target)) from exc
        else:
            return


def _replace_by_two_renames(target: Path, folder: Path) -> bool:
    """Replace a folder if two names cannot be exchanged; `recover` repairs a kill between the renames.

    Returns:
        False if another program wrote the target between the renames.
    """
    old = target.with_name(_backup_name(secrets.token_hex(8), target))
    with locked(target, LOCK_ACTIVITY, WAIT_S):
        try:
            target.rename(old)
        except FileNotFoundError:
            return False
        try:
            folder.rename(target)
        except OSError as exc:
            if exc.errno not in OCCUPIED_ERRORS:
                old.rename(target)
                raise
            remove(old)
            return False
        remove(old)
    return True


def _occupied_message(target: Path) -> str:
    return f"{target} was written by another program meanwhile; pass --force to replace it"


def _backup_name(token: str, target: Path | None) -> str:
    """Make a name, with a hash of `target`, for the folder moved away from it; None for its content only."""
    owner = "content" if target is None else hashlib.sha256(os.fsencode(target.name)).hexdigest()[:16]
    return f".edgeseg-{token}.{owner}.old"


def _is_temporary(name: str) -> bool:
    return bool(TEMPORARY_NAME.fullmatch(name)) or (name.startswith(".edgeseg-") and name.endswith(".old"))


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
        # Another program is replacing the folder at this moment, so it cannot be a mount point.
        return False
    if sys.platform != "linux":
        return False
    # Nothing else tells that a folder is mounted from another place of the same file system.
    try:
        lines = os.fsdecode(MOUNTS.read_bytes()).splitlines()
    except OSError:
        return False
    return any(_unescaped(line.split(" ")[4]) == str(target) for line in lines if line.count(" ") > 4)


def _unescaped(name: str) -> str:
    for code, letter in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        name = name.replace(code, letter)
    return name
