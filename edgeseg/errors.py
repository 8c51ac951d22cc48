"""Exceptions of edgeseg. The CLI turns each into one sentence and an exit code."""

from __future__ import annotations

from typing import ClassVar


def first_line(exc: BaseException) -> str:
    """Return the first line of an error's text, or its type name if it has none."""
    return next(iter(str(exc).strip().splitlines()), type(exc).__name__)


class EdgeSegError(Exception):
    """Base class of all errors that a user can cause or fix; the message is one readable sentence.

    ```
    EdgeSegError          exit 1
    +-- ConfigError       a setting or combination of settings that cannot work
    +-- DependencyError   a package, driver or tool is missing; the message has the command that installs it
    +-- InputError        an image, video, checkpoint, label file or array is not what it must be
    +-- ArtifactError     a bundle, graph or engine is missing, altered, stale or for another machine
    +-- ExportError       the checkpoint could not be turned into a graph
    +-- BuildError        an engine could not be built
    +-- CalibrationError  ranges could not be measured
    +-- ParityError       exit 3: a check ran, and its verdict is no
    ```

    Example:
        >>> import edgeseg
        >>> try:
        ...     edgeseg.load("nothing")
        ... except edgeseg.EdgeSegError as exc:
        ...     print(exc)
        no bundle at nothing: model.json is missing; make one with `edgeseg export CKPT -o nothing`
    """

    exit_code: ClassVar[int] = 1


class ConfigError(EdgeSegError):
    """A setting, or a combination of settings, that cannot work."""


class DependencyError(EdgeSegError):
    """A package, driver or tool is missing; the message names the command that installs it."""


class InputError(EdgeSegError):
    """An image, video, checkpoint, label file or array is not what it must be."""


class ArtifactError(EdgeSegError):
    """A bundle, graph or engine is missing, altered, stale or made for another machine."""


class ExportError(EdgeSegError):
    """The checkpoint could not be turned into a graph."""


class BuildError(EdgeSegError):
    """An engine could not be built."""


class CalibrationError(EdgeSegError):
    """Ranges could not be measured."""


class ParityError(EdgeSegError):
    """A check ran and its verdict is no: the graph does not reproduce the reference."""

    exit_code: ClassVar[int] = 3
