"""The imports of the package, read from its sources, and what the house rules say of them."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import edgeseg

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

PACKAGE = Path(edgeseg.__file__).parent
# A part imports only from itself and from parts before it. CONTRIBUTING.md draws them.
PARTS = (
    "",
    "files",
    "bundle",
    "vision",
    "dataset",
    "graphs",
    "runtime",
    "streaming",
    "calibration",
    "quantisation",
    "builder",
    "exporter",
    "doctor",
    "benchmark",
    "demo",
    "tools",
)
TORCH = ("torch", "torchvision")
NOT_ON_THE_DEVICE = (*TORCH, "onnx", "onnxscript", "onnxsim", "safetensors")
# What a device imports, with neither torch nor onnx installed.
ON_THE_DEVICE = ("", "files", "bundle", "vision", "dataset", "runtime", "streaming", "doctor")
# Beside the exporter, only what a benchmark compares with: torchvision's own model and torch's products.
MAY_IMPORT_TORCH = (
    "edgeseg.exporter",
    "edgeseg.benchmark.evaluate",
    "edgeseg.benchmark.runners.opening",
    "edgeseg.benchmark.runners.pytorch",
    "edgeseg.benchmark.runners.whole_model",
    "edgeseg.benchmark.statistics.roofline",
)
MOST_MODULES = 15


@dataclass(frozen=True, slots=True, kw_only=True)
class Module:
    """A module of the package.

    Attributes:
        name: Dotted.
        is_package: It is the `__init__.py` of a folder.
        source: Its text.
    """

    name: str
    source: str
    is_package: bool = False

    @property
    def part(self) -> str:
        """The part that it belongs to; '' for modules at the root."""
        return part_of(self.name)


def modules() -> tuple[Module, ...]:
    """Read all modules of the package."""
    return tuple(
        Module(name=_dotted(path), source=path.read_text("utf-8"), is_package=path.stem == "__init__")
        for path in sorted(PACKAGE.rglob("*.py"))
    )


def part_of(name: str) -> str:
    """Name the part of a dotted name; '' for modules at the root."""
    pieces = name.split(".")
    return pieces[1] if len(pieces) > 1 and pieces[1] in PARTS else ""


def imports(module: Module) -> Iterator[tuple[int, str]]:
    """List the line and absolute name of every import, those in functions and for types included."""
    base = module.name.split(".") if module.is_package else module.name.split(".")[:-1]
    for node in ast.walk(ast.parse(module.source)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = base[: len(base) - node.level + 1] if node.level else []
            stem = ".".join([*start, *([node.module] if node.module else [])])
            # `from . import x` names a module, `from .x import y` usually something within it.
            yield from ((node.lineno, f"{stem}.{alias.name}") for alias in node.names)


def required(module: Module) -> Iterator[tuple[int, str]]:
    """List the line and name of every package that is imported through `optional.require`."""
    for node in ast.walk(ast.parse(module.source)):
        match node:
            case ast.Call(func=ast.Name(id="require"), args=[ast.Constant(value=str(name)), *_]):
                yield node.lineno, name


def upward(module: Module) -> list[str]:
    """List the imports of parts that come later."""
    here = PARTS.index(module.part)
    return [
        f"{module.name}:{line} imports {name}"
        for line, name in imports(module)
        if name.split(".")[0] == "edgeseg" and PARTS.index(part_of(name)) > here
    ]


def forbidden(module: Module, packages: Iterable[str]) -> list[str]:
    """List the imports of some packages, those through `optional.require` included."""
    return [
        f"{module.name}:{line} imports {name}"
        for line, name in (*imports(module), *required(module))
        if name.partition(".")[0] in packages
    ]


def circles(found: Iterable[Module]) -> list[tuple[str, ...]]:
    """List modules that import each other, directly or through others, whenever that happens."""
    every = {module.name: module for module in found}
    arrows = {name: _arrows(module, every) for name, module in every.items()}
    reached = {name: _reached(name, arrows) for name in every}
    rings = {
        tuple(sorted(other for other in reached[name] if name in reached[other]))
        for name in every
        if name in reached[name]
    }
    return sorted(rings)


def crowded(names: Iterable[str]) -> dict[str, int]:
    """Count the modules directly in each folder, and give those that have more than `MOST_MODULES`."""
    counts: dict[str, int] = {}
    for name in names:
        folder = name.rpartition(".")[0]
        counts[folder] = counts.get(folder, 0) + 1
    return {folder: count for folder, count in counts.items() if count > MOST_MODULES}


def _dotted(path: Path) -> str:
    pieces = ("edgeseg", *path.relative_to(PACKAGE).with_suffix("").parts)
    return ".".join(pieces[:-1] if pieces[-1] == "__init__" else pieces)


def _arrows(module: Module, every: Mapping[str, Module]) -> set[str]:
    named = {name if name in every else name.rpartition(".")[0] for _, name in imports(module)}
    return (named & every.keys()) - {module.name}


def _reached(start: str, arrows: Mapping[str, set[str]]) -> set[str]:
    reached: set[str] = set()
    waiting = [start]
    while waiting:
        for name in arrows[waiting.pop()] - reached:
            reached.add(name)
            waiting.append(name)
    return reached
