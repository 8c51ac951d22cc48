"""Secrets on a command line: keep them out of what is printed, and read them from the environment."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING
from urllib.parse import quote

from edgeseg.errors import ConfigError
from edgeseg.streaming.sources.credentials import HIDDEN, PIPE, redacted, secrets_in

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

# Suffixes of the options whose values are secrets.
SECRET_OPTIONS = ("token", "password")
VARIABLE = re.compile(r"\$\{([A-Za-z_]\w*)\}")
MAX_TOKEN_CHARS = 4096


def redacted_arguments(args: Sequence[str]) -> list[str]:
    """Hide secrets: the values of options such as `--web-token`, and passwords in sources."""
    return [
        head + (HIDDEN if secret and value else redacted(value))
        for head, value, secret in _split_arguments(args)
    ]


def secrets_in_arguments(args: Sequence[str]) -> set[str]:
    """List what `redacted_arguments` hides."""
    secrets: set[str] = set()
    for _, value, secret in _split_arguments(args):
        secrets |= {value} - {""} if secret else secrets_in(value)
    return secrets


def _split_arguments(args: Sequence[str]) -> Iterator[tuple[str, str, bool]]:
    """Take each argument apart: what may be printed, a value, and whether that is a secret."""
    secret = False
    for arg in args:
        name, mark, value = arg.partition("=") if arg.startswith("--") else ("", "", arg)
        is_secret_option = name.startswith("--") and name.endswith(SECRET_OPTIONS)
        yield name + mark, value, is_secret_option or (secret and not name)
        secret = is_secret_option and not mark


def expand_variables(source: str) -> str:
    """Put variables of the environment in place of `${NAME}` in an address or pipeline; paths stay.

    In an address what they hold is escaped as `%XX`, so a password may have any letters; a variable that is
    the whole source is taken as it is.

    Raises:
        ConfigError: A variable is not set.
    """
    if whole := VARIABLE.fullmatch(source):
        return _variable(whole[1])
    if "://" in source and PIPE not in source:
        return VARIABLE.sub(lambda match: quote(_variable(match[1]), safe=""), source)
    return VARIABLE.sub(lambda match: _variable(match[1]), source) if PIPE in source else source


def _variable(name: str) -> str:
    value = os.environ.get(name)
    if not value:
        msg = f"the source wants the variable {name} of the environment, which is not set; export {name}=..."
        raise ConfigError(msg)
    return value


def token_from_file(path: Path) -> str:
    """Read a token.

    Raises:
        ConfigError: The file cannot be read, or holds more or less than one line.
    """
    try:
        with path.open("rb") as file:
            text = file.read(MAX_TOKEN_CHARS + 1).decode().strip()
    except (OSError, ValueError) as exc:
        reason = (exc.strerror if isinstance(exc, OSError) else None) or "it is no text in UTF-8"
        msg = f"the token of the page cannot be read from {path}: {reason}"
        raise ConfigError(msg) from exc
    if not text or len(text.splitlines()) > 1 or len(text) > MAX_TOKEN_CHARS:
        msg = f"{path} must hold the token of the page on one line, and holds {len(text.splitlines())} lines"
        raise ConfigError(msg)
    return text
