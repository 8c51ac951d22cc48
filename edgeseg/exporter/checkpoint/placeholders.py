"""What a pickle is read as: descriptions in place of classes, objects and tensors."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True, eq=False)
class Global:
    """A class or function that a pickle names."""

    name: str


@dataclass(slots=True, eq=False, repr=False)
class Instance:
    """What an object would have been made of.

    Attributes:
        name: Of its class or of the function that would have made it, with its module.
        args: What that would have been given.
        state: What the object would have been filled with: usually a dict of its attributes.
        items: Keys and values that would have been set in it.
        elements: What would have been appended to it.
    """

    name: str
    args: tuple[Any, ...] = ()
    state: Any = None
    items: dict[Any, Any] = field(default_factory=dict)
    elements: list[Any] = field(default_factory=list)

    def __repr__(self) -> str:
        # What it holds can hold itself, or something else a million times.
        return f"<{self.name}>"

    @property
    def attributes(self) -> dict[str, Any]:
        """Attributes by name; empty if the state is something else."""
        return self.state if isinstance(self.state, dict) else {}


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class StorageRecord:
    """Storage that contains the numbers of tensors.

    Attributes:
        source: The container that has them.
        key: Their name in it.
        kind: Such as `FloatStorage` or `UntypedStorage`.
        first: Elements of the storage before them.
    """

    source: Any
    key: str
    kind: str
    first: int = 0


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class TensorRecord:
    """A tensor that has not been read.

    Attributes:
        storage: None where there are no numbers as such.
        dtype: Name such as `torch.float32`; empty for that of the storage.
        fault: Why it cannot be read, such as `a sparse tensor`; empty if it can.
    """

    storage: StorageRecord | None = None
    offset: int = 0
    size: tuple[int, ...] = ()
    stride: tuple[int, ...] = ()
    dtype: str = ""
    fault: str = ""
